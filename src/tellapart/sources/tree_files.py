"""The files of a tree: all of them, or those near its top, where containers and exports lie."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from tellapart.catalog.files import Item, Tree
from tellapart.catalog.names import is_junk
from tellapart.sources.folder_names import annotations_beside

_MAX_FOLDERS = 24  # in one folder, that are looked into
_MAX_DEPTH = 3


def files_near_the_top(tree: Tree) -> list[str]:
    """The paths of the files in the folders near the top, folder by folder. Links to folders are
    not followed, nor are many folders in one: they are classes.
    """
    found, waiting = [], [("", 0)]
    while waiting:
        inside, depth = waiting.pop(0)
        prefix = f"{inside}/" if inside else ""
        folders = []
        for item in items_in(tree, inside):
            if not item.folder:
                found.append(prefix + item.name)
            elif not item.link:
                folders.append((prefix + item.name, depth + 1))
        if depth < _MAX_DEPTH and len(folders) <= _MAX_FOLDERS:
            waiting += folders
    return found


def all_files(tree: Tree) -> Iterator[str]:
    """The paths of all files of a tree that are no junk. Links to folders are not followed."""
    return chain.from_iterable(files_by_folder(tree))


def files_by_folder(tree: Tree, *, annotations: bool = True) -> Iterator[list[str]]:
    """The paths of all files of a tree that are no junk, a list a folder.

    Links to folders are not followed, as they may lead round in circles.

    Args:
        tree: a folder on disk, or an archive.
        annotations: whether folders of masks and the like beside images are entered too.
    """
    waiting = [""]
    while waiting:
        inside = waiting.pop()
        prefix = f"{inside}/" if inside else ""
        items = items_in(tree, inside)
        folders = [item.name for item in items if item.folder and not item.link]
        if not annotations:
            masks = annotations_beside([item.name for item in items if item.folder])
            folders = [name for name in folders if name not in masks]
        yield [prefix + item.name for item in items if not item.folder]
        waiting += [prefix + name for name in folders]


def items_in(tree: Tree, inside: str) -> list[Item]:
    """What lies in a folder, sorted by name, without junk. Nothing where it cannot be listed."""
    try:
        items = sorted(tree.list(inside))
    except OSError:
        return []
    return [item for item in items if not is_junk(item.name, folder=item.folder)]
