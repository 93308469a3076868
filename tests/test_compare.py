"""`compare`: runs tested on the same images, in words, in JSON and on a page; others refused with
the reason.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars
import pytest

from helpers.images import write_image
from helpers.pages import Page
from helpers.run_folders import answers, write_run
from tellapart.errors import Refused, UserError
from tellapart.evaluation.predictions import Predictions
from tellapart.jobs.compare import RunComparison, compare_runs
from tellapart.runs.saved_predictions import read_predictions

HISTORY = [
    {"epoch": epoch, "val_loss": 1 / epoch, "val_accuracy": epoch / 4} for epoch in (1, 2, 3)
]


def right(count: int, wrong: range | list[int]) -> list[bool]:
    return [row not in wrong for row in range(count)]


@pytest.fixture
def two(tmp_path: Path) -> list[Path]:
    """Of 120 images the first run misses 30, the second 6 of these and 3 others; it has another
    learning rate.
    """
    first = write_run(tmp_path / "runs" / "one", answers(right(120, range(30))))
    tuned = {"name": "finetune", "method": "finetune", "training.lr": 0.01}
    missed = [*range(6), 40, 50, 60]
    second = write_run(
        tmp_path / "runs" / "two", answers(right(120, missed)), recipe=tuned, history=HISTORY
    )
    return [first, second]


def compared(runs: list[Path], **options: object) -> RunComparison:
    return compare_runs(runs, out=runs[0].parent / "compare.html", quiet=True, **options)


def page_of(comparison: RunComparison) -> Page:
    return Page(comparison.page.read_text(encoding="utf-8"))


def test_the_better_one_is_named_with_the_difference_and_how_sure_it_is(two: list[Path]):
    verdict = compared(two).as_json()["verdict"]
    assert len(verdict) == 1
    assert verdict[0].startswith(
        "B is better than A: accuracy 92.5\u202f% against 75.0\u202f%, +17.5 points (95\u202f%"
        " interval +"
    )
    assert verdict[0].endswith("p < 0.0001, on the same 120 test images.")


def test_the_verdict_is_the_same_whichever_comes_first(two: list[Path]):
    verdict = compared(two[::-1]).as_json()["verdict"][0]
    assert verdict.startswith(
        "A is better than B: accuracy 92.5\u202f% against 75.0\u202f%, +17.5 points (95\u202f%"
        " interval +"
    )


def test_too_few_images_are_called_that(tmp_path: Path):
    runs = [
        write_run(tmp_path / name, answers(right(40, wrong)))
        for name, wrong in (("a", [1, 2]), ("b", [3]))
    ]
    few, least, needed = compared(runs).as_json()["verdict"]
    assert few.startswith(
        "The images are too few to tell A from B: B has accuracy 97.5\u202f% against 95.0\u202f%,"
        " +2.5 points"
    )
    assert least.startswith("With 40 images, the test has 80\u202f% power only for differences of ")
    assert needed.startswith("A difference of the observed size takes about ")


def test_many_images_that_show_no_difference_say_how_large_a_one_they_would_have_shown(
    tmp_path: Path,
):
    runs = [
        write_run(tmp_path / name, answers(right(3000, [*range(9 * start, 9 * start + 60)])))
        for start, name in enumerate("ab")
    ]
    nothing, would = compared(runs).as_json()["verdict"]
    assert nothing.startswith("No difference between A and B was found")
    assert would.startswith("With 3,000 images, the test has 80\u202f% power for differences of 0.")


def test_the_json_is_as_scripts_rely_on_it(two: list[Path]):
    values = json.loads(json.dumps(compared(two, seed=4).as_json(), allow_nan=False))
    accuracy = values["metrics"][0]
    assert {
        "metric",
        "difference",
        "low",
        "high",
        "p",
        "count",
        "first",
        "second",
    } <= accuracy.keys()
    assert (accuracy["metric"], accuracy["difference"], accuracy["count"]) == (
        "accuracy",
        0.175,
        120,
    )
    assert [entry["metric"] for entry in values["metrics"]][1:] == [
        "balanced_accuracy",
        "macro_f1",
        "log_loss",
        "brier",
        "ece",
    ]
    assert all(
        (entry["split"], entry["seed"]) == ("test", 4)
        for key in ("metrics", "classes")
        for entry in values[key]
    )
    assert all(entry["trusted"] for entry in values["classes"])


def test_the_images_on_which_they_disagree_are_listed(two: list[Path]):
    told = compared(two).as_json()["disagreements"][0]
    assert (told["only_first"]["count"], told["only_second"]["count"]) == (3, 24)
    assert told["only_first"]["paths"] == [
        "test/bee/0040.png",
        "test/cat/0050.png",
        "test/ant/0060.png",
    ]


def test_the_most_different_answers_come_first(tmp_path: Path):
    one, other = answers(right(60, [])), answers(right(60, [7, 8]), sure=0.6)
    other.probs[8] = [0.02, 0.96, 0.02]
    runs = [write_run(tmp_path / name, some) for name, some in (("a", one), ("b", other))]
    assert compared(runs).as_json()["disagreements"][0]["only_first"]["paths"] == [
        "test/cat/0008.png",
        "test/bee/0007.png",
    ]


def test_settings_that_differ_are_told(two: list[Path]):
    comparison = compared(two)
    assert comparison.settings["training.lr"][1] == 0.01
    assert any(
        line.startswith("training.lr: A ") and line.endswith(", B 0.01")
        for line in comparison.lines
    )
    assert "training.lr" in page_of(comparison).text
    assert "split.test" not in comparison.settings


def test_the_lines_hold_every_score_with_its_split_count_and_seed(two: list[Path]):
    lines = compared(two).lines
    assert (
        lines[0]
        == "A  one: recipe probe, backbone tf_efficientnet_lite0, seed 0, time 1 min 2 s, splits"
        " 55555555"
    )
    assert "B against A, test, 120 images, seed 0:" in lines
    assert any(
        line.startswith("  accuracy: A 75.0\u202f%, B 92.5\u202f%; difference +17.5 points (")
        for line in lines
    )
    assert "  only A is correct on 3 images, only B on 24 images" in lines


def test_the_curves_of_the_runs_that_have_some_are_drawn(two: list[Path]):
    page = page_of(compared(two))
    labels = [attrs.get("aria-label") for _, attrs in page.tags if attrs.get("class") == "plot"]
    assert labels == ["Loss on val over epochs", "Accuracy on val over epochs, %"]
    assert "#curves" in page.values("href")
    lines = [attrs["class"] for tag, attrs in page.tags if tag == "polyline"]
    assert lines == ["curve tone-1 dash-0"] * 2  # B's, though A has none


def test_without_histories_there_is_no_section_for_curves(tmp_path: Path):
    runs = [write_run(tmp_path / name, answers([True] * 9)) for name in "ab"]
    assert "#curves" not in page_of(compared(runs)).values("href")


def test_another_order_of_images_and_classes_changes_nothing(two: list[Path]):
    one = answers(right(120, [*range(6), 40, 50, 60]))
    rows, columns = np.random.default_rng(0).permutation(120), [1, 2, 0]
    labels = np.argsort(columns)[one.labels[rows]]
    paths, classes = (
        tuple(one.paths[row] for row in rows),
        tuple(one.classes[column] for column in columns),
    )
    turned = write_run(
        two[0].parent / "turned", Predictions(one.probs[rows][:, columns], labels, paths, classes)
    )
    assert compared([two[0], turned]).as_json()["metrics"] == compared(two).as_json()["metrics"]


def test_several_runs_are_compared_two_by_two(two: list[Path]):
    third = write_run(two[0].parent / "three", answers(right(120, [*range(6), 40, 50, 70])))
    comparison = compared([*two, third])
    best, *against_first = comparison.as_json()["verdict"]
    assert (
        best == "B has the highest accuracy, 92.5\u202f%. It is better than A. "
        "These images do not show that it is better than C."
    )
    assert [line.partition(":")[0] for line in against_first] == [
        "B is better than A",
        "C is better than A",
    ]
    assert [pair.names for pair in comparison.pairs] == [("A", "B"), ("A", "C"), ("B", "C")]
    assert "C against B" in page_of(comparison).text


def refused(runs: list[Path]) -> Refused:
    with pytest.raises(Refused) as caught:
        compared(runs)
    assert caught.value.exit_code == 5
    assert not (runs[0].parent / "compare.html").exists()
    return caught.value


def test_other_images_are_refused_with_how_many_and_one_of_them(two: list[Path]):
    fewer = write_run(two[0].parent / "fewer", answers(right(118, [])))
    error = refused([two[0], fewer])
    told = (
        "one and fewer do not have the same test images: 2 images are only in the first"
        " ('test/bee/0118.png')"
    )
    assert told in error.message
    assert error.hint == f"Train both with the same splits: tellapart train DATA --splits {two[0]}"


def test_other_content_is_refused(two: list[Path]):
    test = answers(right(120, []))
    changed = write_run(two[0].parent / "changed", test, digests={test.paths[5]: "f" * 64})
    assert "1 image has other content ('test/cat/0005.png')" in refused([two[0], changed]).message


def test_other_labels_and_classes_are_refused(two: list[Path]):
    one = answers(right(120, []))
    labels = one.labels.copy()
    labels[4] = 2
    moved = write_run(
        two[0].parent / "moved", Predictions(one.probs, labels, one.paths, one.classes)
    )
    assert "1 image has another class ('test/bee/0004.png')" in refused([two[0], moved]).message
    wider = Predictions(
        np.pad(one.probs, ((0, 0), (0, 1))), one.labels, one.paths, (*one.classes, "dog")
    )
    more = write_run(two[0].parent / "more", wider)
    assert "1 class is only in one ('dog')" in refused([two[0], more]).message


def test_runs_without_test_images_are_compared_by_val_only(tmp_path: Path):
    runs = [write_run(tmp_path / name, answers([]), val=answers(right(30, [3]))) for name in "ab"]
    assert "has no images in test" in refused(runs).message
    comparison = compared(runs, split="val")
    assert comparison.as_json()["metrics"][0]["split"] == "val"
    assert "so new ones will look worse" in page_of(comparison).text


def test_unlike_other_splits_are_remarked(two: list[Path]):
    other = write_run(two[0].parent / "other", answers(right(120, [])), splits="6" * 64)
    assert any(
        "not those that they were trained and chosen with" in line
        for line in compared([two[0], other]).lines
    )


def test_small_classes_are_marked_on_the_page(tmp_path: Path):
    runs = [write_run(tmp_path / name, answers([True] * 60)) for name in "ab"]
    page = page_of(compared(runs))
    assert page.text.count("too few to trust") == 3
    assert "have fewer than 30 images" in page.text


def shown(comparison: RunComparison) -> list[str]:
    return [
        source for source in page_of(comparison).values("src") if source.startswith("data:image")
    ]


def test_images_are_shown_where_the_data_is_known_and_unchanged(tmp_path: Path):
    one, other = (answers(right(9, wrong)) for wrong in ([], [1, 2]))
    for seed, name in enumerate(one.classes, 99):
        write_image(tmp_path / "data" / "train" / name / "x.png", seed)
    for row, path in enumerate(one.paths):
        write_image(tmp_path / "data" / path, row)
    runs = [
        write_run(tmp_path / "runs" / n, some, data=tmp_path / "data")
        for n, some in (("a", one), ("b", other))
    ]
    assert len(shown(compared(runs))) == 2
    write_image(tmp_path / "data" / one.paths[1], 77)
    page = page_of(compared(runs))
    assert "changed" in page.text
    assert len(shown(compared(runs, data=tmp_path / "data"))) == 1


def test_paths_are_listed_where_the_data_is_not_at_hand(two: list[Path]):
    comparison = compared(two)
    assert shown(comparison) == []
    assert "test/bee/0040.png" in page_of(comparison).text
    assert "add --data FOLDER" in page_of(comparison).text


def test_data_that_holds_other_images_is_told(two: list[Path], tmp_path: Path):
    for name in ("ant", "bee"):
        write_image(tmp_path / "others" / name / "x.png", 3)
    comparison = compared(two, data=tmp_path / "others")
    count = len(comparison.predictions[0])
    told = (
        f"{count} of {count} images are not in {tmp_path / 'others'}: the page names them and"
        " cannot show them."
    )
    assert f"note: {told}" in comparison.lines
    assert told in page_of(comparison).text


def test_data_that_cannot_be_read_any_more_stops_nothing_unless_it_was_asked_for(tmp_path: Path):
    (tmp_path / "data").mkdir()
    runs = [
        write_run(tmp_path / "runs" / name, answers([True] * 9), data=tmp_path / "data")
        for name in "ab"
    ]
    assert any("The images cannot be shown: " in line for line in compared(runs).lines)
    with pytest.raises(UserError, match="holds no folder with images"):
        compared(runs, data=tmp_path / "data")


def test_names_from_the_data_are_text_on_the_page(tmp_path: Path):
    classes = ("<script>", "a&b", "\u202eevil")
    runs = [
        write_run(tmp_path / n, answers(right(120, wrong), classes))
        for n, wrong in (("a", [3]), ("b", [4, 5]))
    ]
    comparison = compared(runs)
    page = page_of(comparison)
    assert len([tag for tag, _ in page.tags if tag == "script"]) == 1
    assert "label \\u202eevil" in page.text


def test_runs_that_cannot_be_compared_are_named(two: list[Path], tmp_path: Path):
    with pytest.raises(UserError, match=r"2 to 9 runs can be compared, got 1\. Name their folders"):
        compared(two[:1])
    with pytest.raises(UserError, match=r"one was given twice\. Name each run once"):
        compared([two[0], two[0]])
    with pytest.raises(UserError, match="Unknown split 'train'"):
        compared(two, split="train")
    half = write_run(tmp_path / "runs" / "half", answers([True]), data=tmp_path, finished=False)
    with pytest.raises(
        UserError, match=r"half is not finished\. Go on with it: tellapart train --resume"
    ):
        compared([two[0], half])


def test_a_file_of_somebody_else_is_not_replaced(two: list[Path]):
    (two[0].parent / "compare.html").write_text("mine")
    with pytest.raises(UserError, match="is there already, and is no page of ours"):
        compared(two)


def test_the_same_seed_gives_the_same_comparison(two: list[Path]):
    first, again, other = (compared(two, seed=seed).as_json()["metrics"] for seed in (1, 1, 2))
    assert first == again
    assert [one["low"] for one in first[3:]] != [one["low"] for one in other[3:]]


def test_comparing_loads_neither_torch_nor_a_model(two: list[Path]):
    code = (
        "import sys; from tellapart.jobs.compare import compare_runs;"
        "compare_runs(sys.argv[1:3], out=sys.argv[3], quiet=True);"
        "print({'torch', 'onnx', 'onnxruntime', 'sklearn'} & sys.modules.keys())"
    )
    words = [sys.executable, "-c", code, *map(str, two), str(two[0].parent / "x.html")]
    assert subprocess.check_output(words, text=True).strip() == "set()"


def test_predictions_that_are_no_probabilities_are_damage(tmp_path: Path):
    run = write_run(tmp_path / "a", answers([True] * 4))
    file = run / "predictions-test.parquet"
    frame = polars.read_parquet(file)
    for broken in (
        frame.with_columns(polars.col("p:ant") * 0.5),
        polars.DataFrame({"path": ["x"], "label": ["ant"]}),
    ):
        broken.write_parquet(file)
        with pytest.raises(Refused, match=r"predictions-test.parquet is gone or damaged"):
            read_predictions(file)
