"""What the examples in docstrings may use: a folder of photos, a run trained on it, its predictor.

A tiny run is trained once a session, and only if an example uses it. Such an example runs in an
empty folder, so that it may write where it stands.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SMALL = {"preprocessing.size_px": 64, "head.folds": 2, "head.c_values": (0.01, 0.1)}


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One cache folder for the whole session: the user's is never touched."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("TELLAPART_CACHE", str(folder))
        yield folder


@pytest.fixture(autouse=True, scope="session")
def no_wait_for_the_disk() -> Iterator[None]:
    """What a test writes need not survive a power failure. A fifth of the time would be waiting."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda descriptor: None)
        yield


@pytest.fixture(scope="session")
def example_names(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Name → value, for the examples."""
    import tellapart
    from helpers.images import write_classes

    folder = tmp_path_factory.mktemp("examples")
    photos = write_classes(folder / "photos", 12)
    run = tellapart.train(photos, set=SMALL, out=folder / "runs", quiet=True)
    return {
        "tellapart": tellapart,
        "photos": photos,
        "run": run,
        "other_run": tellapart.train(
            photos, set=SMALL | {"preprocessing.mode": "squash"}, out=folder / "runs", quiet=True
        ),
        "predictor": run.predictor(),
    }


@pytest.fixture(autouse=True)
def examples(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    doctest_namespace: dict[str, Any],
) -> None:
    """The names for a doctest that uses one of them without having assigned it."""
    if isinstance(request.node, pytest.DoctestItem) and _used(request.node) & {
        "photos",
        "run",
        "predictor",
    }:
        doctest_namespace.update(request.getfixturevalue("example_names"))
        monkeypatch.chdir(tmp_path_factory.mktemp("example"))


def _used(item: pytest.DoctestItem) -> set[str]:
    examples = item.dtest.examples if item.dtest else []
    names = [
        node
        for example in examples
        for node in ast.walk(ast.parse(example.source))
        if isinstance(node, ast.Name)
    ]
    stored = {node.id for node in names if isinstance(node.ctx, ast.Store)}
    return {node.id for node in names} - stored
