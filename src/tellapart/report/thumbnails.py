"""The pictures a report shows: small, few enough, each embedded once."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tellapart.decoding import decode_file, encode_thumbnail
from tellapart.report.wording import visible

SIDE_PX = 128
MOST_PICTURES = 600
MOST_BYTES = 5_500_000  # of base64; the page around them takes up to 2 MB with 1,000 classes


@dataclass(frozen=True)
class Shot:
    """One picture in a gallery, and the words below it.

    Args:
        path: relative to the catalog's root.
        lines: what stands below the file name.
        key: names the thumbnail in this report; "" where there is none.
        source: the thumbnail as a data URI where this is its one place; "" where it stands elsewhere.
        problem: why there is no thumbnail; "" where there is one.
    """

    path: str
    lines: tuple[str, ...] = ()
    key: str = ""
    source: str = ""
    problem: str = ""

    @property
    def name(self) -> str:
        """The file's own name, without its folders."""
        return self.path.rpartition("/")[2]


class Album:
    """Thumbnails by path. A class because it must remember which are made, and how many more fit.

    Ask for the most important pictures first: when the album is full, later ones are named but not shown.

    Args:
        resolve: a catalog path to its file on disk.
    """

    def __init__(self, resolve: Callable[[str], Path]) -> None:
        self._resolve = resolve
        self._problems: dict[str, str] = {}
        self._keys: dict[str, str] = {}
        self._loose: dict[str, str] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def loose(self) -> dict[str, str]:
        """The thumbnails that no gallery holds: key → data URI. Dialogs show them."""
        return dict(self._loose)

    def hang(self, path: str, *lines: str) -> Shot:
        """A picture for a gallery, with its thumbnail in place unless an earlier gallery holds it."""
        shot = self.file(path, *lines)
        return Shot(path, lines, shot.key, self._loose.pop(shot.key, ""), shot.problem)

    def file(self, path: str, *lines: str) -> Shot:
        """A picture for a dialog: the thumbnail is looked up by its key."""
        if path not in self._keys and path not in self._problems:
            self._make(path)
        return Shot(path, lines, self._keys.get(path, ""), "", self._problems.get(path, ""))

    def _make(self, path: str) -> None:
        if len(self._keys) >= MOST_PICTURES or self._bytes >= MOST_BYTES:
            self._problems[path] = "not kept: this report is full"
            return
        try:
            decoded = decode_file(self._resolve(path))
        except (OSError, ValueError) as error:  # moved or renamed since the run, or no longer a path at all
            self._problems[path] = f"gone ({type(error).__name__})"
            return
        if decoded.pixels is None:
            self._problems[path] = visible(decoded.status)
            return
        source = "data:image/jpeg;base64," + base64.b64encode(encode_thumbnail(decoded.pixels, SIDE_PX)).decode()
        key = str(len(self._keys))
        self._keys[path] = key
        self._loose[key] = source
        self._bytes += len(source)
