"""Images in the object stores of clouds: addresses that begin with s3://, gs:// or az://.

fsspec reads them, through the package of each store, with the credentials that this package finds.
"""

from __future__ import annotations

import glob
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from tellapart.addresses import PACKAGES, is_store_address
from tellapart.catalog.names import is_junk
from tellapart.decoding import MAX_FILE_BYTES, Decoded, decode
from tellapart.errors import UserError, needs_extra, one_line
from tellapart.image_input import StoredImage
from tellapart.image_kinds import HEAD_BYTES, recognise
from tellapart.sources.walk import is_image_name

_FIRST_BYTES = 2**23  # of an object, which are nearly every image as a whole
CHECK = "Check the address, and the credentials in the environment."


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
    files, place = opened(address)
    try:
        return fetched(files, place)
    except Exception as error:
        return verdict_of(error)


def fetched(files: Any, place: str) -> bytes | Decoded:
    """The bytes of an object that starts like a readable image, or the verdict that says why there
    are none. A large object takes two requests, so that no more than the start of a video is read.

    Whatever the store refuses is raised.

    Args:
        files: the file system of fsspec.
        place: the object in it.
    """
    try:
        data: bytes = files.cat_file(place, start=0, end=_FIRST_BYTES)
    except (FileNotFoundError, PermissionError):
        raise
    except Exception as error:
        # An object without bytes has no range that could be asked for.
        if "range" not in str(error).lower():
            raise
        data = b""
    head = data[:HEAD_BYTES]
    if not head or recognise(head)[0] != "ok":
        return decode(head)
    if len(data) < _FIRST_BYTES:
        return data
    data += files.cat_file(place, start=_FIRST_BYTES, end=MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        return Decoded("too_large", detail=f"The file is larger than {MAX_FILE_BYTES:,} bytes.")
    return data


def verdict_of(error: Exception) -> Decoded:
    """The verdict on an object that a store did not give."""
    if isinstance(error, FileNotFoundError):
        return Decoded("missing", detail="The store has nothing at this address.")
    return Decoded("unreadable", detail=f"The store says: {one_line(error)}")


def _listed(address: str) -> list[str]:
    """The names that an address means in its store, sorted."""
    files, place = opened(address)
    try:
        found = files.glob(place) if glob.has_magic(place) else files.find(place)
    except Exception as error:
        raise UserError(
            f"{address} cannot be listed ({one_line(error)}).",
            CHECK,
        ) from error
    found = [name for name in map(str, found) if not name.endswith("/")]  # marks of folders
    # An address of nothing stays: it gets a row, with the status that says so.
    return sorted(found) or [place]


def opened(address: str) -> tuple[Any, str]:
    """The file system of an address, and the place in it.

    Raises:
        UserError: the package of the store is missing, or the address cannot be understood.
    """
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
            CHECK,
        ) from error
    return files, str(place)
