"""`train`: what it makes of folders of all kinds, that it is the same each time, and that it only
reads the data.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import polars
import pytest
from onnx import numpy_helper

import tellapart
from helpers.images import KINDS, write_classes, write_image
from helpers.odd_images import salt
from helpers.probes import SMALL
from tellapart import Recipe, Run, UserError
from tellapart.errors import Refused
from tellapart.recipe import recipe_from


def train(
    data: Path, out: Path | None = None, *, set: dict[str, object] | None = None, **options: object
) -> Run:
    return tellapart.train(
        data, out=out or data.parent / "runs", set={**SMALL, **(set or {})}, quiet=True, **options
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_classes(tmp_path_factory.mktemp("train") / "photos", 12)


@pytest.fixture(scope="module")
def run(data: Path) -> Run:
    return train(data)


def metrics_of(run: Run) -> dict:
    return json.loads((run.path / "metrics.json").read_text())


def splits_of(run: Run) -> dict[str, str]:
    """Path → split."""
    rows = polars.read_parquet(run.path / "splits.parquet")
    return dict(zip(rows["path"], rows["split"], strict=True))


def constants(run: Run) -> dict[str, np.ndarray]:
    """What was learned: every constant of the model file that is not the backbone's."""
    learned = ("weight", "bias", "familiar_components", "unfamiliar_limit")
    return {
        one.name: numpy_helper.to_array(one)
        for one in onnx.load(run.model).graph.initializer
        if one.name in learned
    }


@pytest.fixture
def uneven_photos(tmp_path: Path) -> Path:
    """24 images of one class and 8 of another, all much alike."""
    write_classes(tmp_path / "uneven", 24)
    _, rare, other = sorted(KINDS)
    shutil.rmtree(tmp_path / "uneven" / other)
    for file in sorted((tmp_path / "uneven" / rare).iterdir())[8:]:
        file.unlink()
    return tmp_path / "uneven"


# ── what comes back ──


def test_it_learns_to_tell_three_classes_apart(run: Run):
    assert run.classes == ("brick", "leaf", "sky")
    assert run.metrics.accuracy.value == 1
    assert run.metrics.accuracy.count == list(splits_of(run).values()).count("test")


def test_each_class_is_left_out_once_and_the_report_says_how_well_it_is_noticed(run: Run):
    found = metrics_of(run)["unfamiliar"]
    assert set(found["left_out"]["by_class"]) == set(run.classes)
    assert found["familiar_share"] < 0.99  # too few images to promise that
    report = run.report.read_text()
    assert "Each class was left out once" in report
    assert "called “unfamiliar” with a chance of at most" in report


def test_classes_are_left_out_only_where_it_is_wanted(photos: Path):
    run = train(photos, set={"answer.leave_one_class_out": "never"})
    assert metrics_of(run)["unfamiliar"]["left_out"] is None
    assert "left out once" not in run.report.read_text()


def test_the_run_knows_its_files_and_its_model(run: Run, data: Path):
    assert run.model == run.path / "model.onnx"
    assert run.report == run.path / "report.html"
    assert run.statuses == {"ok": 36}
    assert run.predictor().predict(data / "leaf" / "003.jpg").answer == "leaf"


def test_a_tidy_folder_has_no_warning(run: Run):
    assert run.warnings == ()


def test_it_can_be_told_as_json(run: Run):
    told = json.loads(json.dumps(run.as_json(), allow_nan=False))
    assert told["classes"] == ["brick", "leaf", "sky"]
    assert told["test"]["accuracy"].keys() == {"value", "low", "high", "count", "clusters"}
    assert (told["run"], told["model"]) == (str(run.path), str(run.model))
    assert told["seconds"] >= sum(told["steps"].values()) - 0.1


def test_a_quiet_training_prints_nothing(photos: Path, capfd: pytest.CaptureFixture[str]):
    train(photos)
    assert capfd.readouterr() == ("", "")


def test_what_it_says_goes_to_standard_error_and_names_the_layout_first(photos: Path, capsys):
    tellapart.train(photos, out=photos.parent / "runs", set=SMALL)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[0] == "photos: 3 class folders; 36 files, 3 classes"


def test_a_recipe_may_be_an_object_and_a_seed_and_keys_change_it(photos: Path):
    run = train(
        photos,
        recipe=recipe_from({"name": "mine"}, Recipe()),
        seed=7,
        set={"head.weighting": "balanced"},
    )
    recipe = (run.path / "recipe.yaml").read_text()
    assert re.search("^name: mine$", recipe, re.MULTILINE)
    assert re.search("^seed: 7$", recipe, re.MULTILINE)
    assert "weighting: balanced" in recipe


# ── the same each time ──


def test_the_same_training_gives_the_same_model_bytes_elsewhere_too(
    run: Run, data: Path, tmp_path: Path
):
    again = train(data, tmp_path / "elsewhere")
    assert again.path.parent == tmp_path / "elsewhere"
    assert again.model.read_bytes() == run.model.read_bytes()
    assert splits_of(again) == splits_of(run)


def test_an_empty_cache_gives_the_same_model_bytes(
    run: Run, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TELLAPART_CACHE", str(tmp_path / "empty"))
    assert train(data, tmp_path).model.read_bytes() == run.model.read_bytes()


def test_the_name_and_place_of_the_folder_change_nothing(run: Run, data: Path, tmp_path: Path):
    data.rename(tmp_path / "renamed")
    try:
        assert train(tmp_path / "renamed").model.read_bytes() == run.model.read_bytes()
    finally:
        (tmp_path / "renamed").rename(data)


def test_another_seed_gives_another_division(run: Run, data: Path, tmp_path: Path):
    assert splits_of(train(data, tmp_path, seed=1)) != splits_of(run)


def test_the_labels_of_test_images_change_nothing_that_is_learned(tmp_path: Path):
    write_classes(tmp_path / "photos", 12)
    rows = [
        f"photos/{name}/{i:03}.jpg,{name},{'test' if i > 8 else 'train'}"
        for name in KINDS
        for i in range(12)
    ]
    swapped = [row.replace(",brick,test", ",sky,test") for row in rows]
    for name, lines in (("true.csv", rows), ("swapped.csv", swapped)):
        (tmp_path / name).write_text("\n".join(["path,label,split", *lines]))
    one, other = train(tmp_path / "true.csv"), train(tmp_path / "swapped.csv")
    assert one.metrics.accuracy.value > other.metrics.accuracy.value
    assert metrics_of(one)["calibration"] == metrics_of(other)["calibration"]
    assert all((constants(one)[name] == constants(other)[name]).all() for name in constants(one))


WATCHED = """
import json, sys
import tellapart
run = tellapart.train(sys.argv[1], out=sys.argv[2], set=json.loads(sys.argv[3]), quiet=True)
print(json.dumps({"run": str(run.path), "torch": [m for m in ("torch", "timm") if m in sys.modules]}))
"""


def test_a_second_training_computes_no_feature_and_needs_no_torch(
    run: Run, data: Path, tmp_path: Path
):
    changes = json.dumps({**SMALL, "head.weighting": "balanced"})
    words = [sys.executable, "-c", WATCHED, str(data), str(tmp_path), changes]
    told = json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
    assert told["torch"] == []
    assert "features computed for 0," in (Path(told["run"]) / "log.txt").read_text()


def test_a_image_more_costs_one_feature(data: Path, tmp_path: Path):
    write_classes(tmp_path / "photos", 12)
    write_image(tmp_path / "photos" / "sky" / "new.png", 4711)
    run = train(tmp_path / "photos")
    assert "features computed for 1," in (run.path / "log.txt").read_text()


# ── splits that the user brings ──


def test_a_test_folder_is_reported_on_and_all_others_are_trained_on(split_photos: Path):
    run = train(split_photos)
    assert run.metrics.accuracy.count == 12
    assert all(
        split == "test" for path, split in splits_of(run).items() if path.startswith("test/")
    )
    assert set(splits_of(run).values()) == {"train", "test"}


def test_val_is_cut_from_train_where_it_is_asked_for(split_photos: Path):
    run = train(split_photos, set={"split.val": 0.2})
    assert set(splits_of(run).values()) == {"train", "val", "test"}
    assert len(run.predictions("val")) > 0


def test_a_leaky_split_is_reported_with_counts_and_trained_on(split_photos: Path):
    for number in (1, 2):
        copy = (split_photos / "train" / "sky" / f"00{number}.jpg").read_bytes()
        (split_photos / "test" / "sky" / f"copy{number}.jpg").write_bytes(copy)
    run = train(split_photos)
    assert re.match(
        r"2 images or groups are in more than one split \(train and test", run.warnings[0]
    )
    assert metrics_of(run)["splits"]["leaks"] == 2
    assert run.warnings[0].split(",")[0] in (run.path / "report.html").read_text()


def test_strict_refuses_a_leak(split_photos: Path):
    copy = (split_photos / "train" / "sky" / "001.jpg").read_bytes()
    (split_photos / "test" / "sky" / "copy.jpg").write_bytes(copy)
    with pytest.raises(Refused, match="1 image or group is in more than one split"):
        train(split_photos, strict=True)
    assert not (split_photos.parent / "runs").exists()


def test_one_image_under_two_classes_is_reported(photos: Path):
    (photos / "leaf" / "same.jpg").write_bytes((photos / "sky" / "001.jpg").read_bytes())
    run = train(photos)
    assert any(
        "in more than one class" in text and "'leaf/same.jpg' (leaf)" in text
        for text in run.warnings
    )


def test_strict_refuses_one_image_under_two_classes(photos: Path):
    (photos / "leaf" / "same.jpg").write_bytes((photos / "sky" / "001.jpg").read_bytes())
    with pytest.raises(Refused, match="in more than one class"):
        train(photos, strict=True)


def test_copies_in_one_class_stay_together_and_are_told(photos: Path):
    for number in range(6):
        copy = (photos / "sky" / f"00{number}.jpg").read_bytes()
        (photos / "sky" / f"copy{number}.jpg").write_bytes(copy)
    run = train(photos)
    splits = splits_of(run)
    assert any("6 images have 6 exact copies" in text for text in run.warnings)
    assert all(
        splits[f"sky/00{number}.jpg"] == splits[f"sky/copy{number}.jpg"] for number in range(6)
    )


# ── small and odd data ──


def test_two_images_a_class_are_enough(tmp_path: Path):
    run = train(write_classes(tmp_path / "photos", 2))
    assert metrics_of(run)["splits"]["counts"] == {"train": 3, "val": 0, "test": 3}
    assert run.metrics.accuracy.count == 3


def test_a_class_of_one_image_is_trained_on_and_named_as_untested(photos: Path):
    write_image(photos / "rare" / "only.jpg", 5, colour=(0, 0, 0))
    run = train(photos)
    assert splits_of(run)["rare/only.jpg"] == "train"
    assert any("no image in test: 'rare'" in text for text in run.warnings)
    assert metrics_of(run)["test"]["per_class"][2]["recall"]["value"] is None
    assert "rare" in (run.path / "report.html").read_text()


def test_one_image_a_class_is_trained_on_and_said_to_be_untested(tmp_path: Path):
    run = train(write_classes(tmp_path / "photos", 1))
    assert any(text.startswith("There is no test") for text in run.warnings)
    assert run.metrics.accuracy.count == 0
    assert run.predictor().predict(tmp_path / "photos" / "sky" / "000.jpg").answer == "sky"


def test_two_classes_have_two_columns(photos: Path):
    for image in (photos / "leaf").iterdir():
        image.unlink()
    (photos / "leaf").rmdir()
    run = train(photos)
    answer = run.predictor().predict(photos / "sky" / "001.jpg")
    assert list(answer.probabilities) == ["brick", "sky"]
    assert sum(answer.probabilities.values()) == pytest.approx(1)


def test_an_empty_class_folder_is_left_out_and_named(photos: Path):
    (photos / "empty").mkdir()
    run = train(photos)
    assert run.classes == ("brick", "leaf", "sky")
    assert any(text.startswith("Class 'empty' is left out") for text in run.warnings)


def test_a_probe_is_calibrated_on_out_of_fold_answers_of_all_that_it_learns_from(photos: Path):
    run = train(photos)
    num_train = list(splits_of(run).values()).count("train")
    card, answers = run.predictor().card, run.predictions("train")
    assert sum(card.train_counts) == card.calibration_count == len(answers) == num_train
    assert card.confidence_threshold is not None
    assert card.detects_unfamiliar
    assert metrics_of(run)["probe"]["folds"] == SMALL["head.folds"]


def test_a_balanced_head_ships_probabilities_that_sum_to_the_shares(uneven_photos: Path):
    run = train(uneven_photos, set={"head.weighting": "balanced", "split.test": 0})
    answers = run.predictions("train")
    shares = np.bincount(answers.labels) / len(answers)
    assert answers.probs.mean(axis=0) == pytest.approx(shares, abs=0.03)
    weights = run.predictor().card.rule.weights
    assert len(weights) == 2 and weights[1] > weights[0]  # the rare class is answered sooner


def test_costs_decide_what_is_answered(photos: Path):
    run = train(photos, set={"answer.costs": "wrong=1,wrong:sky=20,unanswered=0"})
    card = run.predictor().card
    assert card.confidence_threshold is None
    assert card.rule.costs is not None and card.rule.costs.wrong == (1.0, 1.0, 20.0)
    assert run.predictor().predict(photos / "sky" / "001.jpg").decision == "unsure"


def test_costs_of_a_class_that_is_not_there_are_refused_before_any_work(photos: Path):
    with pytest.raises(UserError, match=r"class in answer\.costs: 'moon'"):
        train(photos, set={"answer.costs": "wrong:moon=1,wrong=1,unanswered=1"})


def test_prediction_sets_come_from_the_model_file(photos: Path):
    run = train(photos)
    predicted = tellapart.predict(run.model, [photos / "sky" / "001.jpg"], sets=0.5, quiet=True)
    assert "sky" in predicted.answers[0].prediction_set
    assert json.loads(predicted.to_frame()["set"][0]) == list(predicted.answers[0].prediction_set)
    with pytest.raises(UserError, match="between 0 and 1"):
        tellapart.predict(run.model, [photos / "sky" / "001.jpg"], sets=95, quiet=True)


def test_val_that_the_user_brings_calibrates_too(photos: Path):
    run = train(photos, set={"split.val": 0.2})
    counts = metrics_of(run)["splits"]["counts"]
    assert run.predictor().card.calibration_count == counts["train"] + counts["val"]


def test_where_no_fold_can_be_made_nothing_is_calibrated_and_every_image_is_answered(
    photos: Path,
):
    single = [(photos / name / "001.jpg", name) for name in KINDS]
    run = train(single, out=photos.parent / "runs", set={"split.test": 0})
    card = run.predictor().card
    assert (card.temperature, card.calibration_count) == (1.0, 0)
    assert card.confidence_threshold is None
    assert not card.detects_unfamiliar
    assert any(text.startswith("Nothing could be held out") for text in run.warnings)
    answer = run.predictor().predict(photos / "sky" / "001.jpg")
    assert (answer.decision, answer.unfamiliarity) == ("answered", None)


def test_grouped_images_stay_on_one_side(tmp_path: Path):
    write_classes(tmp_path / "photos", 12)
    rows = [f"photos/{name}/{i:03}.jpg,{name},{name} {i // 3}" for name in KINDS for i in range(12)]
    (tmp_path / "table.csv").write_text("\n".join(["path,label,group", *rows]))
    splits = splits_of(train(tmp_path / "table.csv"))
    sides = {f"{path.split('/')[1]} {int(Path(path).stem) // 3}": set() for path in splits}
    for path, split in splits.items():
        sides[f"{path.split('/')[1]} {int(Path(path).stem) // 3}"].add(split)
    assert all(len(side) == 1 for side in sides.values())


@pytest.mark.parametrize("mode", ["squash", "pad"])
def test_every_mode_of_preprocessing_passes_the_gate(photos: Path, mode: str):
    write_image(photos / "sky" / "tall.png", 77, size=(30, 200))
    write_image(photos / "sky" / "wide.png", 78, size=(200, 30))
    run = train(photos, set={"preprocessing.mode": mode})
    assert run.predictor().card.preprocessing.mode == mode
    assert metrics_of(run)["parity"]["from_files"] <= 0.01


def test_names_that_are_not_text_train_too(photos: Path):
    folder = photos.rename(photos.parent / "caf\udce9 photos")
    (folder / "sky" / "001.jpg").rename(folder / "sky" / "n\udce9w\nline 'and' \"quotes\".jpg")
    (folder / "leaf").rename(folder / "l\udce9af")
    run = train(folder)
    assert run.classes == ("brick", "l\\xe9af", "sky")
    assert run.statuses == {"ok": 36}


# ── broken files never stop it, and the data is only read ──


@pytest.fixture(scope="module")
def salted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """Twelve good images a class, and a class folder salted with odd files; what each of these
    should be.
    """
    folder = write_classes(tmp_path_factory.mktemp("salted") / "photos", 12)
    expected = salt(folder / "brick")
    # One file alone has no known range; in a data set it has that of the set.
    expected |= dict.fromkeys(("float.tif", "int32.tif"), "ok")
    return folder, {name: status for name, status in expected.items() if not name.startswith("._")}


@pytest.fixture(scope="module")
def salted_run(salted: tuple[Path, dict[str, str]]) -> Run:
    return train(salted[0])


def test_every_odd_file_has_one_verdict(salted: tuple[Path, dict[str, str]], salted_run: Run):
    rows = polars.read_parquet(salted_run.path / "catalog.parquet")
    verdicts = dict(zip(rows["path"], rows["status"], strict=True))
    assert len(verdicts) == len(rows) == 36 + len(salted[1])
    assert {name: verdicts[f"brick/{name}"] for name in salted[1]} == salted[1]


def test_only_images_are_trained_and_tested_on(
    salted: tuple[Path, dict[str, str]], salted_run: Run
):
    used = splits_of(salted_run)
    bad = {f"brick/{name}" for name, status in salted[1].items() if status != "ok"}
    assert bad.isdisjoint(used)
    tested = polars.read_parquet(salted_run.path / "predictions-test.parquet")["path"]
    assert set(tested) == {path for path, split in used.items() if split == "test"}


def test_each_status_is_told_with_a_count_and_an_example(
    salted: tuple[Path, dict[str, str]], salted_run: Run
):
    told = [
        re.match(r"\d+ files? (?:is|are) (\w+), for example ['\"]", text)
        for text in salted_run.warnings
    ]
    assert {match[1] for match in told if match} == set(salted[1].values()) - {"ok"}


def content_of(path: Path) -> str:
    """The SHA-256 of an ordinary file that may be read, else nothing."""
    if not stat.S_ISREG(path.lstat().st_mode) or not os.access(path, os.R_OK):
        return ""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def state(folder: Path) -> dict[str, tuple[object, ...]]:
    """Name → mode, time of change and content of everything in a folder, without following a
    link.
    """
    everything = [folder, *folder.rglob("*")]
    return {
        str(one): (one.lstat().st_mode, one.lstat().st_mtime_ns, content_of(one))
        for one in everything
    }


def test_the_data_is_only_read(tmp_path: Path):
    folder = write_classes(tmp_path / "photos", 12)
    salt(folder / "brick")
    (folder / "brick").chmod(0o555)
    folder.chmod(0o555)
    before = state(folder)
    run = train(folder)
    run.predictor().predict(sorted(folder.glob("brick/*.jpg")))
    tellapart.evaluate(run.model, folder, quiet=True)
    assert state(folder) == before


def test_only_broken_files_are_an_error_that_counts_them(tmp_path: Path):
    for name in ("a", "b"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        (tmp_path / "photos" / name / "x.jpg").write_bytes(b"")
    with pytest.raises(
        UserError, match=r"At least two classes with usable images are needed.+2 empty"
    ):
        train(tmp_path / "photos")


def test_a_folder_that_is_not_there_names_the_nearest(photos: Path):
    with pytest.raises(UserError, match=r"does not exist\. Did you mean .*photos\?"):
        train(photos.parent / "photo")


def test_a_image_that_vanishes_while_it_is_used_is_no_crash(
    photos: Path, monkeypatch: pytest.MonkeyPatch
):
    from tellapart.pipeline import ship

    honest = ship.check_parity

    def slow(*arguments: object) -> object:
        for image in photos.rglob("*.jpg"):
            image.unlink()
        return honest(*arguments)

    monkeypatch.setattr(ship, "check_parity", slow)
    with pytest.raises(
        Refused, match="All 4 images to check the model file with were changed meanwhile"
    ):
        train(photos)
    assert not list((photos.parent / "runs").glob("*"))
