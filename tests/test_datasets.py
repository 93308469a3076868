"""Public data sets: fetched once, resumed, checked before they are used, and named where they
cannot be fetched.
"""

from __future__ import annotations

import dataclasses
import hashlib
import http.server
import io
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tellapart import datasets
from tellapart.datasets import DATASETS, Dataset, dataset_of, fetch
from tellapart.errors import Refused, UserError
from tellapart.progress import Console
from tellapart.recipe import recipe_from
from tellapart.sources.source import read_source

CONTENT = np.random.default_rng(0).bytes(3 * 2**20 + 12_345)
DIGEST = hashlib.sha256(CONTENT).hexdigest()
SMALL = {"dataset": "small"}


def found(recipe: dict[str, str] = SMALL) -> Path:
    return fetch(dataset_of(recipe_from(recipe)), Console(quiet=True))


class Server(http.server.ThreadingHTTPServer):
    """Serves CONTENT. `ranges`: whether it can begin in the middle; `breaks`: bytes before each
    break, in turn.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.ranges, self.status = CONTENT, True, 200
        self.breaks: list[int] = []
        self.held_up = (
            threading.Event()
        )  # set: what follows a break is not sent before the client has gone
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/small.zip"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_HEAD(self) -> None:
        self.send_response(self.server.status)
        self.end_headers()

    def do_GET(self) -> None:
        wanted = self.headers.get("Range", "")
        self.server.asked.append(wanted)
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if self.server.ranges else 0
        body = self.server.content[start:]
        partial = self.server.ranges and self.server.status == 200
        self.send_response(206 if partial else self.server.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.server.breaks.pop(0)] if self.server.breaks else body)
        self.wfile.flush()
        if self.server.held_up.is_set():
            self.server.held_up.clear()
            self.rfile.read(1)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TELLAPART_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "datasets"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with Server() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setitem(DATASETS, "small", Dataset(server.url, len(CONTENT), DIGEST))
        yield server
        server.shutdown()


# ── fetched ──


def test_a_data_set_is_fetched_once_and_then_at_hand(server: Server, cache: Path):
    path = found()
    assert path == cache / "small.zip"
    assert path.read_bytes() == CONTENT
    server.shutdown()
    assert found() == path
    assert server.asked == ["bytes=0-"]
    assert [file.name for file in cache.iterdir()] == ["small.zip"]


def test_what_is_fetched_is_said(server: Server, cache: Path):
    console = Console(quiet=True)
    fetch(dataset_of(recipe_from(SMALL)), console)
    assert f"Downloading {server.url} (3,158,073 bytes) into {cache}" in console.lines[0]


def test_a_download_that_was_killed_goes_on_where_it_stopped(server: Server, cache: Path):
    cache.mkdir(parents=True)
    (cache / "small.zip.part").write_bytes(CONTENT[:2_000_000])
    assert found().read_bytes() == CONTENT
    assert server.asked == ["bytes=2000000-"]


def test_a_process_that_is_killed_in_the_middle_leaves_what_the_next_one_goes_on_from(
    server: Server, cache: Path
):
    server.breaks = [2_500_000]
    server.held_up.set()
    code = (
        "from tellapart.datasets import *; "
        f"DATASETS['small'] = Dataset({server.url!r}, {len(CONTENT)}, {DIGEST!r}); "
        "fetch(DATASETS['small'], Console(quiet=True))"
    )
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        part = cache / "small.zip.part"
        while not part.exists() or part.stat().st_size < 2 * 2**20:
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
    assert found().read_bytes() == CONTENT
    assert server.asked == ["bytes=0-", f"bytes={2 * 2**20}-"]


def test_a_download_that_was_killed_before_its_check_needs_no_network(server: Server, cache: Path):
    cache.mkdir(parents=True)
    (cache / "small.zip.part").write_bytes(CONTENT)
    assert found().read_bytes() == CONTENT
    assert server.asked == []


def test_a_server_that_only_sends_whole_files_is_as_good(server: Server, cache: Path):
    server.ranges = False
    cache.mkdir(parents=True)
    (cache / "small.zip.part").write_bytes(CONTENT[:2_000_000])
    assert found().read_bytes() == CONTENT


def test_a_connection_that_breaks_off_is_taken_up_again(server: Server):
    server.breaks = [100_000, 1_500_000]
    assert found().read_bytes() == CONTENT
    assert server.asked == ["bytes=0-", "bytes=100000-", "bytes=1600000-"]


def test_a_download_that_goes_nowhere_stops_and_goes_on_next_time(server: Server, cache: Path):
    server.breaks = [1_200_000, 0]
    with pytest.raises(
        UserError, match=r"could not be downloaded \(1,200,000 bytes are here, then: "
    ):
        found()
    assert not (cache / "small.zip").exists()
    assert found().read_bytes() == CONTENT
    assert server.asked[-1] == "bytes=1200000-"


# ── never used unchecked ──


@pytest.mark.parametrize("wrong", [CONTENT[:-1] + b"x", b"<html>not found</html>" + bytes(2**22)])
def test_a_wrong_file_is_refused_and_nothing_is_kept_of_it(
    server: Server, cache: Path, wrong: bytes
):
    server.content = wrong
    with pytest.raises(Refused, match=f"is not the published file: its SHA-256 is not {DIGEST}"):
        found()
    assert list(cache.iterdir()) == []


def test_no_more_is_read_than_the_file_should_hold(server: Server):
    server.content = CONTENT + bytes(2**22)
    assert found().read_bytes() == CONTENT


def test_a_damaged_beginning_is_refused_and_the_next_attempt_starts_anew(
    server: Server, cache: Path
):
    cache.mkdir(parents=True)
    (cache / "small.zip.part").write_bytes(bytes(2**20))
    with pytest.raises(Refused, match="is not the published file"):
        found()
    assert found().read_bytes() == CONTENT


@pytest.mark.usefixtures("server")
def test_a_file_that_the_user_put_there_is_used_if_it_is_the_published_one(cache: Path):
    cache.mkdir(parents=True)
    (cache / "small.zip").write_bytes(CONTENT)
    assert found() == cache / "small.zip"
    (cache / "small.zip").write_bytes(CONTENT[:-1])
    with pytest.raises(Refused, match=r"small\.zip is not the published file.* It was not used"):
        found()


# ── where there is none ──


@pytest.mark.parametrize("name", sorted(DATASETS))
def test_without_a_network_it_is_said_within_seconds_what_is_wanted_and_where_to_put_it(
    name: str, cache: Path, monkeypatch: pytest.MonkeyPatch
):
    file = DATASETS[name].path.name
    dataset = dataclasses.replace(DATASETS[name], url=f"http://127.0.0.1:1/{file}")
    monkeypatch.setitem(DATASETS, name, dataset)
    start = time.monotonic()
    with pytest.raises(UserError) as missing:
        found({"dataset": name})
    assert time.monotonic() - start < 2 * datasets.ANSWER_SECONDS
    for word in (dataset.url, f"{dataset.size:,} bytes", dataset.digest, str(cache / file)):
        assert word in missing.value.hint
    assert "could not be downloaded (Connection refused)" in missing.value.message


def test_a_file_that_is_gone_from_the_server_is_said_so(server: Server):
    server.status = 404
    with pytest.raises(
        UserError, match=r"could not be downloaded \(0 bytes are here, then: HTTP Error 404"
    ):
        found()


def test_a_recipe_without_a_data_set_asks_for_one():
    with pytest.raises(
        UserError, match=r"recipe 'probe' has no public data set.*--set dataset=NAME"
    ) as none:
        found({})
    assert all(name in none.value.hint for name in DATASETS)


def test_an_unknown_data_set_is_answered_with_the_nearest():
    with pytest.raises(UserError, match=r"Unknown data set 'cifar'. Did you mean 'cifar10'\?"):
        found({"dataset": "cifar"})


@pytest.mark.usefixtures("server")
def test_a_cache_folder_that_cannot_be_written_to_is_said_so(tmp_path: Path):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(UserError, match=r"small\.zip\.part could not be written"):
        found()


@pytest.mark.parametrize("dataset", DATASETS.values(), ids=DATASETS)
def test_every_digest_is_a_sha_256(dataset: Dataset):
    assert len(bytes.fromhex(dataset.digest)) == 32


# ── read as they are ──


def zipped(tmp_path: Path, *names: str) -> Path:
    """An archive of empty files, laid out as a published one is."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for name in names:
            archive.writestr(name, "n01\tcat\nn02\tdog\n" if name.endswith("words.txt") else "")
    (tmp_path / "data.zip").write_bytes(held.getvalue())
    return tmp_path / "data.zip"


def test_the_layout_of_ants_and_bees_is_read_from_its_archive(tmp_path: Path):
    names = [
        f"hymenoptera_data/{split}/{kind}/1.jpg"
        for split in ("train", "val")
        for kind in ("ants", "bees")
    ]
    catalog = read_source(zipped(tmp_path, *names))
    assert catalog.classes == ("ants", "bees")
    assert sorted(catalog.given_splits) == ["test", "test", "train", "train"]


def test_the_layout_of_tiny_imagenet_is_read_from_its_archive(tmp_path: Path):
    top = "tiny-imagenet-200"
    names = [f"{top}/train/{one}/images/{one}_0.JPEG" for one in ("n01", "n02")]
    path = zipped(
        tmp_path,
        *names,
        f"{top}/val/images/val_0.JPEG",
        f"{top}/words.txt",
        f"{top}/test/images/test_0.JPEG",
    )
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(f"{top}/val/val_annotations.txt", "val_0.JPEG\tn02\t0\t0\t1\t1\n")
    catalog = read_source(path)
    assert catalog.classes == ("cat", "dog")
    assert sorted(catalog.given_splits) == ["test", "train", "train"]
