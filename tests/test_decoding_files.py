"""Files: a pipe, a device, a folder, a missing or an unreadable one."""

import os
import threading
from pathlib import Path

import pytest

from helpers import odd_images as odd
from tellapart.decoding import decode, decode_file, read_file


def test_a_folder_of_odd_files_gets_the_expected_verdicts(tmp_path):
    expected = odd.salt(tmp_path)
    assert {name: decode_file(tmp_path / name).status for name in expected} == expected
    assert {path.name for path in tmp_path.iterdir()} == set(expected)


def test_the_verdict_on_a_file_is_that_on_its_bytes(tmp_path):
    odd.salt(tmp_path)
    contents = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    pairs = [(decode_file(path), decode(data, name=path.name)) for path, data in contents.items()]
    assert all((a.status, a.notes, a.format) == (b.status, b.notes, b.format) for a, b in pairs)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")
def test_a_pipe_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "x.jpg")
    reader = threading.Thread(target=read_file, args=(tmp_path / "x.jpg",), daemon=True)
    reader.start()
    reader.join(timeout=5)
    assert not reader.is_alive()


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no devices on this system")
def test_a_device_is_not_a_file():
    assert decode_file(Path("/dev/zero")).status == "not_a_file"


def test_a_pipe_that_takes_the_place_of_a_file_is_seen_once_open(tmp_path, monkeypatch):
    (tmp_path / "x.jpg").write_bytes(odd.encoded(odd.scene(), "JPEG"))
    pipe, _ = ends = os.pipe()
    monkeypatch.setattr(os, "open", lambda *_: pipe)
    assert read_file(tmp_path / "x.jpg").status == "not_a_file"
    os.close(ends[1])


@pytest.mark.parametrize("path", ["nowhere.jpg", "a.jpg/b.jpg", "zero\0byte.jpg"])
def test_a_path_that_leads_nowhere_is_missing(tmp_path, path):
    (tmp_path / "a.jpg").write_bytes(b"x")
    assert decode_file(tmp_path / path).status == "missing"


@pytest.mark.parametrize(
    "error", [PermissionError(13, "Permission denied"), OSError(5, "Input/output error")]
)
def test_a_file_that_cannot_be_read_is_unreadable(tmp_path, monkeypatch, error):
    def fail(*_: object) -> int:
        raise error

    (tmp_path / "a.jpg").write_bytes(b"x")
    monkeypatch.setattr(os, "open", fail)
    assert decode_file(tmp_path / "a.jpg").status == "unreadable"


def test_a_name_that_is_too_long_is_unreadable(tmp_path):
    assert decode_file(tmp_path / ("x" * 300 + ".jpg")).status == "unreadable"


def test_an_empty_file_is_empty(tmp_path):
    (tmp_path / "a.jpg").touch()
    assert decode_file(tmp_path / "a.jpg").status == "empty"
    assert decode(b"").status == "empty"


def sparse(path: Path, head: bytes, size: int) -> Path:
    path.write_bytes(head)
    os.truncate(path, size)
    return path


def test_a_huge_file_that_is_no_image_is_not_read(tmp_path):
    video = sparse(tmp_path / "x.jpg", odd.impostors()["mp4.jpg"][0], 10 * 2**30)
    assert decode_file(video).status == "not_an_image"


def test_a_image_file_of_more_than_a_gibibyte_is_too_large(tmp_path):
    image = sparse(tmp_path / "x.tif", odd.encoded(odd.scene(), "TIFF"), 2**30 + 1)
    assert decode_file(image).status == "too_large"
