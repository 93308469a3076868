"""A file of ours comes into being whole, or not at all."""

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tellapart import writing
from tellapart.errors import Refused, UserError
from tellapart.writing import disk_error, sync_folder, write_whole


def failing(number):
    """A stand-in for a call of the operating system that fails."""

    def fail(*args, **options):
        raise OSError(number, os.strerror(number))

    return fail


@pytest.fixture
def old(tmp_path):
    """A file that is there already."""
    (tmp_path / "answers.csv").write_text("old")
    return tmp_path / "answers.csv"


def test_bytes_and_text_are_written_as_they_are(tmp_path):
    write_whole(tmp_path / "bytes", b"\x00\xff\r\n")
    write_whole(tmp_path / "text", "ä\r\n")
    assert (tmp_path / "bytes").read_bytes() == b"\x00\xff\r\n"
    assert (tmp_path / "text").read_bytes() == "ä\r\n".encode()


def test_a_new_file_takes_the_place_of_the_old_one(old):
    write_whole(old, "new")
    assert old.read_text() == "new"
    assert list(old.parent.iterdir()) == [old]


def test_folders_on_the_way_are_made(tmp_path):
    write_whole(tmp_path / "a" / "b" / "c.txt", "x")
    assert (tmp_path / "a" / "b" / "c.txt").read_text() == "x"


@pytest.mark.parametrize("name", ["x" * 255, "é" * 127, "🐈" * 63, "-rf", "new\nline", "caf\udce9"])
def test_any_name_that_the_disk_takes_can_be_written(tmp_path, name):
    write_whole(tmp_path / name, "x")
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("step", ["os.fsync", "os.replace", "os.fdopen"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_when_a_step_fails_the_old_file_stays_and_nothing_is_left_behind(
    old, monkeypatch, step, number
):
    monkeypatch.setattr(step, failing(number))
    with pytest.raises(UserError):
        write_whole(old, "new")
    assert old.read_text() == "old"
    assert list(old.parent.iterdir()) == [old]


def test_an_interruption_leaves_the_old_file_and_nothing_behind(old, monkeypatch):
    def interrupt(handle):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_whole(old, "new")
    assert [path.read_text() for path in old.parent.iterdir()] == ["old"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_refused_with_the_bytes_needed_and_free(old, monkeypatch, number):
    monkeypatch.setattr("os.fsync", failing(number))
    with pytest.raises(
        Refused,
        match=r"answers.csv could not be written: it needs 2,048 bytes and [\d,]+ are free. Make",
    ):
        write_whole(old, b"x" * 2048)


def test_a_file_above_the_systems_limit_is_refused_and_leaves_nothing_behind(tmp_path):
    code = (
        "import resource, sys; from pathlib import Path; from tellapart.writing import"
        " write_whole\nresource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\ntry:"
        " write_whole(Path(sys.argv[1]), b'x' * 2000)\nexcept Exception as error:"
        " print(type(error).__name__, error.exit_code, error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "x")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("Refused 5 ")
    assert "it needs 2,000 bytes" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_the_way_is_wrong_use(tmp_path):
    (tmp_path / "x").mkdir()
    with pytest.raises(
        UserError, match=r"x could not be written \(is a directory\). Choose a folder"
    ):
        write_whole(tmp_path / "x", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_file_where_a_folder_is_wanted_is_wrong_use(old):
    with pytest.raises(UserError, match="could not be written") as failed:
        write_whole(old / "inner.csv", "new")
    assert failed.value.exit_code == 2


def test_the_temporary_file_lies_beside_the_target_wherever_tmpdir_is(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "elsewhere"))
    monkeypatch.setattr("tempfile.tempdir", None)
    moves = []
    monkeypatch.setattr(
        "os.replace",
        lambda source, target: moves.append((Path(source).parent, Path(target).parent)),
    )
    write_whole(tmp_path / "out" / "x", "new")
    assert moves == [(tmp_path / "out", tmp_path / "out")]


def test_the_content_is_on_the_disk_before_the_rename_and_the_folder_after_it(
    tmp_path, monkeypatch
):
    steps, sync, replace = [], os.fsync, os.replace
    kinds = {True: "sync folder", False: "sync file"}
    monkeypatch.setattr(
        "os.fsync", lambda fd: (steps.append(kinds[stat.S_ISDIR(os.fstat(fd).st_mode)]), sync(fd))
    )
    monkeypatch.setattr("os.replace", lambda *paths: (steps.append("rename"), replace(*paths)))
    write_whole(tmp_path / "x", "new")
    assert steps == ["sync file", "rename", "sync folder"]


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_the_mode_is_that_of_an_ordinary_new_file(tmp_path, mask, mode):
    before = os.umask(mask)
    write_whole(tmp_path / "x", "new")
    after = os.umask(before)
    assert after == mask
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == mode


def test_a_folder_that_the_file_system_cannot_sync_is_no_error(old, monkeypatch):
    monkeypatch.setattr("os.fsync", failing(errno.EINVAL))
    sync_folder(old.parent)


def test_a_folder_whose_sync_fails_in_earnest_is_an_error(old, monkeypatch):
    monkeypatch.setattr("os.fsync", failing(errno.EIO))
    with pytest.raises(OSError, match="error"):
        sync_folder(old.parent)


def test_the_free_bytes_are_those_of_the_nearest_folder_that_exists(tmp_path, monkeypatch):
    asked = []
    usage = writing.shutil.disk_usage
    monkeypatch.setattr(
        "shutil.disk_usage", lambda folder: (asked.append(folder), usage(folder))[1]
    )
    disk_error(OSError(errno.ENOSPC, ""), tmp_path / "a" / "b" / "c", 1)
    assert asked == [tmp_path]
