"""Where the cache is."""

from __future__ import annotations

import os
from pathlib import Path

from tellapart.home import temporary_folder, user_path

_NOWHERE = Path(os.devnull, "tellapart")  # no folder can be made there, so all stays in memory
_KEEP = "Set TELLAPART_CACHE to a folder that you may write to."


def cache_folder() -> Path:
    """The folder that keeps embeddings, scans and exported networks: $TELLAPART_CACHE, or the one
    that the system has for the user. Without a home folder it is a temporary one.
    """
    return _folder_of_user() or _temporary()


def cache_remark() -> str:
    """What to tell a user for whom nothing is kept until the next time; "" where all is well."""
    folder = _folder_of_user()
    if folder is None:
        return f"No home folder is known, so nothing is kept for the next time. {_KEEP}"
    if not _can_write(folder):
        return f"Nothing can be written to the cache in {folder}. {_KEEP}"
    return ""


def _folder_of_user() -> Path | None:
    if named := os.environ.get("TELLAPART_CACHE"):
        return user_path(named)
    import platformdirs

    try:
        folder = Path(platformdirs.user_cache_dir("tellapart", appauthor=False))
    except RuntimeError:  # there is no home folder; older releases leave the ~ in the path
        return None
    return folder if folder.is_absolute() else None


def _temporary() -> Path:
    try:
        return temporary_folder()
    except OSError:  # there is no folder for temporary files either
        return _NOWHERE


def _can_write(folder: Path) -> bool:
    """Whether files can be written to a folder, or it can be made."""
    nearest = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    return nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)
