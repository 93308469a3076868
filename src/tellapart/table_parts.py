"""A table as a folder of Parquet files, with a manifest that says of what work they are.

    answers/
    ├── manifest.json          what it is made by, its rows, and the digest of each part
    ├── part-00000.parquet
    └── part-00001.parquet

Each file is written whole, so work that was stopped goes on behind the last part that is in the
manifest. Parts have the same rows whether the work was stopped or not.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

from tellapart.errors import Refused, UserError, reason_of
from tellapart.home import user_path
from tellapart.table_file import BEGIN_ANEW, Origin, TableFile, check_origin, read_origin
from tellapart.table_writers import frame_rows, rows_in_memory, write_frame
from tellapart.tables import Columns, Row, check_table_name, need_parquet, to_frame
from tellapart.writing import write_whole

MANIFEST = "manifest.json"
_PART = re.compile(r"part-\d{5,}\.parquet")


Table: TypeAlias = "TableFile | TableParts"


def check_out(out: str | os.PathLike[str]) -> None:
    """Refuse, before any work, a table that could not be written after it."""
    if _is_folder(out):
        need_parquet()
    else:
        check_table_name(user_path(out))


def open_table(
    out: str | os.PathLike[str], columns: Columns, origin: Origin, *, resume: bool
) -> Table:
    """The table that a user names: parts where the name ends in / or is a folder, else a file."""
    path = user_path(out)
    if _is_folder(out):
        return TableParts(path, columns, origin=origin, resume=resume)
    return TableFile(path, columns, origin=origin, resume=resume)


def _is_folder(out: str | os.PathLike[str]) -> bool:
    return os.fspath(out).endswith(("/", os.sep)) or user_path(out).is_dir()


def own_files(out: str | os.PathLike[str]) -> Callable[[object], bool]:
    """Whether a path is that of the table, or of what lies beside it while it is written."""
    table = os.path.abspath(user_path(out))
    files = (table, f"{table}.part", f"{table}.part.json")
    folder = table if _is_folder(out) else f"{table}.parts"

    def is_own(value: object) -> bool:
        if not isinstance(value, str | os.PathLike):
            return False
        path = os.path.abspath(os.fspath(value))
        if not path.startswith(table):  # nearly all
            return False
        inside, name = os.path.split(path)
        return path in files or (inside == folder and (folder != table or _is_ours(name)))

    return is_own


class TableParts:
    """A table that grows by whole files in a folder.

    Args:
        path: the folder. It is made where there is none.
        columns: name → type of its cells. A column "status" is counted in the manifest.
        origin: what the rows are made by.
        resume: go on with the parts that are there. `kept` must be read to its end before a row is
            added.

    Raises:
        UserError: the folder holds other files, or what is there has another origin.
    """

    def __init__(
        self, path: Path, columns: Columns, *, origin: Origin, resume: bool = False
    ) -> None:
        self.path = self.part = path
        self.rows = 0
        self.is_whole = False
        self._columns, self._size = columns, rows_in_memory(columns)
        self._of = {**origin, "rows_per_part": self._size}
        self._parts: list[dict[str, Any]] = []
        self._statuses: Counter[str] = Counter()
        self._held: list[Row] = []
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._check_folder()
            if resume and (path / MANIFEST).exists():
                self._take_up(read_origin(path / MANIFEST))
            else:
                self._begin()
        except OSError as error:
            raise UserError(
                f"{path} could not be written ({reason_of(error)}).",
                "Choose a folder that you may write to.",
            ) from error

    @property
    def saved(self) -> int:
        """How many rows stay where they are if the work ends here."""
        return sum(part["rows"] for part in self._parts)

    def _check_folder(self) -> None:
        ours = self.path / MANIFEST
        others = [file.name for file in self.path.iterdir() if not _is_ours(file.name)]
        if others or (any(self.path.iterdir()) and not ours.exists()):
            name = min(others, default="parts without a manifest")
            raise UserError(
                f"{self.path} holds other files already: {name}.",
                "Name a new folder, or one that holds an earlier table in parts.",
            )

    def _begin(self) -> None:
        # The manifest goes first: without it, no part counts.
        self._write_manifest(complete=False)
        for file in self.path.iterdir():
            if _PART.fullmatch(file.name):
                file.unlink()

    def _take_up(self, manifest: Origin) -> None:
        check_origin(self.path, manifest, self._of)
        self._parts = list(manifest["parts"])
        self.is_whole = bool(manifest["complete"])

    def kept(self) -> Iterator[Row]:
        """The rows of the parts, one by one. Each is then counted in `rows`.

        Raises:
            Refused: a part is missing, or is not as it was written.
        """
        for part in self._parts:
            self._check(part)
            for row in frame_rows(self.path / part["file"], self._size):
                self._count(row)
                yield row

    def _check(self, part: dict[str, Any]) -> None:
        file = self.path / part["file"]
        try:
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
        except FileNotFoundError:
            digest = ""
        if digest != part["sha256"]:
            raise Refused(f"{file} is not as it was written, or is missing.", BEGIN_ANEW)

    def add(self, row: Row) -> None:
        """Hold a row until there are enough for a part.

        Raises:
            Refused: the disk is full. The parts so far stay.
        """
        self._held.append(row)
        self._count(row)
        if len(self._held) == self._size:
            self._write_part()
            self._write_manifest(complete=False)

    def _count(self, row: Row) -> None:
        self.rows += 1
        if row.get("status"):
            self._statuses[row["status"]] += 1

    def _write_part(self) -> None:
        name = f"part-{len(self._parts):05}.parquet"
        data = write_frame(self.path / name, to_frame(self._held, self._columns))
        digest = hashlib.sha256(data).hexdigest()
        self._parts.append({"file": name, "rows": len(self._held), "sha256": digest})
        self._held = []

    def _write_manifest(self, *, complete: bool) -> None:
        manifest = {
            **self._of,
            "complete": complete,
            "rows": self.saved,
            "statuses": dict(sorted(self._statuses.items())),
            "parts": self._parts,
        }
        write_whole(self.path / MANIFEST, json.dumps(manifest, indent=1) + "\n")

    def __enter__(self) -> TableParts:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind or self.is_whole:
            return
        if self._held or not self._parts:
            self._write_part()
        self._write_manifest(complete=True)


def _is_ours(name: str) -> bool:
    """Whether a file is one of the table, or what a write of one left when it was killed."""
    return name == MANIFEST or bool(_PART.fullmatch(name)) or name.endswith(".part")
