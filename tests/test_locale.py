"""Names and output in an environment without UTF-8: right, or refused in one line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import tellapart
from helpers.images import write_classes
from tellapart.catalog.scan import WORTH_PROCESSES

SOURCE = str(Path(tellapart.__file__).parents[1])
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
LIBRARY = "import tellapart, sys; tellapart.explore(sys.argv[1])"

pytestmark = pytest.mark.skipif(os.name == "nt", reason="names are never ASCII there")


def python(*words: object, **variables: str) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "PYTHONPATH": SOURCE, **variables}
    command = [sys.executable, *map(str, words)]
    return subprocess.run(command, env=environment, capture_output=True)


@pytest.fixture
def accented(tmp_path: Path) -> Path:
    """Class folders with names beyond ASCII, and a table of the same images."""
    folder = write_classes(tmp_path / "été", 6)
    (folder / "brick").rename(folder / "Käse")
    rows = [f"{path.relative_to(tmp_path)},{path.parent.name}" for path in folder.rglob("*.jpg")]
    table = "\n".join(["path,label", *rows])
    (tmp_path / "table.csv").write_text(table, encoding="utf-8")
    return folder


def explored(data: Path, tmp_path: Path, **variables: str) -> dict[str, object]:
    page = tmp_path / "page.html"
    words = ("-m", "tellapart", "explore", data, "--out", page, "--json")
    done = python(*words, **variables)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", ["été", "table.csv"])
def test_the_classes_are_those_of_utf8(accented: Path, tmp_path: Path, name: str):
    found = explored(tmp_path / name, tmp_path, **ASCII)
    assert found["classes"] == {"Käse": 6, "leaf": 6, "sky": 6}
    assert found | {"seconds": 0} == explored(tmp_path / name, tmp_path) | {"seconds": 0}


def test_helper_processes_find_the_files_too(accented: Path, tmp_path: Path):
    image = next((accented / "sky").iterdir()).read_bytes()
    for number in range(WORTH_PROCESSES):
        (accented / "Käse" / f"à{number}.jpg").write_bytes(image)
    found = explored(accented, tmp_path, **ASCII)
    assert found["statuses"] == {"ok": WORTH_PROCESSES + 18}


def test_a_library_call_is_refused_in_one_line(accented: Path):
    done = python("-c", LIBRARY, accented, **ASCII)
    last = done.stderr.decode().strip().splitlines()[-1]
    assert last.startswith("tellapart.errors.UserError")
    assert "PYTHONUTF8=1" in last


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "ascii:strict"])
def test_output_of_any_encoding_never_fails(accented: Path, tmp_path: Path, encoding: str):
    words = ("-m", "tellapart", "explore", accented, "--out", tmp_path / "page.html")
    done = python(*words, PYTHONIOENCODING=encoding)
    assert done.returncode == 0
    assert b"Traceback" not in done.stderr
    assert b"18 images in 3 classes" in done.stdout
