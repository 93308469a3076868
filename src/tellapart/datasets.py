"""The public data sets that recipes are for. They are fetched once into the cache folder, and used
only if their checksum is right.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tellapart.cache import cache_folder
from tellapart.errors import Refused, UserError, choose, reason_of
from tellapart.progress import Console
from tellapart.recipe import Recipe
from tellapart.writing import disk_error

ANSWER_SECONDS = 5.0  # to wait for any answer of the server
READ_SECONDS = 30.0  # to wait for the next piece of a download
PIECE_BYTES = 2**20


@dataclass(frozen=True)
class Dataset:
    """A file that somebody publishes.

    Args:
        url: where it is published. The last part is the file's name.
        size: in bytes.
        digest: its SHA-256.
    """

    url: str
    size: int
    digest: str

    @property
    def path(self) -> Path:
        """Where the file is kept, and where the user can put it."""
        return cache_folder() / "datasets" / self.url.rpartition("/")[2]


DATASETS = {
    # Digest: github.com/pytorch/tutorials, .jenkins/download_data.py; size: another project that
    # pins the same digest.
    "ants-bees": Dataset(
        "https://download.pytorch.org/tutorial/hymenoptera_data.zip",
        47_286_322,
        "fbc41b31d544714d18dd1230b1e2b455e1557766e13e67f9f5a7a23af7c02209",
    ),
    # Digest and size: github.com/tensorflow/datasets, tensorflow_datasets/url_checksums/cifar10.txt
    "cifar10": Dataset(
        "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        170_052_171,
        "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    ),
    # The publisher states none; public projects that check this very URL all have this digest, and
    # one the size.
    "tiny-imagenet": Dataset(
        "http://cs231n.stanford.edu/tiny-imagenet-200.zip",
        248_100_043,
        "6198c8ae015e2b3e007c7841da39ec069199b9aa3bfa943a462022fe5e43c821",
    ),
}


def dataset_of(recipe: Recipe) -> Dataset:
    """The public data set that a recipe is for.

    Raises:
        UserError: the recipe names none, or one that is not known.
    """
    if recipe.dataset is None:
        known = ", ".join(sorted(DATASETS))
        raise UserError(
            f"The recipe {recipe.name!r} has no public data set of its own.",
            f"Give a folder of images as DATA, or one of {known} with --set dataset=NAME.",
        )
    return DATASETS[choose("data set", recipe.dataset, DATASETS)]


def fetch(dataset: Dataset, console: Console) -> Path:
    """The file of a data set, downloaded into the cache folder if it is not there. One process at a
    time may do this.

    Raises:
        UserError: there is no network. The message says what to fetch and where to put it.
        Refused: the file is not the published one.
    """
    if not dataset.path.exists():
        _download(dataset, console)
    elif _digest_of(dataset.path) != dataset.digest:
        raise _not_published(dataset, dataset.path)
    return dataset.path


def _download(dataset: Dataset, console: Console) -> None:
    """Fetch into a file beside the final one, from where an earlier attempt stopped. Check it, and
    rename it.
    """
    part = dataset.path.with_name(dataset.path.name + ".part")
    if _size(part) < dataset.size:
        _check_server(dataset)
        console.say(f"Downloading {dataset.url} ({dataset.size:,} bytes) into {part.parent}")
        _fetch_all(dataset, part, console)
    if _digest_of(part) != dataset.digest:
        part.unlink()
        raise _not_published(dataset, Path(dataset.url))
    os.replace(part, dataset.path)


def _fetch_all(dataset: Dataset, part: Path, console: Console) -> None:
    """Send one request after the other, as long as each brings something. Each goes on where the
    one before broke off.
    """
    missing_mib = (dataset.size - _size(part)) // PIECE_BYTES
    with console.track(f"{dataset.path.name}, MiB", missing_mib) as advance:
        while (before := _size(part)) < dataset.size:
            reason = "the connection was closed"
            try:
                for piece in _pieces(dataset, before):
                    _append(part, piece, dataset.size)
                    advance()
            except (OSError, http.client.HTTPException) as error:
                reason = _reason(error)
            if _size(part) <= before:
                raise _missing(dataset, f"{before:,} bytes are here, then: {reason}")


def _pieces(dataset: Dataset, start: int) -> Iterator[bytes]:
    """The pieces of the file from `start` on, and never more than it should hold. A server may send
    only whole files.
    """
    with _open(dataset, {"Range": f"bytes={start}-"}, READ_SECONDS) as response:
        place = start if response.status == http.client.PARTIAL_CONTENT else 0
        while place < dataset.size:
            piece = response.read(min(PIECE_BYTES, dataset.size - place))
            if not piece:
                return
            place += len(piece)
            if place > start:
                # Of a whole file, the first piece may begin before `start`.
                yield piece[max(0, len(piece) - (place - start)) :]


def _check_server(dataset: Dataset) -> None:
    """Check that the server answers at all, so that a missing network is reported within seconds."""
    try:
        _open(dataset, {}, ANSWER_SECONDS, method="HEAD").close()
    except urllib.error.HTTPError:
        return  # it answered; only what it says to the download itself counts
    except (OSError, http.client.HTTPException) as error:
        raise _missing(dataset, _reason(error)) from None


def _open(
    dataset: Dataset, headers: dict[str, str], seconds: float, method: str = "GET"
) -> http.client.HTTPResponse:
    headers = {"User-Agent": "tellapart", **headers}
    request = urllib.request.Request(dataset.url, headers=headers, method=method)  # noqa: S310 - one of DATASETS
    response: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=seconds)  # noqa: S310
    return response


def _append(part: Path, piece: bytes, size: int) -> None:
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        with part.open("ab") as file:
            file.write(piece)
    except OSError as error:
        raise disk_error(error, part, size) from error


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _digest_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({reason_of(error)}).", "Delete it.") from None


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return str(error)
    inner = getattr(error, "reason", error)
    return " ".join(str(getattr(inner, "strerror", None) or inner).split()) or type(error).__name__


def _missing(dataset: Dataset, reason: str) -> UserError:
    return UserError(
        f"{dataset.path.name} is not here, and could not be downloaded ({reason}).",
        f"With a network, run the same command again. Or fetch {dataset.url} yourself "
        f"({dataset.size:,} bytes, SHA-256 {dataset.digest}) and put it at {dataset.path}",
    )


def _not_published(dataset: Dataset, found: Path) -> Refused:
    return Refused(
        f"{found} is not the published file: its SHA-256 is not {dataset.digest}.",
        f"It was not used. Fetch {dataset.url} again ({dataset.size:,} bytes) and put it at"
        f" {dataset.path}",
    )
