"""The user's home folder: what `~` stands for in a path, and what to do where there is none.

A container with a user number of its own, a systemd unit and a cron job may all run without a home:
HOME is not set, and the system has no entry for the user.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from functools import cache
from os import PathLike
from pathlib import Path

from tellapart.errors import UserError

# Where libraries that fetch weights keep them, in a home folder unless these are set.
_LIBRARY_CACHES = {"HF_HOME": "huggingface", "TORCH_HOME": "torch"}


def user_path(path: str | PathLike[str]) -> Path:
    """A path as the user writes it, with `~` and `~USER` replaced by a home folder.

    The shell does so only where a word begins with it, so not in `--out=~/runs`. A file that is
    really called `~USER` is taken as it is; one called `~` can be named as `./~`.

    Raises:
        UserError: the path begins with `~`, and no home folder is known.

    >>> import os
    >>> user_path("photos/~old").as_posix()
    'photos/~old'
    >>> user_path("~/photos") == Path(os.path.expanduser("~")) / "photos"
    True
    """
    plain = Path(path)
    first = plain.parts[0] if plain.parts else ""
    if not first.startswith("~") or (first != "~" and os.path.lexists(plain)):
        return plain
    expanded = Path(os.path.expanduser(plain))
    if first == "~" and expanded == plain:
        raise UserError(
            f"{plain} begins with ~, and no home folder is known.",
            "Write the whole path, or set HOME.",
        )
    return expanded


def has_home() -> bool:
    """Whether the user has a home folder that a path can begin with."""
    return os.path.isabs(os.path.expanduser("~"))


@cache
def temporary_folder() -> Path:
    """A folder that is removed when this process ends."""
    folder = tempfile.mkdtemp(prefix="tellapart-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def give_libraries_a_home() -> None:
    """Keep libraries from making a folder called `~` where no home folder is known.

    They read these variables when they are imported.
    """
    if not has_home():
        for variable, name in _LIBRARY_CACHES.items():
            os.environ.setdefault(variable, str(temporary_folder() / name))
