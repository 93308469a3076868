"""What fixes gain: a run trained again with them, on the same test images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import tellapart
from helpers.commands import run_command
from helpers.reviewing import fix_of, write_fixes
from tellapart import Run, UserError
from tellapart.runs.saved_splits import read_splits


@pytest.fixture(scope="module")
def tested(run: Run) -> list[str]:
    """The paths of the test images."""
    return [row[0] for row in read_splits(run.path).rows.values() if row[3] == "test"]


@pytest.fixture(scope="module")
def found(run: Run, shown: Path, patch: Path, tested: list[str]) -> Any:
    """The run trained again, with one test image relabelled and one dropped on top of its fixes."""
    changed, dropped = tested[0], tested[1]
    label = read_splits(run.path).rows[changed][2]
    other = "leaf" if label == "sky" else "sky"
    more = [
        fix_of(shown, changed, "relabel", label, other, when="2026-12-01T00:00:00Z"),
        fix_of(shown, dropped, "drop", dropped.partition("/")[0], when="2026-12-01T00:00:00Z"),
    ]
    file = patch.with_name("more.jsonl")
    file.write_text(patch.read_text() + "".join(f"{fix.text}\n" for fix in more))
    return tellapart.retrain(run.path, fixes=file, data=shown, quiet=True)


def test_what_was_fixed_in_test_is_told_apart(found: Any, tested: list[str]):
    assert (found.relabelled, found.dropped) == (1, 1)
    assert found.on_all.difference.count == len(tested) - 1
    assert found.on_untouched.difference.count == len(tested) - 2


def test_both_runs_are_measured_on_the_fixed_labels(found: Any, run: Run):
    assert found.reported == run.metrics.accuracy
    assert found.on_all.second.value == found.after.metrics.accuracy.value
    assert found.on_all.first.value < 1


def test_no_image_moved_to_another_split(found: Any, run: Run):
    before, after = read_splits(run.path).rows, read_splits(found.after.path).rows
    assert {path: row[3] for path, row in after.items()}.items() <= {
        path: row[3] for path, row in before.items()
    }.items()


def test_the_lines_say_what_the_fixes_gained(found: Any):
    text = "\n".join(found.lines)
    assert "fixed in test: 1 label changed and 1 image left out" in text
    assert "what the fixes gained: " in text and "95 % interval" in text
    assert found.as_json()["fixed_in_test"] == {"relabelled": 1, "dropped": 1}


def test_without_a_patch_there_is_one_clear_line(run: Run):
    with pytest.raises(UserError, match="cannot be read"):
        tellapart.retrain(run.path, quiet=True)


def test_without_findings_the_command_says_to_audit_first(tmp_path: Path):
    told = run_command("review", tmp_path)
    assert told.code == 2 and "tellapart audit" in told.err


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("review",), "Nothing says what to review"),
        (("review", "--merge", "a", "b"), "--merge needs a file to write"),
        (("review", "run", "--out", "x"), "goes with --merge or --retrain only"),
        (("review", "run", "--retrain", "--who", "ann"), "--retrain does not go with --who"),
    ],
)
def test_words_that_do_not_go_together_are_refused(words: tuple[str, ...], reason: str):
    told = run_command(*words)
    assert told.code == 2 and reason in told.err


def test_patches_that_are_not_there_are_told(tmp_path: Path):
    file = write_fixes(tmp_path / "a.jsonl")
    told = run_command("review", "--merge", file, tmp_path / "none.jsonl", "--out", file)
    assert told.code == 2 and "cannot be read" in told.err
