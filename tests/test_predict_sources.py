"""`predict` takes what `train` takes, with labels or without; and objects of other kinds are named."""

from __future__ import annotations

import csv
import gzip
import http.server
import io
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars
import pytest
import torch
from PIL import Image

import tellapart
from helpers.commands import run_command
from helpers.images import write_classes, write_image
from tellapart import Predictor, Run, UserError
from tellapart.sources import downloads

SMALL = {"preprocessing.size_px": 64, "head.folds": 2, "head.c_values": (0.01, 0.1)}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("predict")
    photos = write_classes(folder / "photos", 8)
    return tellapart.train(photos, set=SMALL, out=folder / "runs", quiet=True)


@pytest.fixture(scope="module")
def predictor(run: Run) -> Predictor:
    return run.predictor()


@pytest.fixture
def new(tmp_path: Path) -> Path:
    """Three images, in an order that is not that of their names."""
    for number, name in enumerate(("c.jpg", "a.jpg", "b.png")):
        write_image(tmp_path / "new" / name, number + 50, colour=(190, 80, 60))
    return tmp_path / "new"


ORDER = ["c.jpg", "b.png", "a.jpg"]


def paths_of(predictor: Predictor, images: Any, **options: Any) -> list[str]:
    predicted = tellapart.predict(predictor, images, quiet=True, **options)
    assert predicted.statuses == {"ok": len(predicted.answers)}
    return [answer.path for answer in predicted.answers]


def write_table(path: Path, rows: list[list[str]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return path


# ── files that hold or name images ──


def test_an_archive_stands_for_the_images_in_it(predictor: Predictor, new: Path, tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "new.zip", "w") as archive:
        archive.write(new / "b.png", "deep/b.png")
        archive.write(new / "a.jpg", "a.jpg")
    found = paths_of(predictor, tmp_path / "new.zip")
    assert found == [f"{tmp_path}/new.zip/a.jpg", f"{tmp_path}/new.zip/deep/b.png"]


def test_an_image_in_an_archive_is_answered_as_its_file_is(
    predictor: Predictor, new: Path, tmp_path: Path
):
    with zipfile.ZipFile(tmp_path / "new.zip", "w") as archive:
        archive.write(new / "a.jpg", "a.jpg")
    (packed,) = tellapart.predict(predictor, str(tmp_path / "new.zip"), quiet=True).answers
    assert packed.confidence == predictor.predict(new / "a.jpg").confidence


def test_an_archive_without_images_is_refused(predictor: Predictor, tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "empty.zip", "w"):
        pass
    with pytest.raises(UserError, match="holds no images"):
        tellapart.predict(predictor, tmp_path / "empty.zip", quiet=True)


def test_a_table_needs_no_labels_and_keeps_its_order(predictor: Predictor, new: Path):
    table = write_table(new / "table.csv", [["path"], *([name] for name in ORDER)])
    assert paths_of(predictor, table) == [str(new / name) for name in ORDER]


def test_the_labels_of_a_table_do_no_harm(predictor: Predictor, new: Path):
    rows = [["label", "file"], *(["unknown kind", name] for name in ORDER)]
    assert paths_of(predictor, write_table(new / "t.csv", rows)) == [str(new / n) for n in ORDER]


def test_a_packed_table_and_a_list_of_paths_will_do(predictor: Predictor, new: Path):
    text = "path\n" + "\n".join(ORDER)
    (new / "t.csv.gz").write_bytes(gzip.compress(text.encode()))
    (new / "list.txt").write_text("\n".join(ORDER))
    wanted = [str(new / name) for name in ORDER]
    assert paths_of(predictor, new / "t.csv.gz") == wanted
    assert paths_of(predictor, new / "list.txt") == wanted


def test_an_image_that_a_table_names_may_be_missing(predictor: Predictor, new: Path):
    table = write_table(new / "t.csv", [["path"], ["a.jpg"], ["b.png"], ["gone.jpg"]])
    predicted = tellapart.predict(predictor, table, quiet=True)
    assert [answer.status for answer in predicted.answers] == ["ok", "ok", "missing"]


def test_the_column_of_paths_may_be_named(run: Run, new: Path):
    rows = [["before", "after"], *([name, "a.jpg"] for name in ORDER)]
    table = write_table(new / "t.csv", rows)
    answered = run_command("predict", run.model, table, "--columns", "path=before", "--json")
    names = [Path(answer["path"]).name for answer in answered.json["answers"]]
    assert names == ORDER


def test_another_text_is_an_image_that_is_none(predictor: Predictor, new: Path):
    (new / "README.txt").write_text("These are images.\nThey are new.\n")
    (answer,) = tellapart.predict(predictor, new / "README.txt", quiet=True).answers
    assert answer.status == "not_an_image"


def test_images_in_a_parquet_file_are_answered(predictor: Predictor, new: Path):
    content = [(new / name).read_bytes() for name in ORDER]
    table = polars.DataFrame({"image": content, "label": ["a", "b", "a"]})
    table.write_parquet(new / "images.parquet")
    assert len(paths_of(predictor, new / "images.parquet")) == 3


def test_a_folder_of_parquet_or_archives_stands_for_the_images_in_them(
    predictor: Predictor, new: Path, tmp_path: Path
):
    (tmp_path / "hub/data").mkdir(parents=True)
    table = polars.DataFrame({"image": [(new / name).read_bytes() for name in ORDER]})
    table.write_parquet(tmp_path / "hub/data/test-00000.parquet")
    with zipfile.ZipFile(tmp_path / "hub/more.zip", "w") as archive:
        archive.write(new / "a.jpg", "z.jpg")
    found = [Path(path).parent.name for path in paths_of(predictor, tmp_path / "hub")]
    assert found == ["test-00000.parquet"] * 3 + ["more.zip"]


def test_beside_images_a_folder_stands_for_these_alone(predictor: Predictor, new: Path):
    table = polars.DataFrame({"image": [(new / name).read_bytes() for name in ORDER]})
    table.write_parquet(new / "train.parquet")
    assert [Path(path).name for path in paths_of(predictor, new)] == sorted(ORDER)


def test_what_cannot_be_used_is_refused_alone_and_a_row_among_others(
    predictor: Predictor, new: Path
):
    with zipfile.ZipFile(new / "cut.zip", "w") as archive:
        archive.write(new / "a.jpg", "a.jpg")
    (new / "cut.zip").write_bytes((new / "cut.zip").read_bytes()[:300])
    with pytest.raises(UserError, match="is damaged"):
        tellapart.predict(predictor, new / "cut.zip", quiet=True)
    both = tellapart.predict(predictor, [new / "cut.zip", new / "a.jpg"], quiet=True)
    assert [answer.status for answer in both.answers] == ["not_an_image", "ok"]


# ── objects that train takes ──


def test_pairs_a_frame_and_a_catalog_are_answered_in_their_order(predictor: Predictor, new: Path):
    paths = [str(new / name) for name in ORDER]
    assert paths_of(predictor, [(path, "label") for path in paths]) == paths
    assert paths_of(predictor, polars.DataFrame({"path": paths})) == paths
    pairs = [(path, label) for path, label in zip(paths, "xyx", strict=True)]
    catalog = tellapart.explore(pairs, quiet=True).catalog
    assert paths_of(predictor, catalog) == sorted(paths)


def test_kinds_may_be_mixed(run: Run, new: Path, tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "new.zip", "w") as archive:
        archive.write(new / "a.jpg", "z.jpg")
    table = write_table(new / "t.csv", [["path"], ["a.jpg"]])
    answered = run_command(
        "predict", run.model, new / "b.png", tmp_path / "new.zip", table, "--json"
    )
    names = [Path(answer["path"]).name for answer in answered.json["answers"]]
    assert names == ["b.png", "z.jpg", "a.jpg"]


# ── objects of servers and notebooks ──


class Upload:
    """What a web framework hands over: its read() takes no size."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def read(self) -> bytes:
        return self.data


class AwaitedUpload(Upload):
    async def read(self) -> bytes:  # type: ignore[override]
        return self.data


FORMS = {
    "a PIL image": lambda data: Image.open(io.BytesIO(data)),
    "bytes": bytes,
    "a bytearray": bytearray,
    "a memoryview": memoryview,
    "BytesIO": io.BytesIO,
    "an upload": Upload,
    "a grey array": lambda data: np.asarray(Image.open(io.BytesIO(data)).convert("L")),
    "an RGBA array": lambda data: np.asarray(Image.open(io.BytesIO(data)).convert("RGBA")),
    "a tensor": lambda data: torch.from_numpy(np.array(Image.open(io.BytesIO(data)))),
}


@pytest.mark.parametrize("form", FORMS)
def test_one_image_in_memory_is_one_answer(predictor: Predictor, new: Path, form: str):
    image = FORMS[form]((new / "b.png").read_bytes())
    assert paths_of(predictor, image) == [""]
    assert predictor.predict(image).status == "ok"


def test_an_open_file_is_one_image_and_not_its_lines(predictor: Predictor, new: Path):
    with (new / "b.png").open("rb") as file:
        assert paths_of(predictor, file) == [""]


OTHERS = {
    "dict": {"a.jpg": 1},
    "set": {"a.jpg"},
    "int": 3,
    "NoneType": None,
    "Series": polars.Series(["a.jpg"]),
    "<U5": np.array(["a.jpg"]),
    "float32": torch.zeros(3, 8, 8),
}


@pytest.mark.parametrize("name", OTHERS)
def test_another_object_is_refused_by_its_type(predictor: Predictor, name: str):
    with pytest.raises(UserError, match=name):
        tellapart.predict(predictor, OTHERS[name], quiet=True)  # type: ignore[arg-type]


def test_an_upload_that_must_be_awaited_says_so(predictor: Predictor):
    with pytest.raises(UserError, match="AwaitedUpload has to be awaited"):
        tellapart.predict(predictor, AwaitedUpload(b""), quiet=True)  # type: ignore[arg-type]


# ── web addresses ──


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder, and sends /file on to a file of the machine."""

    def do_GET(self) -> None:
        if self.path.startswith("/file"):
            self.send_response(302)
            self.send_header("Location", "file:///etc/hostname")
            self.end_headers()
        else:
            super().do_GET()

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def address(new: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server of the new images."""
    monkeypatch.chdir(new)
    monkeypatch.setenv("no_proxy", "*")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_an_image_at_a_web_address_is_answered(predictor: Predictor, address: str):
    assert paths_of(predictor, f"{address}/a.jpg?token=secret") == [f"{address}/a.jpg"]


@pytest.mark.parametrize(("path", "reason"), [("/gone.jpg", "404"), ("/file", "file:")])
def test_an_address_without_an_image_is_refused(
    predictor: Predictor, address: str, path: str, reason: str
):
    with pytest.raises(UserError, match=reason):
        tellapart.predict(predictor, address + path, quiet=True)


def test_an_address_that_cannot_be_reached_is_refused(predictor: Predictor, address: str):
    with pytest.raises(UserError, match="could not be fetched"):
        tellapart.predict(predictor, "http://127.0.0.1:9/cat.jpg", quiet=True)


def test_an_address_without_an_image_is_a_row_among_others(
    predictor: Predictor, address: str, new: Path
):
    named = [f"{address}/gone.jpg", str(new / "a.jpg")]
    both = tellapart.predict(predictor, named, quiet=True)
    assert [answer.status for answer in both.answers] == ["missing", "ok"]
    assert "404" in both.answers[0].detail


def test_what_is_too_large_is_not_fetched_whole(
    predictor: Predictor, address: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(downloads, "MAX_BYTES", 100)
    with pytest.raises(UserError, match="is larger than"):
        tellapart.predict(predictor, f"{address}/a.jpg", quiet=True)
