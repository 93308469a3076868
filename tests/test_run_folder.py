"""The run folder: all of a run, written whole, to be moved, checked and used again."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars
import pytest
import yaml

import tellapart
from helpers.images import write_classes, write_image
from helpers.run_folders import text_of
from tellapart import Run, UserError
from tellapart.cli.main import main
from tellapart.errors import Refused
from tellapart.evaluation.abstention import selective
from tellapart.evaluation.metrics import measure
from tellapart.evaluation.predictions import Predictions
from tellapart.pipeline import record
from tellapart.recipe import recipe_from
from tellapart.runs.folder import RunFolder, new_run, reopen_run, start_run
from tellapart.runs.identity import FORMAT, VERSION, RunIdentity, new_identity
from tellapart.writing import write_whole

SMALL = {"preprocessing.size_px": 64, "head.folds": 2, "head.c_values": (0.01, 0.1)}
FILES = {
    "catalog.parquet",
    "environment.json",
    "log.txt",
    "metrics.json",
    "model.onnx",
    "head.safetensors",
    "predictions-test.parquet",
    "predictions-val.parquet",
    "recipe.yaml",
    "report.html",
    "splits.parquet",
}


def train(data: Path, out: Path | None = None, **options: object) -> Run:
    return tellapart.train(data, out=out or data.parent / "runs", set=SMALL, quiet=True, **options)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_classes(tmp_path_factory.mktemp("run_folder") / "photos", 12)


@pytest.fixture(scope="module")
def run(data: Path) -> Run:
    return train(data)


def predictions_of(run: Run, split: str) -> Predictions:
    """The predictions of a split as the run folder has them, read as a stranger would."""
    rows = polars.read_parquet(run.path / f"predictions-{split}.parquet")
    classes = tuple(name.removeprefix("p:") for name in rows.columns if name.startswith("p:"))
    return Predictions(
        probs=rows.select(f"p:{name}" for name in classes).to_numpy(),
        labels=np.array([classes.index(label) for label in rows["label"]], np.int64),
        paths=tuple(rows["path"]),
        classes=classes,
        unfamiliarity=rows["unfamiliarity"].to_numpy(),
    )


def splits_of(run: Run) -> polars.DataFrame:
    return polars.read_parquet(run.path / "splits.parquet")


# ── what is in it ──


def test_it_holds_all_of_a_run_and_nothing_else(run: Run):
    assert {file.name for file in run.path.iterdir()} == FILES


def test_its_name_is_the_time_and_the_name_of_the_data(run: Run):
    assert re.fullmatch(r"\d{8}-\d{6}-photos(-\d+)?", run.path.name)


def test_it_may_be_named(data: Path, tmp_path: Path):
    assert train(data, tmp_path, name="my: best/run").path.name.endswith("-my-best-run")


def test_its_metrics_can_be_computed_again_from_its_predictions(run: Run):
    written = json.loads((run.path / "metrics.json").read_text())
    rows = polars.read_parquet(run.path / "catalog.parquet").join(splits_of(run), on="path")
    train_counts = np.bincount(
        rows.filter(polars.col("split") == "train")["label"].to_numpy(), minlength=3
    )
    again = measure(
        predictions_of(run, "test"),
        seed=0,
        class_counts=train_counts,
    )
    assert again.as_json() == written["test"] == run.as_json()["test"]


def test_its_word_on_answering_can_be_computed_again_too(run: Run):
    written = json.loads((run.path / "metrics.json").read_text())
    threshold = written["calibration"]["confidence_threshold"]
    assert selective(predictions_of(run, "test"), threshold).as_json() == written["answering"]


def test_its_predictions_are_what_the_model_file_says_of_the_files(run: Run, data: Path):
    predictions = predictions_of(run, "test")
    answers = run.predictor().predict([data / path for path in predictions.paths])
    probs = [[answer.probabilities[name] for name in run.classes] for answer in answers]
    assert predictions.probs == pytest.approx(np.array(probs), abs=1e-6)
    assert predictions.unfamiliarity == pytest.approx(
        [answer.unfamiliarity for answer in answers], abs=1e-5
    )


def test_its_splits_cover_every_image_once(run: Run):
    rows, written = splits_of(run), json.loads((run.path / "metrics.json").read_text())
    assert rows["path"].is_unique().all()
    assert dict(rows["split"].value_counts().iter_rows()) == written["splits"]["counts"]
    assert re.fullmatch("[0-9a-f]{64}", written["splits"]["hash"])


def test_its_catalog_has_a_row_a_file(run: Run):
    rows = polars.read_parquet(run.path / "catalog.parquet")
    assert set(rows.columns) >= {
        "path",
        "label",
        "class",
        "status",
        "notes",
        "width",
        "height",
        "sha256",
    }
    assert rows.filter(polars.col("path") == "sky/000.jpg")["class"].to_list() == ["sky"]
    assert set(zip(rows["width"], rows["height"], strict=True)) == {(64, 48)}


def test_its_recipe_can_be_trained_with_again(run: Run, data: Path, tmp_path: Path):
    recipe = run.path / "recipe.yaml"
    assert recipe_from(yaml.safe_load(recipe.read_text())) == recipe_from(SMALL)
    again = tellapart.train(data, recipe=str(recipe), out=tmp_path, quiet=True)
    assert again.model.read_bytes() == run.model.read_bytes()


def test_its_environment_names_versions_and_machine_but_nobody(run: Run):
    environment = json.loads((run.path / "environment.json").read_text())
    assert environment["packages"].keys() >= {"numpy", "onnxruntime", "pillow", "torch", "timm"}
    assert environment["cores"] >= 1
    assert os.uname().nodename not in json.dumps(environment)


@pytest.mark.parametrize("name", sorted(FILES))
def test_it_names_no_place_on_this_machine(run: Run, data: Path, name: str):
    text = text_of(run.path / name)
    assert str(data.parent) not in text
    assert f"{Path.home()}/" not in text
    assert str(Path(tellapart.__file__).parents[2]) not in text


# ── moved ──


def test_it_works_wherever_it_is_moved_to(run: Run, data: Path, tmp_path: Path):
    moved = shutil.copytree(run.path, tmp_path / "another place" / "renamed")
    answer = tellapart.load(moved).predict(data / "sky" / "000.jpg")
    assert answer == run.predictor().predict(data / "sky" / "000.jpg")
    assert tellapart.evaluate(moved, data, quiet=True).metrics.accuracy.count == 36


# ── its splits, used again ──


@pytest.mark.parametrize("what", ["folder", "file"])
def test_the_splits_of_an_earlier_run_are_used_again(
    run: Run, data: Path, tmp_path: Path, what: str
):
    splits = run.path if what == "folder" else run.path / "splits.parquet"
    again = train(data, tmp_path, seed=5, splits=splits)
    assert splits_of(again).equals(splits_of(run))
    assert splits_of(train(data, tmp_path, seed=5)).equals(splits_of(run)) is False


def test_the_splits_of_a_leaky_source_can_be_used_again(split_photos: Path):
    copy = (split_photos / "train" / "sky" / "001.jpg").read_bytes()
    (split_photos / "test" / "sky" / "copy.jpg").write_bytes(copy)
    first = train(split_photos)
    assert splits_of(train(split_photos, splits=first.path)).equals(splits_of(first))


def change_one(photos: Path) -> None:
    write_image(photos / "sky" / "003.jpg", 999)


def take_one_away(photos: Path) -> None:
    (photos / "sky" / "003.jpg").unlink()


def add_one(photos: Path) -> None:
    write_image(photos / "sky" / "new.jpg", 999)


def break_one(photos: Path) -> None:
    (photos / "sky" / "003.jpg").write_bytes(b"")


def rename_a_class(photos: Path) -> None:
    (photos / "sky").rename(photos / "heaven")


CHANGES = {
    change_one: r"1 image has other content \('sky/003\.jpg'\)",
    take_one_away: r"1 image is gone or cannot be read \('sky/003\.jpg'\)",
    add_one: r"1 image is new \('sky/new\.jpg'\)",
    break_one: r"1 image is gone or cannot be read \('sky/003\.jpg'\)",
    rename_a_class: r"12 images are gone or cannot be read .+, 12 images are new",
}


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_splits_are_refused_where_the_data_is_not_what_it_was(run: Run, photos: Path, change):
    change(photos)
    with pytest.raises(Refused, match=CHANGES[change]):
        train(photos, splits=run.path)
    assert not list(photos.parent.glob("runs/*"))


@pytest.mark.parametrize("keeps_hash", [True, False])
def test_an_edited_splits_file_is_refused(run: Run, data: Path, tmp_path: Path, keeps_hash: bool):
    about = polars.read_parquet_metadata(run.path / "splits.parquet") if keeps_hash else {}
    edited = splits_of(run).with_columns(split=polars.col("split").replace({"test": "train"}))
    edited.write_parquet(
        tmp_path / "splits.parquet",
        metadata={key: about[key] for key in about if "ARROW" not in key},
    )
    with pytest.raises(Refused, match="was changed after it was written"):
        train(data, tmp_path / "runs", splits=tmp_path / "splits.parquet")


@pytest.mark.parametrize(
    ("name", "says"), [("nowhere", "does not exist"), ("metrics.json", "is not a splits file")]
)
def test_what_is_no_splits_file_is_said(run: Run, data: Path, tmp_path: Path, name: str, says: str):
    with pytest.raises(UserError, match=says):
        train(data, tmp_path, splits=run.path / name)


# ── whole or not at all ──


def test_two_runs_of_one_second_have_two_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("time.strftime", lambda *format: "20260101-000000")
    paths = []
    for _ in range(2):
        with new_run(tmp_path, "x") as folder:
            paths.append(folder.path)
    assert [path.name for path in paths] == ["20260101-000000-x", "20260101-000000-x-2"]


def write_and_fail(runs: Path) -> None:
    with new_run(runs, "x") as folder:
        folder.write("log.txt", "half")
        raise RuntimeError("in the middle")


def test_a_run_that_fails_leaves_nothing(tmp_path: Path):
    with pytest.raises(RuntimeError, match="in the middle"):
        write_and_fail(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_run_shows_its_name_only_when_it_is_whole(tmp_path: Path):
    with new_run(tmp_path, "x") as folder:
        folder.write("log.txt", "whole")
        assert not folder.path.exists()
    assert (folder.path / "log.txt").read_text() == "whole"


def test_a_disk_without_room_is_refused_before_anything_is_written(tmp_path: Path):
    with (
        pytest.raises(Refused, match=r"bytes free, and the run needs about [\d,]+\. Make room"),
        new_run(tmp_path, "x", needs_bytes=10**18),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_to_is_said(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="could not be written"), new_run(tmp_path / "file", "x"):
        pass


def test_a_file_that_cannot_be_replaced_stays_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    write_whole(tmp_path / "x.json", "old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Refused, match=r"it needs 3 bytes and [\d,]+ are free"):
        write_whole(tmp_path / "x.json", "new")
    assert [file.name for file in tmp_path.iterdir()] == ["x.json"]
    assert (tmp_path / "x.json").read_text() == "old"


def test_numbers_that_are_not_finite_are_our_mistake_and_never_written(tmp_path: Path):
    with pytest.raises(ValueError, match="not JSON compliant"), new_run(tmp_path, "x") as folder:
        folder.write_json("metrics.json", {"accuracy": float("nan")})
    assert list(tmp_path.iterdir()) == []


# ── there from its beginning ──


def begin(run: RunFolder) -> None:
    assert not run.path.exists()
    run.write_json(
        "run.json",
        new_identity(run.path, name="x", data=run.path.parent / "photos", options={}).as_json(),
    )


def test_a_run_that_can_be_resumed_is_there_from_its_beginning(tmp_path: Path):
    run = start_run(tmp_path / "runs", "x", begin)
    assert [path.name for path in run.path.iterdir()] == ["run.json"]
    run.write("history.csv", "epoch")
    again = reopen_run(run.path)
    assert again.has("history.csv")
    assert again.read_json("run.json") == run.read_json("run.json")


def test_a_run_that_cannot_begin_leaves_nothing(tmp_path: Path):
    def half(run: RunFolder) -> None:
        begin(run)
        raise Refused("in the middle")

    with pytest.raises(Refused, match="in the middle"):
        start_run(tmp_path, "x", half)
    assert list(tmp_path.iterdir()) == []


def test_a_run_is_finished_when_its_log_is_written(tmp_path: Path):
    run = start_run(tmp_path, "x", begin)
    run.write_json("metrics.json", {})
    assert not run.finished
    run.write("log.txt", "done")
    assert run.finished


def test_a_probe_run_has_nothing_to_resume(run: Run):
    with pytest.raises(UserError, match="has nothing to resume: a probe run is made whole"):
        reopen_run(run.path)


@pytest.mark.parametrize("where", ["nowhere", "photos", ".20260101-000000-x.part"])
def test_what_is_no_run_folder_is_not_resumed(photos: Path, where: str):
    begin(RunFolder(photos.parent / "x", photos.parent / ".20260101-000000-x.part"))
    with pytest.raises(
        UserError, match=rf"{where} is no run folder\. Give the folder of the run itself"
    ):
        reopen_run(photos.parent / where)


@pytest.mark.parametrize("content", [None, b"", b"[1]", b"\xff"])
def test_a_damaged_file_of_a_run_is_said(tmp_path: Path, content: bytes | None):
    run = start_run(tmp_path, "x", begin)
    (run.path / "run.json").unlink()
    if content is not None:
        (run.path / "run.json").write_bytes(content)
    with pytest.raises(Refused, match=r"run\.json is gone or damaged\. Put a good copy there"):
        run.read_json("run.json")


def test_what_killed_processes_left_is_cleared(tmp_path: Path):
    run = start_run(tmp_path, "x", begin)
    (run.path / ".history.csv.k2j3_x8a.part").write_text("half")
    run.clear_parts()
    assert [path.name for path in run.path.iterdir()] == ["run.json"]


# ── what it is ──


def identity_of(run: Path, data: Path) -> RunIdentity:
    made = new_identity(run, name="x", data=data, options={"strict": True})
    assert RunIdentity.from_json(json.loads(json.dumps(made.as_json()))) == made
    return made


@pytest.mark.parametrize("name", ["photos", os.fsdecode(b"caf\xe9 \\ x")])
def test_a_run_finds_its_data_again_also_where_both_were_moved(tmp_path: Path, name: str):
    made = identity_of(tmp_path / "runs" / "x", tmp_path / name)
    assert made.data.startswith("../../")
    assert made.data_of(tmp_path / "runs" / "x") == tmp_path / name
    assert made.data_of(tmp_path / "moved" / "runs" / "y") == tmp_path / "moved" / name


def test_a_run_behind_a_link_finds_its_data_too(tmp_path: Path):
    (tmp_path / "disk" / "far" / "runs").mkdir(parents=True)
    (tmp_path / "runs").symlink_to(tmp_path / "disk" / "far" / "runs")
    made = identity_of(tmp_path / "runs" / "x", tmp_path / "photos")
    assert made.data_of(tmp_path / "runs" / "x") == tmp_path / "photos"


def test_each_run_has_a_number_of_its_own(tmp_path: Path):
    first, second = (identity_of(tmp_path / "x", tmp_path) for _ in range(2))
    assert re.fullmatch("[0-9a-f]{32}", first.id)
    assert first.id != second.id


def test_a_run_of_another_format_is_refused_with_both_versions(tmp_path: Path):
    values = identity_of(tmp_path / "x", tmp_path).as_json() | {
        "format": FORMAT + 1,
        "tellapart": "9.1",
    }
    says = (
        rf"made by tellapart 9\.1 in format {FORMAT + 1}; this is tellapart {re.escape(VERSION)},"
        rf" of format {FORMAT}"
    )
    with pytest.raises(Refused, match=says):
        RunIdentity.from_json(values)


@pytest.mark.parametrize("name", ["id", "ema"])
def test_an_identity_with_unknown_or_missing_fields_is_refused(tmp_path: Path, name: str):
    values = identity_of(tmp_path / "x", tmp_path).as_json()
    unlike = {key: values.get(key) for key in values.keys() ^ {name}}
    with pytest.raises(Refused, match=f"has unknown or missing fields: {name}"):
        RunIdentity.from_json(unlike)


# ── stopped in the middle ──

STOPPED = """
import os, signal, sys
from tellapart.cli.main import main
from tellapart.probe.embeddings import FeatureExtractor

visit, seen = FeatureExtractor.visit, []
def visit_and_stop(self, *arguments):
    visit(self, *arguments)
    seen.append(1)
    if len(seen) == 20:
        os.kill(os.getpid(), int(sys.argv[1]))
FeatureExtractor.visit = visit_and_stop
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs are started without it
main(sys.argv[2:])
"""

KILLED = """
import os, signal, sys
from tellapart.cli.main import main
from tellapart.runs.folder import RunFolder

write = RunFolder.write
def write_and_die(self, name, content):
    write(self, name, content)
    if name == sys.argv[1]:
        os.kill(os.getpid(), signal.SIGKILL)
RunFolder.write = write_and_die
main(sys.argv[2:])
"""


def train_words(data: Path, out: Path) -> list[str]:
    changes = [f"--set={key}={_text(value)}" for key, value in SMALL.items()]
    return ["train", str(data), "--out", str(out), "-q", *changes]


def _text(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM], ids=lambda stop: stop.name)
def test_a_stopped_training_leaves_nothing_half_written_and_goes_on_next_time(
    run: Run, tmp_path: Path, stop: signal.Signals
):
    data = write_classes(tmp_path / "photos", 12, first_seed=1000 * stop)
    words = [sys.executable, "-c", STOPPED, str(int(stop)), *train_words(data, tmp_path / "runs")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 4
    assert done.stderr.splitlines()[-1].startswith("error: Interrupted; nothing is half-written.")
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("runs/*"))
    log = (train(data, tmp_path / "runs").path / "log.txt").read_text()
    assert int(re.search(r"computed for (\d+)", log)[1]) <= 36 - 20


@pytest.mark.parametrize("after", ["model.onnx", "metrics.json"])
def test_a_killed_training_leaves_no_run_under_a_final_name(
    run: Run, data: Path, tmp_path: Path, after: str
):
    words = [sys.executable, "-c", KILLED, after, *train_words(data, tmp_path / "runs")]
    done = subprocess.run(words, capture_output=True, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    assert [
        path.name for path in (tmp_path / "runs").iterdir() if not path.name.startswith(".")
    ] == []
    assert train(data, tmp_path / "runs").model.exists()


def test_an_interruption_while_the_report_is_drawn_leaves_nothing(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def interrupted(*arguments: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(record, "render", interrupted)
    with pytest.raises(SystemExit) as end:
        main(train_words(data, tmp_path / "runs"))
    assert end.value.code == 4
    assert "Traceback" not in capsys.readouterr().err
    assert list((tmp_path / "runs").iterdir()) == []
