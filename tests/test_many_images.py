"""Many images: work that was stopped goes on to the same bytes, parts with a manifest, and shards
that are together one table.
"""

from __future__ import annotations

import copy
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path

import polars
import pytest

import tellapart
from helpers.commands import run_command
from helpers.images import write_image
from helpers.probes import SMALL
from tellapart import Interrupted, Predictor, Refused, Run, UserError, table_writers
from tellapart.jobs.predict import predict
from tellapart.modelfile import session
from tellapart.sources import stream

KINDS = ["answers.csv", "answers.jsonl", "answers.parquet", "answers/"]


@pytest.fixture
def new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Eleven files, of which one is no image and one has a name of two lines."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(table_writers, "CHUNK", 3)
    for number in range(9):
        write_image(tmp_path / "new" / f"{number}.jpg", number, colour=(190, 80, 60))
    write_image(tmp_path / "new" / "x.jpg").rename(tmp_path / "new" / "=two\r\nlines,.jpg")
    (tmp_path / "new" / "bad.jpg").write_bytes(b"no image")
    return Path("new")


def content(out: str) -> dict[str, bytes]:
    """The bytes of a table: of each file where it is a folder, else under the name "table"."""
    if not out.endswith("/"):
        return {"table": Path(out).read_bytes()}
    return {file.name: file.read_bytes() for file in sorted(Path(out).iterdir())}


def stop_after(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user presses Ctrl-C when so many answers are there."""
    honest = Predictor.predict_each

    def stopping(self: Predictor, images: Iterator[Path], **options: float) -> Iterator:
        yield from islice(honest(self, images, **options), rows)
        raise KeyboardInterrupt

    monkeypatch.setattr(Predictor, "predict_each", stopping)


def stopped(run: Run, images: object, out: str, rows: int, **options: object) -> None:
    with pytest.MonkeyPatch.context() as patch:
        stop_after(rows, patch)
        with pytest.raises(Interrupted):
            predict(run.model, images, out=out, keep=False, quiet=True, **options)


def finished(run: Run, images: object, out: str, **options: object) -> dict[str, bytes]:
    predict(run.model, images, out=out, keep=False, quiet=True, **options)
    return content(out)


def names_here() -> list[str]:
    return sorted(path.name for path in Path.cwd().iterdir())


# ── stopped and gone on with ──


@pytest.mark.parametrize("out", KINDS)
@pytest.mark.parametrize("rows", [1, 4, 6, 11])
def test_work_that_goes_on_gives_the_bytes_of_work_that_was_never_stopped(
    run: Run, new: Path, out: str, rows: int
):
    expected = finished(run, new, f"whole-{out}")
    stopped(run, new, out, rows)
    assert finished(run, new, out, resume=True) == expected
    assert names_here() == sorted(["new", out.rstrip("/"), f"whole-{out}".rstrip("/")])


@pytest.mark.parametrize("out", KINDS)
def test_work_may_be_stopped_twice(run: Run, new: Path, out: str):
    expected = finished(run, new, f"whole-{out}")
    stopped(run, new, out, 4)
    stopped(run, new, out, 3, resume=True)
    assert finished(run, new, out, resume=True) == expected


@pytest.mark.parametrize("out", KINDS)
def test_rows_that_are_there_are_not_computed_again(run: Run, new: Path, out: str, monkeypatch):
    stopped(run, new, out, 6)
    asked = []
    honest = Predictor.predict_one
    monkeypatch.setattr(
        Predictor, "predict_one", lambda *a, **k: asked.append(a[1]) or honest(*a, **k)
    )
    done = predict(run.model, new, out=out, keep=False, resume=True, quiet=True)
    assert len(asked) == 5
    assert done.statuses == {"not_an_image": 1, "ok": 10}


def test_an_interruption_says_how_to_go_on(run: Run, new: Path, monkeypatch):
    stop_after(6, monkeypatch)
    with pytest.raises(Interrupted, match=r"first 6 of 11 images .* with --resume goes on"):
        predict(run.model, new, out="answers/", keep=False, quiet=True)


@pytest.mark.parametrize("cut", [1, 2, 40, 100])
@pytest.mark.parametrize("out", ["answers.csv", "answers.jsonl"])
def test_a_row_that_was_cut_off_is_written_again(run: Run, new: Path, out: str, cut: int):
    expected = finished(run, new, f"whole-{out}")
    stopped(run, new, out, 5)
    os.truncate(f"{out}.part", Path(f"{out}.part").stat().st_size - cut)
    assert finished(run, new, out, resume=True) == expected


def test_bytes_that_nobody_wrote_are_cut_away(run: Run, new: Path):
    expected = finished(run, new, "whole.jsonl")
    stopped(run, new, "answers.jsonl", 5)
    with Path("answers.jsonl.part").open("ab") as file:
        file.write(b"\0\0\0\n")
    assert finished(run, new, "answers.jsonl", resume=True) == expected


@pytest.mark.parametrize("size", [0, 7])
def test_a_head_that_was_cut_off_is_written_again(run: Run, new: Path, size: int):
    expected = finished(run, new, "whole.csv")["table"]
    stopped(run, new, "answers.csv", 5)
    os.truncate("answers.csv.part", size)
    assert finished(run, new, "answers.csv", resume=True)["table"] == expected


def test_without_earlier_rows_it_begins_at_the_first_image(run: Run, new: Path):
    expected = finished(run, new, "whole.csv")["table"]
    assert finished(run, new, "answers.csv", resume=True)["table"] == expected


def test_without_resume_it_begins_anew(run: Run, new: Path):
    stopped(run, new, "answers.csv", 5)
    assert len(finished(run, [new / "1.jpg"], "answers.csv")["table"].splitlines()) == 2
    assert names_here() == ["answers.csv", "new"]


def test_work_that_ended_between_the_last_two_steps_is_done(run: Run, new: Path, monkeypatch):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "unlink", lambda *_, **__: None)
        expected = finished(run, new, "answers.csv")
    monkeypatch.setattr(Predictor, "predict_one", lambda *_, **__: pytest.fail("computed"))
    assert finished(run, new, "answers.csv", resume=True) == expected
    assert names_here() == ["answers.csv", "new"]


@pytest.mark.parametrize("out", KINDS)
def test_a_table_may_lie_among_the_images(run: Run, new: Path, out: str, monkeypatch):
    monkeypatch.setattr(stream, "FIRST", 2)
    expected = finished(run, new, out)
    stopped(run, new, f"new/{out}", 7)
    assert finished(run, new, f"new/{out}", resume=True) == expected
    assert finished(run, new, f"new/{out}") == expected


# ── what must not be mixed ──


@pytest.mark.parametrize("out", KINDS)
def test_rows_of_another_model_are_not_gone_on_with(run: Run, new: Path, out: str):
    stopped(run, new, out, 6)
    data = run.path.parent.parent / "photos"
    other = tellapart.train(data, set=SMALL, seed=1, out="runs", quiet=True)
    with pytest.raises(UserError, match=r"was begun with model .* Leave out --resume"):
        predict(other.model, new, out=out, keep=False, resume=True, quiet=True)


@pytest.mark.parametrize("out", KINDS)
def test_rows_of_other_options_are_not_gone_on_with(run: Run, new: Path, out: str):
    stopped(run, new, out, 6)
    with pytest.raises(UserError, match=r"begun with shard null, and this command has 1/2"):
        predict(run.model, new, out=out, keep=False, resume=True, shard="1/2", quiet=True)


@pytest.mark.parametrize("out", KINDS)
def test_rows_of_other_images_are_not_gone_on_with(run: Run, new: Path, out: str):
    stopped(run, new, out, 6)
    write_image(new / "00.jpg")
    with pytest.raises(
        UserError, match=r"Row 2 of .* answers 'new/1.jpg', and the images have 'new/00"
    ):
        predict(run.model, new, out=out, keep=False, resume=True, quiet=True)


@pytest.mark.parametrize("out", KINDS)
def test_what_is_refused_changes_nothing(run: Run, new: Path, out: str):
    expected = finished(run, new, f"whole-{out}")
    stopped(run, new, out, 7)
    with pytest.raises(UserError, match="Give the same images in the same order"):
        predict(run.model, new / "1.jpg", out=out, keep=False, resume=True, quiet=True)
    assert finished(run, new, out, resume=True) == expected


def test_answers_that_are_to_be_held_are_not_gone_on_with(run: Run, new: Path):
    with pytest.raises(UserError, match="keep=False"):
        predict(run.model, new, out="answers.csv", resume=True, quiet=True)
    with pytest.raises(UserError, match="Name one with out"):
        predict(run.model, new, resume=True, quiet=True)


# ── killed ──


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")
@pytest.mark.parametrize("out", KINDS)
def test_killed_three_times_it_ends_with_the_same_bytes(run: Run, new: Path, out: str):
    images = [str(new)] * 9
    expected = finished(run, images, f"whole-{out}")
    killed = [kill_after(rows, run, images, out) for rows in (20, 40, 20)]
    assert killed == [-signal.SIGKILL] * 3
    assert finished(run, images, out, resume=True) == expected


KILLED = """
import json, os, signal, sys
from tellapart import table_writers
from tellapart.jobs.predict import Predictor, predict

model, images, out, rows = json.loads(sys.argv[1])
table_writers.CHUNK = 3
honest = Predictor.predict_each
def dying(self, images, **options):
    for number, answer in enumerate(honest(self, images, **options)):
        if number == rows:
            os.kill(os.getpid(), signal.SIGKILL)
        yield answer
Predictor.predict_each = dying
predict(model, images, out=out, keep=False, resume=True, quiet=True)
"""


def kill_after(rows: int, run: Run, images: list[str], out: str) -> int:
    """How a process ended that was killed after so many rows."""
    words = json.dumps([str(run.model), images, out, rows])
    return subprocess.run([sys.executable, "-c", KILLED, words], check=False).returncode


# ── parts ──


def test_a_folder_gets_parts_and_a_manifest_of_them(run: Run, new: Path):
    whole = predict(run.model, new, out="whole.parquet", quiet=True)
    finished(run, new, "answers/")
    manifest = json.loads(Path("answers/manifest.json").read_text())
    assert [part["rows"] for part in manifest["parts"]] == [3, 3, 3, 2]
    assert (manifest["complete"], manifest["rows"]) == (True, 11)
    assert manifest["statuses"] == whole.statuses
    parts = polars.read_parquet("answers/*.parquet")
    assert parts.equals(polars.read_parquet("whole.parquet"))


def test_a_part_that_was_changed_is_refused(run: Run, new: Path):
    stopped(run, new, "answers/", 7)
    Path("answers/part-00001.parquet").write_bytes(b"")
    with pytest.raises(Refused, match=r"part-00001\.parquet is not as it was written"):
        predict(run.model, new, out="answers/", keep=False, resume=True, quiet=True)


def test_a_folder_with_other_files_is_refused(run: Run, new: Path):
    with pytest.raises(UserError, match=r"new holds other files already"):
        predict(run.model, new, out="new", keep=False, quiet=True)


def test_parts_of_earlier_work_are_gone_when_it_begins_anew(run: Run, new: Path):
    finished(run, new, "answers/")
    assert list(finished(run, [new / "1.jpg"], "answers/")) == [
        "manifest.json",
        "part-00000.parquet",
    ]


def test_parts_that_are_whole_are_left_as_they_are(run: Run, new: Path, monkeypatch):
    expected = finished(run, new, "answers/")
    monkeypatch.setattr(Predictor, "predict_one", lambda *_, **__: pytest.fail("computed"))
    assert finished(run, new, "answers/", resume=True) == expected


# ── shards ──


@pytest.mark.parametrize("count", [1, 3, 8, 13])
def test_shards_are_together_one_table(run: Run, new: Path, count: int):
    finished(run, new, "whole.parquet")
    predict_shards(run, new, count, "parquet")
    shards = polars.concat(polars.read_parquet(f"{k}.parquet") for k in range(1, count + 1))
    assert shards.sort("row").drop("row").equals(polars.read_parquet("whole.parquet"))


def predict_shards(run: Run, new: Path, count: int, kind: str) -> None:
    for number in range(1, count + 1):
        finished(run, new, f"{number}.{kind}", shard=f"{number}/{count}")


def test_lines_of_shards_are_merged_to_the_same_bytes_by_tools_of_the_system(run: Run, new: Path):
    whole = finished(run, new, "whole.jsonl")["table"]
    predict_shards(run, new, 3, "jsonl")
    merge = "LC_ALL=C sort -m -t ' ' -k 2n [0-9].jsonl | sed 's/\"row\": [0-9]*, //'"
    assert subprocess.check_output(merge, shell=True) == whole


def test_a_shard_reads_no_image_of_the_others(run: Run, new: Path):
    done = predict(run.model, new, shard="2/4", quiet=True)
    assert [Path(answer.path).name for answer in done.answers] == [
        "1.jpg",
        "5.jpg",
        "=two\r\nlines,.jpg",
    ]


def test_a_shard_goes_on_too(run: Run, new: Path):
    expected = finished(run, new, "whole.csv", shard="2/2")["table"]
    stopped(run, new, "answers.csv", 3, shard="2/2")
    assert finished(run, new, "answers.csv", shard="2/2", resume=True)["table"] == expected


@pytest.mark.parametrize("word", ["0/8", "9/8", "3", "3/", "a/b", "1/0", "-1/8", "1/2/3"])
def test_what_is_no_shard_is_refused(run: Run, new: Path, word: str):
    with pytest.raises(UserError, match="A shard is a number of a count, as 3/8"):
        predict(run.model, new, shard=word, quiet=True)


# ── a stream ──


def test_an_endless_generator_is_answered_as_it_comes(run: Run, new: Path, monkeypatch):
    taken = count()
    endless = (new / f"{next(taken) % 9}.jpg" for _ in count())
    stop_after(20, monkeypatch)
    with pytest.raises(Interrupted, match="first 20 images are in"):
        predict(run.model, endless, out="answers.csv", keep=False, quiet=True)
    assert next(taken) < 20 + 100


def test_images_that_are_not_counted_at_once_are_counted_beside_the_work(
    run: Run, new: Path, monkeypatch, capsys
):
    monkeypatch.setattr(stream, "FIRST", 2)
    monkeypatch.setattr("tellapart.progress.FIRST_SECONDS", 0.0)
    monkeypatch.setattr("tellapart.progress.POLL_SECONDS", 0.01)
    monkeypatch.setattr("tellapart.progress.EVERY_SECONDS", 0.01)
    honest = Predictor.predict_one
    monkeypatch.setattr(
        Predictor, "predict_one", lambda *a, **k: time.sleep(0.05) or honest(*a, **k)
    )
    predict(run.model, [new, new], out="answers.csv", keep=False)
    assert " of 22" in capsys.readouterr().err


def test_the_command_line_has_all_of_it(run: Run, new: Path):
    words = ["predict", run.model, "new", "--out", "answers/", "--shard", "2/4", "--resume", "-q"]
    assert run_command(*words, "--json").json == {
        "statuses": {"ok": 3},
        "out": "answers/",
        "rows": 3,
    }
    assert len(list(Path("answers").glob("part-*.parquet"))) == 1


# ── what runs the network ──


def test_a_provider_that_is_not_there_is_refused_with_those_that_are(run: Run, new: Path):
    result = run_command("predict", run.model, "new", "--provider", "abacus")
    assert (result.code, result.out) == (2, "")
    assert "onnxruntime has no provider 'abacus' here. It has:" in result.err
    assert "cpu" in result.err


def test_a_provider_that_cannot_start_is_refused(run: Run, new: Path, monkeypatch):
    found = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(session.ort, "get_available_providers", lambda: found)
    with (
        pytest.warns(UserWarning, match="CUDAExecutionProvider"),
        pytest.raises(UserError, match="onnxruntime cannot start cuda here"),
    ):
        tellapart.load(run.model, provider="cuda")


def test_a_predictor_that_was_pickled_has_its_provider(run: Run):
    assert copy.copy(tellapart.load(run.model, provider="cpu")).provider == "cpu"


def test_a_predictor_keeps_its_provider(run: Run, new: Path):
    predictor = tellapart.load(run.model, provider="CPU")
    assert predictor.provider == "cpu"
    with pytest.raises(UserError, match="loaded for cpu, not for cuda"):
        predict(predictor, new, provider="cuda", quiet=True)
