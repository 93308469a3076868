"""A folder in a store as a tree: it is listed once, and its objects are read by their addresses.

The listing gives the size, the ETag and the time of each object. So an object that has not changed
is known without reading it.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from threading import Lock
from typing import Any

from tellapart.catalog.files import Item, Store
from tellapart.catalog.names import escape, unescape
from tellapart.decoding import Decoded
from tellapart.errors import UserError, one_line
from tellapart.sources.stores import CHECK, fetched, opened, verdict_of
from tellapart.threads import map_ahead

# A store answers one request slowly, and many at once.
THREADS = 16
# What stores call the mark of a content, and the time at which an object was written.
_MARKS = ("ETag", "etag", "md5Hash", "generation")
_TIMES = ("LastModified", "last_modified", "mtime", "updated", "created")


class Listing:
    """What lies in the folders of a store: folder → name → stamp. Any thread may ask.

    An object takes about 200 bytes of memory, in place of the record that fsspec makes of it.

    Args:
        address: of the folder that paths start from.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._folders: dict[str, dict[str, str] | OSError] = {}
        self._lock = Lock()
        self._opened: tuple[Any, str] | None = None

    def place(self, path: str) -> tuple[Any, str]:
        """The file system of fsspec, and the place of a path in it.

        Raises:
            UserError: the package of the store is missing.
        """
        if self._opened is None:
            files, top = opened(f"{self.address}/")
            files.invalidate_cache()  # of an earlier listing in this process, by which it is old
            self._opened = files, top.rstrip("/")
        files, top = self._opened
        return files, f"{top}/{path}" if top and path else top or path

    def of(self, folder: str) -> Mapping[str, str]:
        """Name → stamp of what lies in a folder. The stamp of a folder is "/".

        Raises:
            FileNotFoundError: there is no such folder.
            PermissionError: the store does not let it be listed.
            UserError: the store does not answer, or its package is missing.
        """
        above, _, name = folder.rpartition("/")
        beside = self._folders.get(above)
        if folder and isinstance(beside, dict) and beside.get(name) != "/":
            raise FileNotFoundError(f"{folder} is not in {self.address}")
        if folder not in self._folders:
            with self._lock:  # so that no folder is listed by two threads
                if folder not in self._folders:
                    self._folders[folder] = self._asked(folder)
        found = self._folders[folder]
        if isinstance(found, OSError):
            raise found.with_traceback(None)  # it would grow with each time
        return found

    def take(self, folders: Iterable[str], *, below: bool = False) -> None:
        """List folders, many at a time.

        Args:
            folders: their paths.
            below: whether those in them are listed too, however deep.

        Raises:
            UserError: the store does not answer, or its package is missing.
        """
        waiting = [folder for folder in folders if folder not in self._folders]
        while waiting:
            deeper = []
            with closing(map_ahead(self._asked, waiting, workers=THREADS)) as answers:
                for folder, found in zip(waiting, answers, strict=True):
                    self._folders[folder] = found
                    if not isinstance(found, OSError):
                        prefix = f"{folder}/" if folder else ""
                        deeper += [prefix + name for name, stamp in found.items() if stamp == "/"]
            waiting = deeper if below else []

    def _asked(self, folder: str) -> dict[str, str] | OSError:
        """What lies in a folder, or why that cannot be known."""
        files, place = self.place(folder)
        try:
            found = files.ls(place, detail=True)
        except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
            return error
        except Exception as error:
            where = f"{self.address}/{folder}" if folder else self.address
            raise UserError(f"{where} cannot be listed ({one_line(error)}).", CHECK) from error
        finally:
            files.invalidate_cache()  # it would hold several times what is kept here
        names: dict[str, str] = {}
        for info in found:
            full = str(info["name"]).strip("/")
            name = full.rpartition("/")[2]
            if full == place.strip("/"):  # the mark of an empty folder
                continue
            is_folder = info["type"] == "directory" or str(info["name"]).endswith("/")
            if is_folder or name not in names:  # an object may have the name of a folder
                names[name] = "/" if is_folder else _stamp(info)
        return names


def _stamp(info: Mapping[str, Any]) -> str:
    """Size, mark and time of an object; "" where only the size is known."""
    mark = next((str(info[key]) for key in _MARKS if info.get(key)), "")
    written = next((info[key] for key in _TIMES if info.get(key)), None)
    if isinstance(written, str):
        try:
            written = datetime.fromisoformat(written)
        except ValueError:
            written = None
    time = written.timestamp() if isinstance(written, datetime) else written
    if not (mark or isinstance(time, int | float)):
        return ""
    # Last, so that the time can be taken from the text.
    return f"{info['size']} {mark} {time if isinstance(time, int | float) else 0.0}"


@dataclass(frozen=True)
class StoreFolder:
    """Objects below an address, as files in folders: a `Tree`. Any thread may read.

    Args:
        address: of the folder, without "/" at its end. "s3:/" stands for a whole store.
        inside: the folder in it that paths start from.
        listing: what was listed of it.
    """

    address: str
    inside: str = ""
    listing: Listing = field(default=None, compare=False, repr=False)  # type: ignore[assignment]

    threads = THREADS  # that read it at once

    def __post_init__(self) -> None:
        if self.listing is None:
            object.__setattr__(self, "listing", Listing(self.address))

    def __reduce__(self) -> tuple[Any, ...]:
        """To a worker goes the address alone."""
        return StoreFolder, (self.address, self.inside)

    def entered(self, folder: str) -> StoreFolder:
        """One of the folders in it."""
        return StoreFolder(self.address, self._full(folder), self.listing)

    def anew(self) -> StoreFolder:
        """The same folder, to be listed again."""
        return StoreFolder(self.address, self.inside)

    @property
    def place(self) -> str:
        """The address of the folder that paths start from."""
        return self.at("")

    @property
    def name(self) -> str:
        """The same."""
        return self.place

    @property
    def ignored(self) -> Mapping[str, int]:
        """Nothing: objects are passed over when they are listed."""
        return {}

    def at(self, path: str) -> str:
        """The address of a path."""
        full = self._full(path)
        return f"{self.address}/{full}" if full else self.address

    def read(self, path: str) -> bytes | Decoded:
        """The bytes of one object, by one request.

        Raises:
            UserError: the store does not answer, or its package is missing.
        """
        files, place = self.listing.place(self._full(path))
        try:
            return fetched(files, place)
        except (FileNotFoundError, PermissionError) as error:
            return verdict_of(error)
        except Exception as error:
            self._require_answer(files, place, path, error)
        try:
            return fetched(files, place)
        except Exception as error:
            return verdict_of(error)

    def stamp(self, path: str) -> tuple[str, float]:
        """Size, ETag and time of an object, as the store lists them. A folder is listed once."""
        inside, _, name = self._full(path).rpartition("/")
        try:
            text = self.listing.of(inside).get(name, "")
        except OSError:  # there is no such folder, or it must not be listed
            text = ""
        return (text, float(text.rpartition(" ")[2])) if text not in ("", "/") else ("", 0.0)

    def take_listing(self) -> None:
        """List the folder and all below it, many folders at a time.

        Raises:
            UserError: nothing is there, it must not be listed, or the store does not answer.
        """
        self.listing.take([self.inside], below=True)
        try:
            self.listing.of(self.inside)
        except FileNotFoundError as error:
            words = one_line(error)
            why = "" if words in self.place else f" ({words})"  # some give the address alone
            raise UserError(
                f"There is nothing at {self.place}{why}.",
                "Check the names of the bucket and of the folder.",
            ) from None
        except OSError as error:
            raise UserError(f"{self.place} cannot be listed ({one_line(error)}).", CHECK) from error

    def list(self, inside: str) -> list[Item]:
        """What lies in a folder."""
        found = self.listing.of(self._full(inside))
        return [Item(escape(name), stamp == "/") for name, stamp in found.items()]

    def is_file(self, path: str) -> bool:
        """Whether there is an object of this path."""
        inside, _, name = self._full(path).rpartition("/")
        try:
            return self.listing.of(inside).get(name, "/") != "/"
        except OSError:
            return False

    def real(self, path: str) -> str:
        """The path itself: a store has no links."""
        return os.path.join(os.sep, *self._full(path).split("/"))

    def open(self, path: str) -> Store:
        """One object, whatever it holds. Each reading is a request."""
        files, place = self.listing.place(self._full(path))

        def read_at(at: int, count: int) -> bytes:
            try:
                return bytes(files.cat_file(place, start=at, end=at + count)) if count else b""
            except OSError:
                raise
            except Exception as error:
                raise OSError(one_line(error)) from error

        try:
            size = int(files.info(place)["size"])
        except OSError:
            raise
        except Exception as error:
            raise OSError(one_line(error)) from error
        return Store(size, read_at)

    def missing(self, paths: Collection[str]) -> int:
        """How many paths have no object. Where a folder must not be listed, there may be one."""
        self.listing.take({self._full(path).rpartition("/")[0]: None for path in paths})
        return sum(map(self._is_missing, paths))

    def _is_missing(self, path: str) -> bool:
        inside, _, name = self._full(path).rpartition("/")
        try:
            return self.listing.of(inside).get(name, "/") == "/"
        except OSError as error:
            return not isinstance(error, PermissionError)

    def _require_answer(self, files: Any, place: str, path: str, error: Exception) -> None:
        """See that the store answers at all: else a run would go on without most images."""
        try:
            files.info(place)
        except (FileNotFoundError, PermissionError):
            return
        except Exception:
            raise UserError(
                f"{self.at(path)} cannot be read, since the store does not answer"
                f" ({one_line(error)}).",
                "Check the connection, and run the command again: what was read is remembered.",
            ) from error

    def _full(self, path: str) -> str:
        plain = unescape(path)
        return f"{self.inside}/{plain}" if self.inside and plain else self.inside or plain
