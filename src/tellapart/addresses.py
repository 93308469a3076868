"""Addresses of images and folders in the object stores of clouds: s3://, gs:// and az://."""

from __future__ import annotations

import re
from os import PathLike
from pathlib import PurePath

PACKAGES = {"s3": "s3fs", "gs": "gcsfs", "az": "adlfs"}  # scheme → what fsspec reads it with


def is_store_address(text: str) -> bool:
    """Whether a text is the address of something in a store.

    >>> is_store_address("s3://photos/cat.jpg"), is_store_address("s3/cat.jpg")
    (True, False)
    """
    return text.partition("://")[0].lower() in PACKAGES and "://" in text


def store_address(source: object) -> str:
    """The address in a store that a source is, without "/" at its end; "" for any other source.

    It also undoes what pathlib makes of an address: one slash of two.

    >>> from pathlib import Path
    >>> store_address("s3://photos/new/"), store_address(Path("s3://photos")), store_address("new")
    ('s3://photos/new', 's3://photos', '')
    """
    if not isinstance(source, str | PathLike):
        return ""
    text = source.as_posix() if isinstance(source, PurePath) else str(source)
    if isinstance(source, PurePath):
        text = re.sub(r"^([A-Za-z0-9]+):/(?!/)", r"\1://", text)
    scheme, _, place = text.partition("://")
    return f"{scheme.lower()}://{place.rstrip('/')}" if is_store_address(text) else ""
