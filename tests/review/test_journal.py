"""The file of decisions while it grows, and the findings that it is about."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from helpers.reviewing import finding, fix_of, write_findings, write_fixes
from tellapart import Refused, UserError
from tellapart.catalog.fixes import read_fixes
from tellapart.server.review.journal import Journal, newest
from tellapart.server.review.scaled import Missing, Scaled
from tellapart.server.review.stream import read_stream
from tellapart.sources.source import read_source


@pytest.fixture
def fix(shown: Path) -> Any:
    return fix_of(shown, "sky/000.jpg", "relabel", "sky", "brick")


def test_a_decision_is_in_the_file_when_it_is_acknowledged(fix: Any, tmp_path: Path):
    journal = Journal(tmp_path / "new" / "fixes.jsonl", "ann")
    journal.write([fix])
    assert read_fixes(journal.path).lines == (fix,)
    journal.close()


def test_a_torn_last_line_is_removed(fix: Any, tmp_path: Path):
    file = write_fixes(tmp_path / "fixes.jsonl", fix)
    file.write_text(file.read_text() + fix.text[:50])
    journal = Journal(file, "ann")
    assert journal.repaired == fix.text[:50]
    assert read_fixes(file).lines == (fix,)
    journal.close()


def test_a_last_line_that_lacks_only_its_end_is_kept(fix: Any, tmp_path: Path):
    file = write_fixes(tmp_path / "fixes.jsonl", fix)
    file.write_text(file.read_text().rstrip("\n"))
    journal = Journal(file, "ann")
    journal.write([fix_of_later(fix, journal)])
    assert len(read_fixes(file).lines) == 2
    journal.close()


def fix_of_later(fix: Any, journal: Journal) -> Any:
    return type(fix)(**{**vars(fix), "when": journal.now(), "action": "undo", "now": None})


def test_a_damaged_line_in_the_middle_is_told(fix: Any, tmp_path: Path):
    file = tmp_path / "fixes.jsonl"
    file.write_text(f"half a li\n{fix.text}\n")
    with pytest.raises(UserError, match="line 1: it is no JSON"):
        Journal(file, "ann")


def test_a_full_disk_leaves_the_file_as_it_was(
    fix: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    journal = Journal(write_fixes(tmp_path / "fixes.jsonl", fix), "ann")
    write = os.write

    def write_half(handle: int, data: Any) -> int:
        write(handle, data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", write_half)
    with pytest.raises(Refused, match="could not be written"):
        journal.write([fix_of_later(fix, journal)])
    assert read_fixes(journal.path).lines == (fix,) and journal.count == 1
    journal.close()


def test_a_clock_that_was_set_back_reorders_nothing(fix: Any, shown: Path, tmp_path: Path):
    late = fix_of(shown, "sky/000.jpg", "drop", "sky", when="2999-01-01T00:00:00Z")
    journal = Journal(write_fixes(tmp_path / "fixes.jsonl", late), "ann")
    journal.write([fix_of_later(fix, journal)])
    assert newest(read_fixes(journal.path).lines) is None
    journal.close()


def test_a_line_that_is_no_finding_is_named(shown: Path, tmp_path: Path):
    file = write_findings(tmp_path / "findings.jsonl", finding(shown, "sky/000.jpg"))
    file.write_text(file.read_text() + '{"number": 2}\n')
    with pytest.raises(UserError, match="line 2 is no finding"):
        read_stream(file)


def test_an_image_without_a_digest_is_no_item(shown: Path, tmp_path: Path):
    unread = finding(shown, "sky/000.jpg")
    unread["images"][0]["digest"] = ""
    stream = read_stream(write_findings(tmp_path / "findings.jsonl", unread))
    assert len(stream.findings) == 1 and stream.items == ()


def test_an_image_is_scaled_from_the_original(shown: Path):
    catalog = read_source(shown)
    scaled = Scaled(catalog.files, catalog.rules)
    found = finding(shown, "sky/000.jpg")["images"][0]
    data, kind = scaled.get(found["path"], found["digest"], "small")
    assert kind == "image/png" and data.startswith(b"\x89PNG")
    assert scaled.get(found["path"], found["digest"], "small")[0] is data


def test_an_image_that_has_changed_is_not_shown(shown: Path):
    catalog = read_source(shown)
    with pytest.raises(Missing, match="has changed since the audit"):
        Scaled(catalog.files, catalog.rules).get("sky/000.jpg", "0" * 64, "large")
    with pytest.raises(Missing):
        Scaled(catalog.files, catalog.rules).get("sky/gone.jpg", "0" * 64, "large")
