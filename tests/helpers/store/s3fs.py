"""A stand-in for the package s3fs: the folder that BUCKETS names holds the buckets.

It is imported by this name, in this process and in others, where its folder is on the path.
"""

from __future__ import annotations

import os
from typing import Any

from fsspec.implementations.local import LocalFileSystem

__version__ = "2099.1.0"


class S3FileSystem(LocalFileSystem):
    """Folders of buckets, with what was asked of them."""

    protocol = "s3"
    read: list[str] = []  # noqa: RUF012 - of all instances, since fsspec makes them
    listed: list[str] = []  # noqa: RUF012

    @classmethod
    def _strip_protocol(cls, path: Any) -> str:
        root, text = os.environ["BUCKETS"], str(path).removeprefix("s3://").rstrip("/")
        return text if text.startswith(root) else f"{root}/{text}".rstrip("/")

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any):
        """The bytes of an object."""
        self.read.append(path.rpartition("/")[2])
        return super().cat_file(path, start, end)

    def ls(self, path: str, detail: bool = False, **_: Any):
        """What lies in a folder."""
        self.listed.append(path)
        return super().ls(path, detail)
