"""Questions about paths that never raise.

`Path.exists` and the like raise where a name is too long or a folder is not permitted; `os.path`
answers no. It is also several times faster, which counts for 100,000 strings.
"""

from __future__ import annotations

import os
from os import PathLike


def exists(path: str | PathLike[str]) -> bool:
    """Whether there is anything of this path; a link that leads nowhere is nothing."""
    return os.path.exists(path)


def is_file(path: str | PathLike[str]) -> bool:
    """Whether there is a file of this path; a link counts as what it leads to."""
    return os.path.isfile(path)


def is_folder(path: str | PathLike[str]) -> bool:
    """Whether there is a folder of this path; a link counts as what it leads to."""
    return os.path.isdir(path)


def can_list(folder: str | PathLike[str]) -> bool:
    """Whether the user may see what lies in a folder."""
    return os.access(folder, os.R_OK | os.X_OK)
