"""What trials measured is kept in one small file of the cache."""

from __future__ import annotations

from pathlib import Path

import pytest

from tellapart.cache import RuntimeMemory, runtimes


def test_what_is_remembered_is_recalled_by_another_process(tmp_path: Path):
    RuntimeMemory(tmp_path).remember("key", {"threads": 2})
    assert RuntimeMemory(tmp_path).recall("key") == {"threads": 2}
    assert RuntimeMemory(tmp_path).recall("other") is None


@pytest.mark.parametrize("content", ["", "[]", "{", "\xff", '{"key": 3}'])
def test_a_damaged_file_is_an_empty_one(tmp_path: Path, content: str):
    (tmp_path / "runtimes.json").write_text(content, encoding="latin-1")
    memory = RuntimeMemory(tmp_path)
    assert memory.recall("key") is None
    memory.remember("key", {"threads": 1})
    assert memory.recall("key") == {"threads": 1}


def test_the_newest_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(runtimes, "MOST_KEPT", 2)
    memory = RuntimeMemory(tmp_path)
    memory.remember("one", {"threads": 1})
    memory.remember("two", {"threads": 2})
    memory.remember("one", {"threads": 4})
    memory.remember("three", {"threads": 3})
    assert [memory.recall(key) for key in ("one", "two")] == [{"threads": 4}, None]


def test_a_cache_that_cannot_be_written_stops_nothing(tmp_path: Path):
    (tmp_path / "file").write_text("")
    memory = RuntimeMemory(tmp_path / "file")
    memory.remember("key", {"threads": 1})
    assert memory.recall("key") is None
