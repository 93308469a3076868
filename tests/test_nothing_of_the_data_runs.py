"""No module of the data is run: a folder with a file for each name that is imported stays silent."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import numpy as np
import pytest

import tellapart
from helpers.images import write_image
from tellapart import processes
from tellapart.catalog.scan import WORTH_PROCESSES

SOURCE = str(Path(tellapart.__file__).parents[1])
CONSOLE_SCRIPT = "from tellapart.__main__ import main; main()"

# Prints each name that the command and its helper processes look for, found or not.
LIST_NAMES = """
import sys

class Noting:
    def find_spec(self, name, path=None, target=None):
        print(name.partition(".")[0])

sys.meta_path.insert(0, Noting())
import tellapart.catalog.workers
import tellapart.cli.main
import tellapart.jobs.explore
print(*{name.partition(".")[0] for name in sys.modules}, sep="\\n")
"""
LIST_LOADED = "import sys; print(*sys.modules, sep='\\n')"


def python(*words: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": SOURCE, **variables}
    command = [sys.executable, *words]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The names of all modules that might be imported, but not those of tellapart itself."""
    empty = tmp_path_factory.mktemp("empty")
    looked_for = set(python("-c", LIST_NAMES, cwd=empty).stdout.split())
    assert {"base64", "numpy", "PIL"} <= looked_for
    installed = {name for name in packages_distributions() if name.isidentifier()}
    customized = {"sitecustomize", "usercustomize"}
    return (looked_for | installed | sys.stdlib_module_names | customized) - {"tellapart"}


@pytest.fixture(scope="module")
def trap(tmp_path_factory: pytest.TempPathFactory, names: set[str]) -> Path:
    """A folder of enough images for helper processes, with a module for each name."""
    folder = tmp_path_factory.mktemp("data")
    image = write_image(folder / "a" / "0.png", size=(24, 18)).read_bytes()
    for number in range(1, WORTH_PROCESSES + 100):
        path = folder / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(image)
    spring = f"open({str(folder.parent / 'sprung')!r}, 'a').write(__name__ + ' ')\n"
    for name in names:
        (folder / f"{name}.py").write_text(spring)
    return folder


@pytest.fixture
def late_trap(trap: Path, tmp_path: Path) -> Iterator[Path]:
    """The same folder without the modules that Python loads before it comes to ours: of those, none
    could be kept from running.
    """
    (tmp_path / "module.py").write_text(LIST_LOADED)
    loaded = set(python("-m", "module", cwd=tmp_path).stdout.split()) | {
        "sitecustomize",
        "usercustomize",
    }
    springs = [path for path in trap.glob("*.py") if path.stem in loaded]
    texts = [path.read_text() for path in springs]
    for path in springs:
        path.unlink()
    yield trap
    for path, text in zip(springs, texts, strict=True):
        path.write_text(text)


@pytest.fixture
def sprung(trap: Path) -> Path:
    """The file that names the modules of the data that were run."""
    path = trap.parent / "sprung"
    path.unlink(missing_ok=True)
    return path


def explore(trap: Path, tmp_path: Path, *words: str, **variables: str) -> None:
    cache = str(tmp_path / "cache")
    options = ("explore", ".", "--out", str(tmp_path / "page.html"))
    done = python(*words, *options, cwd=trap, TELLAPART_CACHE=cache, **variables)
    assert done.returncode == 0, done.stderr


def test_the_trap_would_spring(trap: Path, sprung: Path):
    python("-c", "import base64", cwd=trap)
    assert "base64" in sprung.read_text()


def test_the_command_runs_no_module_of_the_data(trap: Path, sprung: Path, tmp_path: Path):
    explore(trap, tmp_path, "-P", "-c", CONSOLE_SCRIPT)
    assert not sprung.exists()


def test_as_a_module_it_runs_none_either(late_trap: Path, sprung: Path, tmp_path: Path):
    explore(late_trap, tmp_path, "-m", "tellapart")
    assert not sprung.exists()


def test_an_empty_entry_of_pythonpath_runs_none(late_trap: Path, sprung: Path, tmp_path: Path):
    explore(late_trap, tmp_path, "-P", "-c", CONSOLE_SCRIPT, PYTHONPATH=os.pathsep + SOURCE)
    assert not sprung.exists()


def test_a_process_looks_neither_in_the_current_folder_nor_in_the_data(
    trap: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    ours = [str(Path(np.__file__).parents[1]), str(tmp_path), SOURCE]
    monkeypatch.chdir(tmp_path / "..")
    relative = ["", ".", os.pardir]
    monkeypatch.setattr(sys, "path", [*relative, str(trap), str(trap / "a"), os.getcwd(), *ours])
    assert processes.environment(trap)["PYTHONPATH"] == os.pathsep.join(ours)


def test_the_current_folder_stays_if_it_holds_tellapart(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(SOURCE)
    monkeypatch.setattr(sys, "path", [SOURCE, "/elsewhere"])
    processes.drop_current_folder()
    assert sys.path == [SOURCE, "/elsewhere"]


def test_a_current_folder_that_was_removed_does_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    monkeypatch.setattr(sys, "path", ["/elsewhere"])
    processes.drop_current_folder()
    assert sys.path == ["/elsewhere"]
