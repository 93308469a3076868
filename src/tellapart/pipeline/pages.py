"""What verbs that write a page share: where it goes, when it was made, and the line on its data."""

from __future__ import annotations

from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path

from tellapart.catalog.names import escape
from tellapart.catalog.table import SPLITS, Catalog
from tellapart.errors import UserError
from tellapart.home import user_path
from tellapart.phrases import count_of, in_words
from tellapart.report.parts.wording import timestamp
from tellapart.writing import write_whole

__all__ = ["WithPage", "check_page", "source_line", "splits_line", "timestamp", "write_page"]

_GENERATOR = b'name="generator" content="tellapart"'


@dataclass(frozen=True, kw_only=True)
class WithPage:
    """A result that has an HTML page.

    Args:
        html: the page, one self-contained document.
        page: where it was written; None where no file was asked for.
    """

    html: str = field(repr=False)
    page: Path | None = None

    @property
    def escaped_page(self) -> str | None:
        """Where the page was written, as JSON holds a path."""
        return None if self.page is None else escape(str(self.page))

    def save(self, path: str | PathLike[str]) -> Path:
        """Write the page; returns where.

        Raises:
            UserError: the path is a folder, or a file that was not written by tellapart.
        """
        page = user_path(path)
        check_page(page)
        write_whole(page, self.html)
        return page


def check_page(out: str | PathLike[str] | None) -> None:
    """Refuse, before any work, a page that would replace somebody else's file.

    Args:
        out: where the page is wanted. None means that no file is written.

    Raises:
        UserError: it is a folder, or a file that was not written by tellapart.
    """
    if out is None:
        return
    page = user_path(out)
    if page.is_dir():
        raise UserError(
            f"{page} is a folder.", f"Name a file in it, for example {page / 'page.html'}."
        )
    if page.exists() and _GENERATOR not in page.read_bytes()[:4096]:
        raise UserError(
            f"{page} is there already, and is no page of ours.",
            "Choose another name with --out.",
        )


def write_page(out: str | PathLike[str] | None, html: str) -> Path | None:
    """Write a page whole where it is wanted; returns its path."""
    if out is None:
        return None
    page = user_path(out)
    write_whole(page, html)
    return page


def splits_line(catalog: Catalog) -> str:
    """How many images each split has, and which splits the data itself names."""
    counts = [f"{len(catalog.split(split)):,} {split}" for split in SPLITS]
    given = [split for split in SPLITS if (catalog.given_splits == split).any()]
    named = f"; the data itself names {in_words(given)}" if given else ""
    return f"Split into {in_words(counts)} images{named}"


def source_line(name: str, catalog: Catalog) -> str:
    """How the data was recognised, and how much of it there is."""
    files = count_of(len(catalog), "file")
    classes = count_of(len(catalog.classes), "class", "classes")
    return f"{name}: {catalog.source}; {files}, {classes}"
