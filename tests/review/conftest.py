"""Images, a run that was trained with fixes, and findings as an audit writes them."""

from __future__ import annotations

from pathlib import Path

import pytest

import tellapart
from helpers.images import write_classes
from helpers.reviewing import fix_of, write_fixes
from tellapart import Run


@pytest.fixture(scope="session")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data: brick, leaf and sky, 12 images each."""
    return write_classes(tmp_path_factory.mktemp("reviewed") / "photos", 12)


@pytest.fixture(scope="session")
def patch(shown: Path) -> Path:
    """Two fixes: one image of sky becomes brick, and one of leaf is left out."""
    changed = fix_of(shown, "sky/000.jpg", "relabel", "sky", "brick")
    dropped = fix_of(shown, "leaf/001.jpg", "drop", "leaf")
    return write_fixes(shown.parent / "fixes.jsonl", changed, dropped)


@pytest.fixture(scope="session")
def run(shown: Path, patch: Path, own_cache: Path) -> Run:
    """A run that was trained with the fixes."""
    fixes = {"data.fixes": str(patch)}
    return tellapart.train(shown, out=shown.parent / "runs", set=fixes, quiet=True)
