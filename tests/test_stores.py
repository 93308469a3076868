"""Images in object stores: read through fsspec, here from a store in memory that answers to s3://."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import tellapart
from helpers.commands import run_command, run_python
from helpers.images import write_image
from tellapart import Run, UserError
from tellapart.decoding import Decoded
from tellapart.sources.stores import read_stored, stored_images

memory = pytest.importorskip("fsspec.implementations.memory")


class Bucket(memory.MemoryFileSystem):
    """A store in memory under the scheme of a real one."""

    protocol = "s3"
    store: dict = {}  # noqa: RUF012 - as the class above has it
    pseudo_dirs = [""]  # noqa: RUF012
    root_marker = ""

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return "/" + path.removeprefix("s3://").strip("/")


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """Two images and a file that is none, below s3://photos/new."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules["fsspec.registry"]._registry, "s3", Bucket)
    Bucket.store.clear()
    files = Bucket(skip_instance_cache=True)
    for name in ("b.jpg", "a.jpg"):
        files.pipe_file(f"s3://photos/new/{name}", write_image(tmp_path / name, 1).read_bytes())
    files.pipe_file("s3://photos/new/deep/bad.jpg", b"no image")
    return files


def told(run: Run, *words: object) -> list[tuple[str, str]]:
    answered = run_command("predict", run.model, *words, "--json", "-q").json["answers"]
    return [(answer["path"], answer["status"]) for answer in answered]


def test_an_address_is_an_image(run: Run, bucket: Bucket):
    assert told(run, "s3://photos/new/a.jpg") == [("s3://photos/new/a.jpg", "ok")]


def test_an_image_in_a_store_is_answered_as_its_file_is(run: Run, bucket: Bucket):
    stored, file = tellapart.predict(
        run.model, ["s3://photos/new/a.jpg", "a.jpg"], quiet=True
    ).answers
    assert stored.probabilities == file.probabilities


def test_an_address_of_a_folder_stands_for_all_below_it_sorted(run: Run, bucket: Bucket):
    assert told(run, "s3://photos/new/") == [
        ("s3://photos/new/a.jpg", "ok"),
        ("s3://photos/new/b.jpg", "ok"),
        ("s3://photos/new/deep/bad.jpg", "not_an_image"),
    ]


def test_the_mark_of_a_folder_is_no_image(bucket: Bucket, monkeypatch):
    monkeypatch.setattr(Bucket, "find", lambda *_: ["photos/new/", "photos/new/a.jpg"])
    assert [image.name for image in stored_images("s3://photos/new/")] == ["s3://photos/new/a.jpg"]


def test_an_address_may_be_a_pattern(run: Run, bucket: Bucket):
    assert told(run, "s3://photos/new/[b]*.jpg") == [("s3://photos/new/b.jpg", "ok")]


def test_what_is_not_there_has_a_status(run: Run, bucket: Bucket):
    assert told(run, "s3://photos/gone.jpg", "s3://photos/gone/") == [
        ("s3://photos/gone.jpg", "missing"),
        ("s3://photos/gone", "missing"),
    ]


def test_a_table_and_a_list_may_name_addresses(run: Run, bucket: Bucket, monkeypatch):
    Path("table.csv").write_text("path,label\ns3://photos/new/a.jpg,x\nb.jpg,y\n")
    Path("list.txt").write_text("s3://photos/new/b.jpg\ns3://photos/new/a.jpg\n")
    assert told(run, "table.csv") == [("s3://photos/new/a.jpg", "ok"), ("b.jpg", "ok")]
    assert [path for path, _ in told(run, "list.txt")] == [
        "s3://photos/new/b.jpg",
        "s3://photos/new/a.jpg",
    ]


def test_a_store_that_fails_gives_a_status_with_its_words(bucket: Bucket, monkeypatch):
    def failing(*_: object, **__: object) -> None:
        raise PermissionError("Access denied")

    monkeypatch.setattr(Bucket, "cat_file", failing)
    verdict = read_stored("s3://photos/new/a.jpg")
    assert isinstance(verdict, Decoded)
    assert (verdict.status, verdict.detail) == ("unreadable", "The store says: Access denied")


def test_a_store_that_cannot_be_listed_is_an_error(bucket: Bucket, monkeypatch):
    monkeypatch.setattr(Bucket, "find", lambda *_, **__: 1 / 0)
    with pytest.raises(UserError, match="cannot be listed"):
        list(stored_images("s3://photos/new/"))


@pytest.mark.parametrize("address", ["gs://photos/a.jpg", "az://photos/a.jpg"])
def test_a_missing_package_is_named_with_the_extra(address: str):
    code = (
        "import sys; sys.modules.update(gcsfs=None, adlfs=None)\n"
        "from tellapart.sources.stores import read_stored\n"
        "try: read_stored(sys.argv[1])\n"
        "except Exception as error: print(error)"
    )
    done = run_python(code, address)
    assert "which is not installed. Run: pip install 'tellapart[cloud]'" in done.stdout
