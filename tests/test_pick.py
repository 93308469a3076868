"""The choice of a backbone: what is compared, what is advised, what it says of those that fail, and
its page.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from helpers.images import write_classes
from helpers.pages import HOSTILE, Page
from tellapart.catalog.sources import read_source
from tellapart.cli.main import app
from tellapart.errors import Refused, UserError
from tellapart.evaluation.metrics import Score, measure, proportion
from tellapart.evaluation.predictions import Predictions
from tellapart.experiments import latency
from tellapart.experiments.advice import Advice, advise
from tellapart.experiments.extractors import Extractors
from tellapart.experiments.pareto import (
    Budget,
    Candidate,
    Latency,
    front,
    points,
    standings,
)
from tellapart.experiments.shortlist import SHORTLIST, entries, needs_hub
from tellapart.jobs.pick import candidates as jobs_candidates
from tellapart.jobs.pick import pick as jobs_picking
from tellapart.jobs.pick.pick import Picked, pick
from tellapart.models import weights
from tellapart.options import BackboneOptions
from tellapart.probe.embeddings import FeatureExtractor
from tellapart.recipe import Recipe
from tellapart.report.pick.page import (
    PickInput,
    PickRow,
    candidate_lines,
    pareto_plot,
    render_picking,
)

# ── whom to take ──


FEW = measure(
    Predictions(np.eye(2, dtype=np.float32), np.arange(2), ("a.jpg", "b.jpg"), ("ant", "bee"))
)


def candidate(
    name: str, wrong: Sequence[int], ms: float, *, count: int = 200, megabytes: float = 10.0
) -> Candidate:
    """One that is wrong on some of the rows of `count` images of two classes."""
    labels = np.arange(count) % 2
    answers = labels.copy()
    answers[list(wrong)] ^= 1
    probs = np.where(np.arange(2) == answers[:, None], 0.9, 0.1).astype(np.float32)
    val = Predictions(probs, labels, tuple(f"{row}.jpg" for row in range(count)), ("ant", "bee"))
    return Candidate(
        name=name,
        val=val,
        metrics=replace(FEW, accuracy=proportion(count - len(wrong), count)),
        latency=Latency(ms, 0.9 * ms, 1.1 * ms, 1),
        spread=None,
        megabytes=megabytes,
        parameters=1_000_000,
        size_px=224,
        licence="Apache-2.0",
        source="here",
        seconds=1.0,
    )


def taken(advice: Advice) -> str | None:
    return advice.chosen and advice.chosen.name


def test_the_front_holds_those_that_none_beats():
    fast, slow = candidate("fast", range(20), 5), candidate("slow", range(5), 20)
    beaten = candidate("beaten", range(30), 10)
    assert front([slow, beaten, fast]) == [fast, slow]


def test_of_two_that_are_equal_in_both_neither_beats_the_other():
    assert len(front([candidate("one", range(9), 5), candidate("two", range(9), 5)])) == 2


def test_a_measurably_better_one_is_taken_although_it_is_slower():
    advice = advise([candidate("fast", range(40), 5), candidate("slow", range(5), 20)], Budget())
    assert taken(advice) == "slow"
    assert advice.lines[0] == "Take slow: none is more accurate."


def test_a_gain_that_is_not_proved_is_no_reason_to_take_the_worse_one():
    small = [
        candidate("fast", range(25), 10, count=89),
        candidate("slow", range(15, 32), 18, count=89),
    ]
    advice = advise(small, Budget())
    assert taken(advice) == "slow"
    assert advice.lines[2].startswith("fast takes 10 ms. The other 8 ms buy +9.0 points (")
    assert "set --max-ms" in advice.lines[2]


def test_a_gain_that_may_be_chance_is_said_to_be_unconfirmed():
    advice = advise([candidate("fast", range(8), 5), candidate("slow", range(1, 8), 10)], Budget())
    assert taken(advice) == "slow"
    assert "+0.5 points" in advice.lines[2]
    assert "200 val images cannot confirm (p = 1). If time matters more" in advice.lines[2]


def test_the_price_of_a_proved_gain_needs_no_doubt():
    advice = advise([candidate("fast", range(40), 5), candidate("slow", range(5), 20)], Budget())
    assert "cannot confirm" not in " ".join(advice.lines)


def test_a_faster_one_is_taken_where_the_images_show_that_it_is_as_good():
    many = [
        candidate("fast", range(51), 5, count=5000),
        candidate("slow", range(50), 10, count=5000),
    ]
    advice = advise(many, Budget())
    assert taken(advice) == "fast"
    assert advice.lines[0].endswith("the fastest of those that are as accurate as the best.")
    assert advice.lines[2].startswith("slow is 2.0 times slower, and its gain is too small")


def test_of_those_that_are_about_as_fast_the_most_accurate_is_taken():
    close = [
        candidate("one", range(8), 10.0, count=5000),
        candidate("two", range(6), 10.5, count=5000),
        candidate("best", range(5), 30, count=5000),
    ]
    assert taken(advise(close, Budget())) == "two"


def test_within_a_limit_the_best_estimate_is_taken():
    advice = advise(
        [candidate("fast", range(8), 5), candidate("slow", range(1, 8), 10)], Budget(max_ms=20)
    )
    assert advice.lines[0] == "Take slow: within 20 ms an image none is more accurate."


def test_too_few_images_are_said_to_be_too_few():
    few = [candidate("fast", range(4), 5, count=40), candidate("slow", range(2), 10, count=40)]
    advice = advise(few, Budget())
    assert taken(advice) == "slow"
    assert "which 40 val images cannot confirm" in " ".join(advice.lines)


def test_the_most_accurate_is_told_from_those_that_may_still_be_better():
    few = [candidate("fast", range(2), 5, count=40), candidate("slow", range(2, 5), 10, count=40)]
    assert "40 val images are too few to rank it against slow" in " ".join(
        advise(few, Budget()).lines
    )


def test_many_images_that_agree_leave_no_doubt():
    many = [
        candidate("fast", range(50), 5, count=5000),
        candidate("slow", range(50), 10, count=5000),
    ]
    assert "too few" not in " ".join(advise(many, Budget()).lines)


@pytest.mark.parametrize("budget", [Budget(max_ms=10), Budget(max_mb=20)])
def test_a_budget_keeps_to_those_within_and_says_what_it_costs(budget: Budget):
    both = [candidate("small", range(40), 5), candidate("large", range(5), 20, megabytes=90)]
    advice = advise(both, budget)
    assert taken(advice) == "small"
    assert f"within {budget} it is the only one" in advice.lines[0]
    assert "Beyond that budget, large is measurably better (+17.5 points (" in " ".join(
        advice.lines
    )


def test_where_nothing_is_within_the_budget_the_nearest_are_named():
    both = [
        candidate("fast", range(9), 5, megabytes=40),
        candidate("small", range(9), 20, megabytes=8),
    ]
    advice = advise(both, Budget(max_ms=1))
    assert taken(advice) is None
    assert advice.lines == (
        (
            "No candidate is within 1 ms an image: the fastest, fast, takes 5 ms an image"
            " and 40 MB; the smallest, small, 20 ms an image and 8 MB."
        ),
    )


def test_p_values_are_corrected_for_the_number_of_candidates():
    best, other = candidate("best", range(10), 5), candidate("other", range(5, 26), 6)
    alone = standings([best, other])["other"]
    among = standings(
        [best, other, candidate("third", range(8, 22), 7), candidate("fourth", range(9, 21), 8)]
    )
    assert alone.is_worse
    assert among["other"].p == 3 * alone.p > 0.05
    assert among["other"].text.endswith(", corrected for 3 comparisons")
    assert not among["other"].is_worse


def test_nothing_has_no_minus():
    assert points(-0.0, -0.0004, 0.02) == "+0.0 points (+0.0 to +2.0)"


# ── what is looked at ──


def test_without_names_the_shortlist_and_the_recipes_own_are_looked_at():
    own = BackboneOptions(name="resnet26")
    assert [one.name for one in entries(None, own)] == [*SHORTLIST, "resnet26"]
    assert [one.name for one in entries(None, BackboneOptions())] == list(SHORTLIST)


def test_an_entry_may_bring_its_weights():
    (entry,) = entries(["resnet18=w.safetensors", "resnet18=w.safetensors"], BackboneOptions())
    assert entry.settings(BackboneOptions()) == {
        "backbone.name": "resnet18",
        "backbone.weights": "w.safetensors",
    }
    assert entry.settings(entry.options) == entry.settings(BackboneOptions())


def test_an_entry_without_a_name_is_refused():
    with pytest.raises(UserError, match=r"'=w\.pth' names no backbone\. Write NAME, or NAME=FILE"):
        entries(["=w.pth"], BackboneOptions())
    with pytest.raises(UserError, match="No backbone is named"):
        entries([], BackboneOptions())
    with pytest.raises(
        UserError, match=r"The backbones must be a list, got 'resnet18'\. Write \['resnet18'\]"
    ):
        entries("resnet18", BackboneOptions())


def test_what_is_packaged_or_a_file_needs_no_hub():
    assert not needs_hub(BackboneOptions())
    assert not needs_hub(BackboneOptions(name="resnet18", weights="w.pth"))
    assert needs_hub(BackboneOptions(name="resnet18"))
    assert not needs_hub(BackboneOptions(name="seresnet18"))  # the hub has none


# ── looking and timing ──


class Extractor:
    """Keeps nothing; `broken` from the second image on, if it is so."""

    def __init__(self, *, broken: bool = False) -> None:
        self.broken, self.seen = broken, []

    def known(self, digest: str) -> bool:
        return digest in self.seen

    def visit(self, digest: str, pixels: np.ndarray) -> None:
        if self.broken and self.seen:
            raise MemoryError
        self.seen.append(digest)


def test_each_image_is_shown_once_to_each_that_does_not_know_it():
    one, two = Extractor(), Extractor()
    one.seen.append("a")
    extractors = Extractors({"one": one, "two": two})
    assert not extractors.known("a")
    extractors.visit("a", np.zeros((2, 2, 3), np.uint8))
    assert extractors.known("a")
    assert (one.seen, two.seen) == (["a"], ["a"])


def test_one_that_fails_drops_out_and_the_others_go_on():
    good, bad = Extractor(), Extractor(broken=True)
    extractors = Extractors({"good": good, "bad": bad})
    for digest in "abc":
        extractors.visit(digest, np.zeros((2, 2, 3), np.uint8))
    assert (good.seen, bad.seen) == (["a", "b", "c"], ["a"])
    assert extractors.failed == {"bad": "MemoryError"}
    assert extractors.known("c")


def test_the_files_are_timed_in_turns(monkeypatch: pytest.MonkeyPatch):
    ran: list[str] = []
    monkeypatch.setattr(latency, "Session", lambda model, threads: model.decode())

    def run(session: str, image: np.ndarray) -> float:
        ran.append(session)
        return float(len(ran))

    images = [np.zeros((2, 2, 3), np.uint8)]
    times = latency.measure_latency({"a": b"a", "b": b"b"}, images, 1, run=run)
    assert "".join(ran) == "ab" + "ab" + "ba" + "ab" + "ba" + "ab"
    assert times["a"].low <= times["a"].median <= times["a"].high


# ── the verb ──


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two tiny networks, as `backbones` takes them."""
    folder, made = tmp_path_factory.mktemp("weights"), []
    for name in ("test_efficientnet", "test_resnet"):
        torch.manual_seed(0)
        save_file(
            timm.create_model(name, pretrained=False).state_dict(), folder / f"{name}.safetensors"
        )
        made.append(f"{name}={folder / name}.safetensors")
    return made


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """No network, and nothing in the hub's cache; the names for which the hub was asked."""
    asked: list[str] = []

    def ask(name: str, repository: str) -> None:
        asked.append(name)
        raise UserError(f"The weights of {name} are not here (no network).")

    monkeypatch.setattr(weights, "check_hub", ask)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return asked


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_classes(tmp_path_factory.mktemp("many") / "photos", 16)


@pytest.fixture(scope="module")
def picked(many: Path, files: list[str]) -> Picked:
    return pick(
        many, backbones=files, out=many.parent / "pick.html", set={"split.val": 0.3}, quiet=True
    )


def accuracies(picked: Picked) -> dict[str, float]:
    return {one.name: one.metrics.accuracy.value for one in picked.candidates}


def test_pick_measures_each_and_says_which_to_take(picked: Picked):
    said = picked.as_json()
    assert {one["name"] for one in said["candidates"]} == {"test_efficientnet", "test_resnet"}
    assert (
        said["val"]["count"]
        == said["candidates"][0]["accuracy"]["count"]
        == picked.counts["val"]
        > 10
    )
    assert said["chosen"] in picked.lines[0]
    assert all(
        one["latency_ms"]["low"] <= one["latency_ms"]["median"] for one in said["candidates"]
    )
    medians = [one.latency.median for one in picked.candidates]
    assert medians == sorted(medians)


def test_the_next_command_trains_with_it(picked: Picked, files: list[str]):
    file = next(one.partition("=")[2] for one in files if one.startswith(picked.advice.chosen.name))
    settings = (
        f"--set split.val=0.3 --set backbone.name={picked.advice.chosen.name} --set"
        f" backbone.weights={file}"
    )
    assert picked.next == picked.lines[-1].removeprefix("next      ")
    assert picked.next.endswith(settings)


def test_the_next_command_brings_no_weights_of_another_backbone(
    many: Path, files: list[str], tmp_path: Path
):
    name, _, file = files[0].partition("=")
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(f"name: mine\nbackbone: {{name: {name}, weights: {file}}}\n")
    changes = {"split.val": 0.3, "backbone.name": name, "backbone.weights": file}
    wanted = {"backbones": ["tf_efficientnet_lite0"], "out": tmp_path / "pick.html", "quiet": True}
    ends = "--set split.val=0.3 --set backbone.name=tf_efficientnet_lite0"
    assert pick(many, **wanted, set=changes).next.endswith(ends)
    of_file = pick(many, **wanted, recipe=str(recipe), set={"split.val": 0.3})
    assert of_file.next.endswith(f"--recipe {recipe} {ends} --set backbone.weights=none")


def test_backbones_are_named_one_by_one_or_separated_by_commas(
    picked: Picked, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    asked = []
    monkeypatch.setattr(
        jobs_picking, "pick", lambda *_, backbones, **__: asked.append(backbones) or picked
    )
    for words in (["--backbones", "a,b=w.pth", "--backbones", "c"], []):
        assert CliRunner().invoke(app, ["pick", str(tmp_path), *words, "--json"]).exit_code == 0
    assert asked == [["a", "b=w.pth", "c"], None]


def test_images_that_cannot_be_read_are_in_the_exit_code(
    picked: Picked, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    assert picked.as_json()["statuses"] == {"ok": sum(picked.counts.values())}
    for statuses, code in (({"ok": 3}, 0), ({"ok": 3, "empty": 1}, 3)):
        monkeypatch.setattr(
            jobs_picking,
            "pick",
            lambda *_, statuses=statuses, **__: replace(picked, statuses=statuses),
        )
        assert CliRunner().invoke(app, ["pick", str(tmp_path), "--json"]).exit_code == code


def test_pick_writes_its_page(picked: Picked):
    page = Page(picked.page.read_text("utf-8"))
    assert picked.advice.lines[0] in page.text
    assert "unknown" in page.text  # the licence of a file of the user's


def test_a_second_pick_computes_no_features(
    picked: Picked, many: Path, files: list[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(FeatureExtractor, "visit", lambda *_: pytest.fail("computed again"))
    again = pick(
        many, backbones=files, out=many.parent / "again.html", set={"split.val": 0.3}, quiet=True
    )
    assert accuracies(again) == accuracies(picked)


def test_candidates_that_do_not_fit_in_memory_together_look_in_turns(
    picked: Picked, many: Path, files: list[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(jobs_candidates, "FEATURE_BYTES", 1)
    turns = pick(
        many, backbones=files, out=many.parent / "turns.html", set={"split.val": 0.3}, quiet=True
    )
    assert accuracies(turns) == accuracies(picked)


def test_the_labels_of_the_test_images_change_nothing(split_photos: Path, files: list[str]):
    before = pick(
        split_photos, backbones=files[:1], out=split_photos.parent / "pick.html", quiet=True
    )
    for one, other in (("brick", "x"), ("sky", "brick"), ("x", "sky")):
        shutil.move(split_photos / "test" / one, split_photos / "test" / other)
    after = pick(
        split_photos, backbones=files[:1], out=split_photos.parent / "pick.html", quiet=True
    )
    assert np.array_equal(before.candidates[0].val.probs, after.candidates[0].val.probs)


def test_those_without_weights_are_named_and_the_hub_is_asked_once(
    photos: Path, files: list[str], offline: list[str], tmp_path: Path
):
    wanted = ["resnet26", "resnet34", files[0]]
    picked = pick(photos, backbones=wanted, out=tmp_path / "pick.html", quiet=True)
    assert (list(accuracies(picked)), offline) == (["test_efficientnet"], ["resnet26"])
    assert picked.failed["resnet26"] == "The weights of resnet26 are not here (no network)."
    assert picked.failed["resnet34"] == "Its weights are not here, and the hub failed for resnet26."
    assert "resnet34: not measured. Its weights are not here" in "\n".join(picked.lines)
    assert "Its weights are not here" in Page(picked.page.read_text("utf-8")).text


def test_where_all_fail_the_reasons_are_told(photos: Path, offline: list[str], tmp_path: Path):
    with pytest.raises(
        UserError,
        match=r"No backbone could be measured\. resnet26: The weights of resnet26 are not",
    ):
        pick(photos, backbones=["resnet26"], out=tmp_path / "pick.html", quiet=True)
    assert not (tmp_path / "pick.html").exists()


def test_one_that_fails_on_the_images_is_named(
    photos: Path, files: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    fit = jobs_candidates.fit_train
    calls = iter([MemoryError(), None])

    def failing(*words: object) -> object:
        if error := next(calls):
            raise error
        return fit(*words)

    monkeypatch.setattr(jobs_candidates, "fit_train", failing)
    picked = pick(photos, backbones=files, out=tmp_path / "pick.html", quiet=True)
    assert picked.failed == {"test_efficientnet": "MemoryError"}
    assert list(accuracies(picked)) == ["test_resnet"]


def test_what_would_take_too_long_is_left_out_and_named(
    photos: Path, files: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    costs = iter([1.0, 0.001])
    monkeypatch.setattr(jobs_candidates, "seconds_an_image", lambda *_: next(costs))
    picked = pick(
        photos, backbones=files, budget_seconds=20, out=tmp_path / "pick.html", quiet=True
    )
    assert list(accuracies(picked)) == ["test_resnet"]
    assert (
        picked.failed["test_efficientnet"] == "It would not fit in 20 seconds. Pick again to go on."
    )


@pytest.mark.parametrize(("kept", "spent"), [(np.zeros(1), 0.0), (None, 2.0)])
def test_features_that_are_kept_take_no_time(
    monkeypatch: pytest.MonkeyPatch, kept: object, spent: float
):
    monkeypatch.setattr(
        jobs_candidates, "Session", lambda graph: SimpleNamespace(run=lambda *_: None)
    )
    ticks = iter([0.0, 5.0, 10.0, 12.0])
    monkeypatch.setattr(jobs_candidates, "time", SimpleNamespace(perf_counter=lambda: next(ticks)))
    images = [(digest, np.zeros((2, 2, 3), np.uint8)) for digest in "ab"]
    store = SimpleNamespace(get=lambda graph, digest: kept)
    assert jobs_candidates.seconds_an_image(b"graph", images, store) == spent


def test_images_that_change_between_two_looks_are_refused():
    before = SimpleNamespace(paths=np.array(["a.jpg", "b.jpg"]), digests=np.array(["1", "2"]))
    now = SimpleNamespace(digests=np.array(["1", "3"]))
    with pytest.raises(
        Refused, match=r"1 images changed meanwhile, 'b.jpg' for one\. Pick again\."
    ):
        jobs_candidates.check_unchanged(before, now)


def test_val_images_that_have_gone_are_said_to_be_gone(photos: Path):
    val = read_source(photos)
    shutil.rmtree(photos)
    with pytest.raises(UserError, match="val images can no longer be read"):
        jobs_picking.sample_images(val, Recipe())


def test_the_lines_say_where_it_was_measured(picked: Picked):
    counts = picked.counts
    where = (
        f"Measured on {counts['val']} val images, seed 0; {counts['test']} test images kept away:"
    )
    assert where in picked.lines


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"recipe": "cifar10-lenet"}, "'cifar10-lenet' has no probe"),
        ({"max_ms": 0}, "--max-ms must be above 0, got 0"),
        ({"max_mb": -1}, "--max-mb must be above 0"),
        ({"budget_seconds": float("nan")}, "--budget must be above 0"),
        ({"backbones": ["resnet81"]}, "Unknown backbone 'resnet81'. Did you mean"),
        ({"set": {"split.val": 0}, "backbones": None}, "no val images to pick by"),
    ],
)
def test_wrong_use_is_refused(
    photos: Path,
    files: list[str],
    tmp_path: Path,
    offline: list[str],
    options: dict[str, object],
    words: str,
):
    options = {"backbones": files[:1]} | {
        key: value for key, value in options.items() if value is not None
    }
    with pytest.raises(UserError, match=words):
        pick(photos, out=tmp_path / "pick.html", quiet=True, **options)


# ── the page ──


def row(name: str, accuracy: float = 0.9, ms: float = 10.0, **changes: object) -> PickRow:
    score = Score(accuracy, accuracy - 0.05, min(accuracy + 0.04, 1.0), 100)
    facts = {
        "megabytes": 10.0,
        "parameters": 3_000_000,
        "size_px": 224,
        "licence": "Apache-2.0",
        "seconds": 3.0,
    }
    place = {"standing": "the most accurate", "on_front": True, "within": True, "chosen": False}
    scores = {"accuracy": score, "balanced": score, "log_loss": Score(0.2, 0.1, 0.3, 100)}
    times = {"ms": (ms, ms, ms), "all_cores_ms": None}
    return PickRow(name=name, **(scores | times | facts | place | changes))


def page_of(rows: Sequence[PickRow], **changes: object) -> Page:
    values = {
        "title": "photos",
        "created": "1 May 2025",
        "advice": ["Take a: why."],
        "rows": rows,
        "failed": {},
    }
    more = {"next": "", "uneven": False, "cores": 1, "ran": {"seed": "0"}}
    return Page(render_picking(PickInput(**(values | more | changes))))


def test_the_page_shows_hostile_names_as_text_and_loads_nothing():
    page = page_of(
        [row(HOSTILE, licence=HOSTILE)], title=HOSTILE, failed={HOSTILE: HOSTILE}, next=HOSTILE
    )
    assert page.text.count(HOSTILE) >= 6
    assert all(value.startswith("#") for value in page.values("src", "href"))
    assert not [
        name for _, attrs in page.tags for name in attrs if name == "style" or name.startswith("on")
    ]


def test_uneven_classes_show_the_balanced_accuracy():
    assert "Balanced accuracy" in page_of([row("a")], uneven=True).text
    assert "Balanced accuracy" not in page_of([row("a")]).text


def test_the_plot_holds_every_bar_and_a_larger_file_has_a_larger_dot():
    rows = [row("a", 0.8, 3, megabytes=5.0), row("b", 0.98, 40, megabytes=90.0), row("c", 0.2, 9)]
    plot = pareto_plot(rows)
    assert all(
        plot.up.end <= mark.high <= mark.dot.y <= mark.low <= plot.up.start for mark in plot.marks
    )
    assert [mark.dot.x for mark in plot.marks] == [plot.across.at(one.ms[0]) for one in rows]
    assert plot.marks[0].dot.radius < plot.marks[1].dot.radius


def test_numbers_of_dots_at_one_place_do_not_hide_each_other():
    marks = pareto_plot([row("a"), row("b"), row("c")]).marks
    assert len({(mark.label_x, mark.label_y) for mark in marks}) == 3


def test_the_line_joins_the_front_only():
    rows = [row("a", 0.8, 3), row("b", 0.7, 5, on_front=False), row("c", 0.9, 9)]
    assert len(pareto_plot(rows).line.split()) == 2


def test_times_below_a_millisecond_still_have_an_axis():
    assert pareto_plot([row("a", ms=0.2), row("b", ms=0.9)]).across.ticks


def test_a_line_a_candidate_marks_the_one_to_take():
    first, second = candidate_lines(
        [row("a", chosen=True), row("longer", standing="measurably worse")]
    )
    assert first.startswith("* a       90.0 % (85.0 to 94.0, 100 images)  10 ms  10 MB  Apache-2.0")
    assert second.endswith("measurably worse")
