"""Fixtures of the tests of the command line: a command run in this process, images, and a run."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

import tellapart
from helpers.commands import CommandResult
from helpers.images import write_classes
from tellapart import Run
from tellapart.cli.main import main


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]):
    """Runs a command in this process."""

    def run(*words: object) -> CommandResult:
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main(list(map(str, words)))
        return CommandResult(int(end.value.code or 0), *capsys.readouterr())

    return run


@pytest.fixture(autouse=True)
def own_signals() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_classes(tmp_path_factory.mktemp("cli") / "photos", 12)


@pytest.fixture(scope="session")
def run(data: Path) -> Run:
    changes = {"preprocessing.size_px": 64, "head.folds": 2, "head.c_values": (0.01, 0.1)}
    return tellapart.train(data, set=changes, out=data.parent / "runs", quiet=True)
