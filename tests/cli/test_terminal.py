"""The edge towards the system: closed streams, odd names, what steers a terminal, and its width."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.commands import SMALL
from helpers.images import write_image
from tellapart import Run
from tellapart.cli.output import echo, print_answers, print_keys, print_table
from tellapart.modelfile.predictor import Answer


def outside(*words: object, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tellapart", *map(os.fsencode, map(str, words))]
    return subprocess.run(command, capture_output=True, check=False, timeout=60, **options)


def test_a_closed_standard_input_does_not_matter(run: Run, data: Path):
    words = [
        sys.executable,
        "-m",
        "tellapart",
        "predict",
        str(run.model),
        str(data / "sky" / "000.jpg"),
        "-q",
    ]
    done = subprocess.run(
        ["sh", "-c", '"$@" <&-', "sh", *words], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_reader_that_has_gone_is_no_error(run: Run, data: Path):
    words = [sys.executable, "-m", "tellapart", "predict", str(run.model), str(data), "-q"]
    done = subprocess.run(
        ["sh", "-c", '"$@" | true', "sh", *words], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_names_that_are_not_text_can_be_printed(run: Run, data: Path, tmp_path: Path):
    folder = tmp_path / "caf\udce9"
    write_image(folder / "x.jpg").rename(folder / "n\udce9w.jpg")
    done = outside(
        "predict", run.model, folder / "n\udce9w.jpg", "--out", folder / "t\udce9ble.csv", "-q"
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert (folder / "t\udce9ble.csv").exists()
    assert outside("predict", folder / "n\udce9w.jpg", "x.jpg").stderr.count(b"\n") == 1


STEERING = "\x1b[31mred\x07\r\x9b2J.jpg"


def test_a_name_cannot_steer_the_terminal_and_can_still_be_read(command, run: Run, tmp_path: Path):
    write_image(tmp_path / "x.jpg").rename(tmp_path / STEERING)
    result = command("predict", run.model, tmp_path / STEERING, "-q")
    assert r"\x1b[31mred\x07" in result.out
    assert not set("\x1b\x07\r\x9b") & set(result.out)


def test_an_error_cannot_steer_the_terminal(command):
    result = command("predict", STEERING, "x.jpg")
    assert r"\x1b[31mred\x07" in result.err
    assert not set("\x1b\x07\r\x9b") & set(result.err)


def test_what_a_training_says_cannot_steer_the_terminal(command, photos: Path, tmp_path: Path):
    (photos / "sky").rename(photos / f"sky{STEERING}")
    (photos / "leaf" / STEERING).write_bytes(b"")
    result = command("train", photos, "--out", tmp_path / "runs", *SMALL, "--name", STEERING)
    assert not set("\x1b\x07\r\x9b") & set(result.out + result.err)


def test_an_ascii_terminal_is_enough(run: Run, data: Path):
    plain = {**os.environ, "LC_ALL": "C", "PYTHONIOENCODING": "ascii"}
    done = outside("evaluate", run.model, data, env=plain)
    assert done.returncode == 0
    assert b"Traceback" not in done.stderr


SENTENCE = "The quick brown fox jumps over the lazy dog. " * 3


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_wraps_sentences_at_words(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr(sys, "stdout", Terminal())
    echo(SENTENCE)
    lines = sys.stdout.getvalue().splitlines()
    assert " ".join(line.strip() for line in lines) == SENTENCE.strip()
    assert len(lines) > 1 and max(map(len, lines)) <= 40


def test_a_terminal_keeps_a_command_in_one_piece(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr(sys, "stdout", Terminal())
    echo("use it    tellapart predict runs/20261121-101500-photos/model.onnx IMAGES…")
    assert sys.stdout.getvalue().count("\n") == 1


def test_a_pipe_gets_one_line_a_message(capsys: pytest.CaptureFixture[str]):
    echo(SENTENCE)
    assert capsys.readouterr().out == f"{SENTENCE}\n"


def test_a_table_that_is_too_wide_becomes_a_block_a_row(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr(sys, "stdout", Terminal())
    print_table(
        ["run", "backbone", "state"], [["20261121-101500-photos", "mobilenetv3_small", "finished"]]
    )
    assert sys.stdout.getvalue() == (
        "20261121-101500-photos\n  backbone: mobilenetv3_small · state:\n  finished\n"
    )


def test_a_table_that_fits_has_its_columns(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys, "stdout", Terminal())
    print_table(["run", "state"], [["20261121-101500-photos", "finished"]])
    heads, row = sys.stdout.getvalue().splitlines()
    assert "run" in heads and "state" in heads
    assert row.split() == ["20261121-101500-photos", "finished"]


def on_terminal(monkeypatch: pytest.MonkeyPatch, columns: int = 80) -> Terminal:
    """Make standard output a terminal of so many columns."""
    terminal = Terminal()
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(sys, "stdout", terminal)
    return terminal


def test_a_narrow_terminal_shows_the_essential_columns(monkeypatch: pytest.MonkeyPatch):
    terminal = on_terminal(monkeypatch, 40)
    heads = ["run", "backbone", "state"]
    row = ["20261121-101500-photos", "mobilenetv3_small", "finished"]
    print_table(heads, [row], essential=["run", "state"])
    first, second, remark = terminal.getvalue().splitlines()[:3]
    assert "run" in first and "state" in first and "backbone" not in first
    assert second.split() == ["20261121-101500-photos", "finished"]
    assert remark.startswith("A wider terminal shows all columns")


def test_images_of_one_folder_are_named_within_it(monkeypatch: pytest.MonkeyPatch):
    terminal = on_terminal(monkeypatch)
    paths = ("/photos/ants/1.jpg", "/photos/ants/2.jpg", "/photos/ant.jpg")
    print_answers([Answer(path, "missing") for path in paths], 1)
    lines = terminal.getvalue().splitlines()
    assert lines[0] == "images of /photos/"
    assert [line.split()[0] for line in lines[2:5]] == ["ants/1.jpg", "ants/2.jpg", "ant.jpg"]


def test_what_was_decided_is_counted_below_the_answers(monkeypatch: pytest.MonkeyPatch):
    terminal = on_terminal(monkeypatch)
    print_answers([Answer("a.jpg", "missing"), Answer("b.jpg", "empty")], 1)
    assert terminal.getvalue().splitlines()[-1] == "2 images: 1 missing, 1 empty"


def test_a_pipe_gets_whole_paths_and_no_count(capsys: pytest.CaptureFixture[str]):
    print_answers([Answer("/photos/1.jpg", "missing"), Answer("/photos/2.jpg", "missing")], 1)
    assert [line.split("\t")[0] for line in capsys.readouterr().out.splitlines()] == [
        "/photos/1.jpg",
        "/photos/2.jpg",
    ]


def test_a_terminal_shows_recipe_keys_by_section(monkeypatch: pytest.MonkeyPatch):
    terminal = on_terminal(monkeypatch)
    rows = [
        ("seed", "0", "0", "whole number", "The seed."),
        ("training.lr", "0.1", "0.01", "number", "The learning rate."),
        ("training.momentum", "0.9", "0.9", "number", "The momentum."),
    ]
    print_keys(rows)
    assert terminal.getvalue().count("training\x1b[0m") == 1
    assert "  training.lr=0.1   (number; default: 0.01)\n" in terminal.getvalue()
    assert "  seed=0   (whole number)\n      The seed.\n" in terminal.getvalue()
