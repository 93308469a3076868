"""The nearest training images beside a reviewed one: there with an index, left out without."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from helpers.reviewing import digest_of
from tellapart import Run
from tellapart.jobs.review.nearest import nearest_by
from tellapart.server.review.scaled import Scaled
from tellapart.sources.source import read_source


@pytest.fixture
def scaled(shown: Path) -> Scaled:
    catalog = read_source(shown)
    return Scaled(catalog.files, catalog.rules)


class Index:
    """An index of one image, which says what it was asked."""

    def nearest(self, embedding: Any, count: int, leave_out: str) -> list[Any]:
        path = f"{count} of {len(embedding)} numbers"
        return [SimpleNamespace(path=path, digest=leave_out, label="sky", similarity=0.5)]


def with_index(monkeypatch: pytest.MonkeyPatch, index: Any) -> None:
    module = ModuleType("tellapart.runs.neighbours")
    module.Neighbours = SimpleNamespace(read=lambda run: index)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)


def test_an_image_gets_its_neighbours(
    run: Run, shown: Path, scaled: Scaled, monkeypatch: pytest.MonkeyPatch
):
    with_index(monkeypatch, Index())
    nearest, digest = (
        nearest_by(run.path, run.predictor(), scaled),
        digest_of(shown / "sky/000.jpg"),
    )
    assert nearest
    (near,) = nearest(digest, "sky/000.jpg")
    assert (near.path, near.digest, near.label) == ("3 of 1280 numbers", digest, "sky")
    assert nearest(digest, "sky/gone.jpg") == []


def test_a_run_without_an_index_shows_none(
    run: Run, scaled: Scaled, monkeypatch: pytest.MonkeyPatch
):
    with_index(monkeypatch, None)
    assert nearest_by(run.path, run.predictor(), scaled) is None
