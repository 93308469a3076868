"""Exit codes: our fault, some inputs rejected, interrupted, refused; each in one line."""

from __future__ import annotations

from pathlib import Path

import polars
import pytest

from helpers.commands import SMALL, is_one_line
from tellapart import Run
from tellapart.cli.main import main
from tellapart.modelfile.predictor import Predictor


@pytest.fixture
def fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: object, **options: object) -> None:
        raise ZeroDivisionError("division by\nzero")

    monkeypatch.setattr(Predictor, "outputs", broken)


# ── 1: our fault ──


@pytest.mark.usefixtures("fault")
def test_a_fault_of_ours_is_one_line_and_exit_code_one(command, run: Run, data: Path):
    result = command("predict", run.model, data / "sky" / "000.jpg", "-q")
    assert (result.code, result.out) == (1, "")
    assert is_one_line(result.err)
    assert "Unexpected fault: ZeroDivisionError: division by zero Please report it" in result.err


@pytest.mark.usefixtures("fault")
def test_a_fault_of_ours_is_json_where_json_was_asked_for(command, run: Run, data: Path):
    result = command("predict", run.model, data / "sky" / "000.jpg", "--json")
    assert result.code == 1
    assert result.json["error"].keys() == {"kind", "message", "hint"}
    assert result.json["error"]["kind"] == "fault"


@pytest.mark.usefixtures("fault")
def test_where_it_came_from_is_shown_on_request(
    run: Run, data: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TELLAPART_TRACEBACK", "1")
    with pytest.raises(ZeroDivisionError):
        main(["predict", str(run.model), str(data / "sky" / "000.jpg"), "-q"])


# ── 3: done, but some inputs were rejected ──


def test_a_rejected_image_is_exit_code_three_with_an_answer_each(
    command, run: Run, data: Path, tmp_path: Path
):
    (tmp_path / "empty.jpg").write_bytes(b"")
    result = command(
        "predict", run.model, tmp_path / "empty.jpg", data / "sky" / "000.jpg", "--json"
    )
    assert result.code == 3
    assert result.json["statuses"] == {"empty": 1, "ok": 1}
    assert [answer["answer"] for answer in result.json["answers"]] == [None, "sky"]


@pytest.mark.parametrize("verb", ["train", "evaluate"])
def test_a_rejected_image_in_a_folder_is_exit_code_three(
    command, run: Run, photos: Path, tmp_path: Path, verb: str
):
    (photos / "sky" / "empty.jpg").write_bytes(b"")
    words = {
        "train": ["train", photos, "--out", tmp_path, *SMALL],
        "evaluate": ["evaluate", run.model, photos],
    }[verb]
    result = command(*words, "--json")
    assert result.code == 3
    assert result.json["statuses"] == {"empty": 1, "ok": 36}


def test_the_last_line_says_why_the_exit_code_is_three(
    command, run: Run, data: Path, tmp_path: Path
):
    (tmp_path / "empty.jpg").write_bytes(b"")
    result = command("predict", run.model, tmp_path / "empty.jpg", data / "sky" / "000.jpg")
    assert result.err == "Done, with exit code 3: 1 of 2 files could not be used (1 empty).\n"


def test_junk_that_is_merely_ignored_does_not_count(command, photos: Path, run: Run):
    for name in (".DS_Store", "Thumbs.db", "._000.jpg"):
        (photos / "sky" / name).write_bytes(b"junk")
    assert command("predict", run.model, photos, "-q").code == 0
    assert command("evaluate", run.model, photos, "-q").code == 0


@pytest.fixture
def interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    # raised, not sent: the verb has several threads here, and a second signal could arrive after
    # the command's end
    def stop(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Predictor, "outputs", stop)


# ── 4: interrupted ──


@pytest.mark.usefixtures("interrupted")
def test_an_interruption_is_one_line_and_exit_code_four(
    command, run: Run, data: Path, tmp_path: Path
):
    result = command("predict", run.model, data, "-q", "--out", tmp_path / "x.csv")
    assert (result.code, result.out) == (4, "")
    assert is_one_line(result.err)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("interrupted")
def test_an_interruption_is_json_where_json_was_asked_for(command, run: Run, data: Path):
    result = command("predict", run.model, data, "--json")
    assert result.code == 4
    assert result.json["error"]["kind"] == "interrupted"


# ── 5: refused ──


def test_strict_refuses_a_label_conflict_with_exit_code_five(command, photos: Path, tmp_path: Path):
    (photos / "leaf" / "same.jpg").write_bytes((photos / "sky" / "001.jpg").read_bytes())
    result = command("train", photos, "--strict", "--out", tmp_path / "runs", *SMALL, "-q")
    assert (result.code, result.out) == (5, "")
    assert is_one_line(result.err)
    assert not (tmp_path / "runs").exists()


def test_changed_splits_are_refused_with_exit_code_five(
    command, run: Run, photos: Path, tmp_path: Path
):
    splits = tmp_path / "splits.parquet"
    splits.write_bytes((run.path / "splits.parquet").read_bytes())
    table = polars.read_parquet(splits)
    table.with_columns(split=polars.lit("train")).write_parquet(
        splits, metadata=polars.read_parquet_metadata(run.path / "splits.parquet")
    )
    result = command(
        "train", photos, "--splits", splits, "--out", tmp_path / "runs", *SMALL, "--json"
    )
    assert result.code == 5
    assert result.json["error"]["kind"] == "refused"
    assert "was changed after it was written" in result.json["error"]["message"]
