"""The thumbnails of a page: small, few enough, each embedded once."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tellapart.decoders.rules import DEFAULT_RULES, DecodeRules
from tellapart.decoding import Decoded, decode, encode_thumbnail
from tellapart.errors import UserError
from tellapart.report.parts.wording import visible
from tellapart.threads import map_ahead

SIDE_PX = 128
MOST_IMAGES = 600
MOST_BYTES = 5_500_000  # of base64; the page around them takes up to 2 MB with 1,000 classes


@dataclass(frozen=True)
class Shot:
    """One image in a gallery, and the words below it.

    Args:
        path: relative to the catalog's root.
        lines: what stands below the file name.
        key: names the thumbnail in this report; "" where there is none.
        source: the thumbnail as a data URI where this is its one place; "" where it stands
            elsewhere.
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
    """Thumbnails by path. It remembers which ones are made, and how many more fit.

    Ask for the most important images first: when the album is full, later ones are named but not
    shown.

    Args:
        read: returns the bytes of the file at a catalog path, or the verdict that says why there
            are none.
        rules: as in the scan of the images.
        repeat: embed a thumbnail wherever it is hung. The page then shows it without a script.
    """

    def __init__(
        self,
        read: Callable[[str], bytes | Decoded],
        *,
        rules: DecodeRules = DEFAULT_RULES,
        repeat: bool = False,
    ) -> None:
        self._read, self._rules, self._repeat = read, rules, repeat
        self._problems: dict[str, str] = {}
        self._keys: dict[str, str] = {}
        self._loose: dict[str, str] = {}
        self._drawn: dict[bytes, str] = {}  # by the hash of the file
        self._hung: dict[str, str] = {}  # with `repeat`, the thumbnails that may be hung again
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def loose(self) -> dict[str, str]:
        """The thumbnails that only dialogs show: key → data URI."""
        return dict(self._loose)

    def prepare(self, paths: Iterable[str]) -> None:
        """Make the thumbnails of these paths on several threads, as many as fit, for `hang`."""
        new = [
            path
            for path in dict.fromkeys(paths)
            if path not in self._keys and path not in self._problems
        ]
        for path, (source, problem) in zip(
            new, map_ahead(self._draw, new[: MOST_IMAGES - len(self)]), strict=False
        ):
            self._keep(path, source, problem)

    def hang(self, path: str, *lines: str) -> Shot:
        """An image for a gallery. Its thumbnail is embedded here unless an earlier gallery has it."""
        shot = self.file(path, *lines)
        source = self._loose.pop(shot.key, "")
        if source and self._repeat:
            self._hung[shot.key] = source
        elif not source and (again := self._hung.get(shot.key, "")) and self._bytes < MOST_BYTES:
            self._bytes += len(again)
            return Shot(path, lines, "", again)
        return Shot(path, lines, shot.key, source, shot.problem)

    def file(self, path: str, *lines: str) -> Shot:
        """An image for a dialog: the thumbnail is looked up by its key."""
        if path not in self._keys and path not in self._problems:
            if self._is_full:
                self._problems[path] = "not shown: the page is full"
            else:
                self._keep(path, *self._draw(path))
        return Shot(path, lines, self._keys.get(path, ""), "", self._problems.get(path, ""))

    @property
    def _is_full(self) -> bool:
        return len(self._keys) >= MOST_IMAGES or self._bytes >= MOST_BYTES

    def _draw(self, path: str) -> tuple[str, str]:
        """The thumbnail as a data URI, or why there is none."""
        try:
            data = self._read(path)
        except UserError as error:  # a store that is gone costs the pictures, not the page
            return "", error.message
        if not isinstance(data, bytes):
            return "", visible(data.status)
        digest = hashlib.sha256(data).digest()  # pages show copies side by side: one is decoded
        if digest not in self._drawn:
            pixels = (decoded := decode(data, rules=self._rules)).pixels
            if pixels is None:
                return "", visible(decoded.status)
            jpeg = base64.b64encode(encode_thumbnail(pixels, SIDE_PX)).decode()
            self._drawn[digest] = f"data:image/jpeg;base64,{jpeg}"
        return self._drawn[digest], ""

    def _keep(self, path: str, source: str, problem: str) -> None:
        if problem:
            self._problems[path] = problem
        elif not self._is_full:
            self._keys[path] = key = str(len(self._keys))
            self._loose[key] = source
            self._bytes += len(source)
