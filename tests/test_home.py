"""Without a home folder, with a cache that nobody may write to, and with `~` in paths: it works."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import tellapart
from helpers.commands import run_command
from tellapart.cache import cache_folder, cache_remark
from tellapart.cli.values import page_called
from tellapart.errors import UserError
from tellapart.home import give_libraries_a_home, user_path
from tellapart.sources.inputs import expand_inputs

SOURCE = str(Path(tellapart.__file__).parents[1])

# A user whom the system does not know: uid 12345 in a container.
UNKNOWN_USER = """
import pwd
def nobody(user):
    raise KeyError(user)
pwd.getpwuid = pwd.getpwnam = nobody
from tellapart.__main__ import main
main()
"""


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """No home folder is known, and no cache is named."""
    monkeypatch.delenv("TELLAPART_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("HF_HOME", raising=False)
    monkeypatch.setattr(os.path, "expanduser", os.fspath)


@pytest.fixture
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder of its own, and another current folder."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    monkeypatch.chdir(tmp_path)
    return home


def test_without_a_home_it_works_and_says_so_once(photos: Path, tmp_path: Path):
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": SOURCE, "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", UNKNOWN_USER, "explore", photos, "--out", "x.html"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0
    assert done.stderr.count("No home folder is known") == 1
    assert {path.name for path in tmp_path.iterdir()} == {"photos", "x.html"}


@pytest.mark.usefixtures("homeless")
def test_without_a_home_the_cache_is_a_temporary_folder():
    assert cache_folder().is_dir()
    assert "TELLAPART_CACHE" in cache_remark()


@pytest.mark.usefixtures("homeless")
def test_without_a_home_libraries_make_no_folder_called_tilde():
    give_libraries_a_home()
    assert Path(os.environ["HF_HOME"]).is_absolute()
    del os.environ["HF_HOME"]


@pytest.mark.usefixtures("homeless")
def test_without_a_home_a_path_in_it_is_refused():
    with pytest.raises(UserError, match="no home folder is known"):
        user_path("~/photos")


def test_a_cache_in_a_place_where_no_folder_can_be_is_told(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "file").touch()
    monkeypatch.setenv("TELLAPART_CACHE", str(tmp_path / "file" / "cache"))
    explored = run_command("explore", photos, "--out", tmp_path / "x.html")
    assert explored.code == 0
    assert explored.err.count("Nothing can be written to the cache") == 1


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_cache_that_is_only_to_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    monkeypatch.setenv("TELLAPART_CACHE", str(tmp_path))
    assert "Nothing can be written" in cache_remark()


def test_a_page_goes_elsewhere_if_the_current_folder_is_only_to_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert page_called("x.html") == tmp_path / "x.html"


def test_a_tilde_is_the_home_folder(at_home: Path):
    assert user_path("~/photos") == at_home / "photos"
    assert user_path("~") == at_home


def test_a_file_whose_name_begins_with_a_tilde_is_itself(at_home: Path):
    Path("~draft.jpg").touch()
    assert user_path("~draft.jpg") == Path("~draft.jpg")
    assert user_path("~nobody-of-this-name/x") == Path("~nobody-of-this-name/x")


def test_a_folder_called_tilde_is_never_meant(at_home: Path):
    Path("~").mkdir()
    assert user_path("~/runs") == at_home / "runs"


def test_data_and_pages_may_be_named_from_home(at_home: Path, photos: Path):
    photos.rename(at_home / "photos")
    explored = run_command("explore", "~/photos", "--out=~/x.html", "--table=~/x.csv")
    assert explored.code == 0
    assert (at_home / "x.html").exists()
    assert (at_home / "x.csv").exists()


def test_patterns_of_images_may_begin_at_home(at_home: Path):
    (at_home / "a.jpg").touch()
    images = expand_inputs(["~/*.jpg", "~/a.jpg"], sys.stdin.buffer)
    assert list(images) == [at_home / "a.jpg"] * 2


def test_a_recipe_and_a_key_that_holds_a_path_may_begin_at_home(at_home: Path, photos: Path):
    (at_home / "mine.yaml").write_text("backbone:\n  weights: ~/w.safetensors\n")
    refused = run_command("train", photos, "--recipe=~/mine.yaml", "--out=~/runs")
    assert f"{at_home / 'w.safetensors'} cannot be read" in refused.err


def test_the_cache_may_be_named_from_home(at_home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TELLAPART_CACHE", "~/cache")
    assert cache_folder() == at_home / "cache"
