"""Images in the object stores of clouds: addresses that begin with s3://, gs:// or az://.

fsspec reads them, through the package of each store, with the credentials that this package finds.
"""

from __future__ import annotations

import glob
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from tellapart.catalog.names import is_junk
from tellapart.decoding import MAX_FILE_BYTES, Decoded
from tellapart.errors import UserError, needs_extra, one_line
from tellapart.image_input import StoredImage
from tellapart.sources.walk import is_image_name

PACKAGES = {"s3": "s3fs", "gs": "gcsfs", "az": "adlfs"}  # scheme → what fsspec reads it with


def is_store_address(text: str) -> bool:
    """Whether a text is the address of something in a store.

    >>> is_store_address("s3://photos/cat.jpg"), is_store_address("s3/cat.jpg")
    (True, False)
    """
    return text.partition("://")[0].lower() in PACKAGES and "://" in text


def located(text: str) -> Path | StoredImage:
    """The image at a path or at an address in a store. Nothing is read yet."""
    return stored_image(text) if is_store_address(text) else Path(text)


def stored_image(address: str) -> StoredImage:
    """The image at an address. It is read when its turn has come."""
    return StoredImage(address, partial(read_stored, address))


def stored_images(address: str) -> Iterator[StoredImage]:
    """The images that an address means, sorted: itself, all below it, or all that it matches.

    Raises:
        UserError: the package of the store is missing, or the store refuses the list.
    """
    if is_image_name(address) and not glob.has_magic(address):
        yield stored_image(address)
        return
    scheme = address.partition("://")[0]
    for name in _listed(address):
        if not is_junk(name.rpartition("/")[2], folder=False):
            yield stored_image(f"{scheme}://{name.lstrip('/')}")


def read_stored(address: str) -> bytes | Decoded:
    """The bytes at an address, or the verdict that says why there are none.

    Raises:
        UserError: the package of the store is missing.
    """
    files, place = _opened(address)
    try:
        with files.open(place, "rb") as file:
            data: bytes = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        return Decoded("missing", detail="The store has nothing at this address.")
    except Exception as error:
        return Decoded("unreadable", detail=f"The store says: {one_line(error)}")
    if len(data) > MAX_FILE_BYTES:
        return Decoded("too_large", detail=f"The file is larger than {MAX_FILE_BYTES:,} bytes.")
    return data


def _listed(address: str) -> list[str]:
    """The names that an address means in its store, sorted."""
    files, place = _opened(address)
    try:
        found = files.glob(place) if glob.has_magic(place) else files.find(place)
    except Exception as error:
        raise UserError(
            f"{address} cannot be listed ({one_line(error)}).",
            "Check the address, and the credentials in the environment.",
        ) from error
    # An address of nothing stays: it gets a row, with the status that says so.
    return sorted(map(str, found)) or [place]


def _opened(address: str) -> tuple[Any, str]:
    """The file system of an address, and the place in it."""
    scheme = address.partition("://")[0].lower()
    try:
        from fsspec.core import url_to_fs
    except ImportError:
        raise needs_extra("fsspec", "cloud") from None
    try:
        files, place = url_to_fs(address)
    except ImportError:
        raise needs_extra(PACKAGES[scheme], "cloud") from None
    except Exception as error:
        raise UserError(
            f"{address} cannot be reached ({one_line(error)}).",
            "Check the address, and the credentials in the environment.",
        ) from error
    return files, str(place)
