"""One look at what lies in a folder or an archive, before it is called unusable.

Every reader of a kind of source says how many images it can label. The one that labels most is
taken. Where two label about as many and disagree, and where none labels any, the user is told what
was found, and the command for each reading.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence

from tellapart.catalog.files import Tree
from tellapart.catalog.table import Catalog
from tellapart.errors import UserError
from tellapart.phrases import count_of
from tellapart.sources.containers.array_layout import read_arrays
from tellapart.sources.containers.arrays import find_arrays, refuse_pickles
from tellapart.sources.containers.container import container_candidates
from tellapart.sources.exports.export import detection_candidates
from tellapart.sources.layouts import NoClassFolders, folder_candidates
from tellapart.sources.reading import Candidate, Reading, refuse_columns
from tellapart.sources.tables.search import table_candidates
from tellapart.sources.tiny_imagenet import read_tiny_imagenet
from tellapart.sources.tree_files import all_files, files_near_the_top
from tellapart.sources.walk import Walk, is_image_name

# Of the images of the best reading. Another one that labels less is passed over, and told.
RIVAL_SHARE = 0.5
_MOST_PREFIXES = 50


def read_tree(tree: Tree, reading: Reading) -> Catalog:
    """The catalog of a folder or an archive, by the reading that labels most of its images.

    Raises:
        UserError: no reading labels any, two disagree, or the classes of the best cannot work.
    """
    walk = Walk(tree)
    if reading.label_by is None and not reading.names_columns:
        if arrays := find_arrays(tree, walk.names("")):
            return read_arrays(walk, arrays)
        for name in walk.folders(""):
            if name in ("cifar-10-batches-py", "cifar-100-python"):
                refuse_pickles(f"{tree.name} holds Python pickles in {name}/")
        if tree.is_file("val/val_annotations.txt") and "train" in walk.folders(""):
            return read_tiny_imagenet(walk)
    candidates = list(_candidates(tree, reading))
    labelling = [candidate for candidate in candidates if candidate.labelled]
    if not candidates:
        refuse_columns(tree.name, reading)
    if not labelling:
        return _without_labels(tree, candidates)
    # Of two that label as many, the later one: by folders, which the user sees without a program.
    best = max(reversed(labelling), key=lambda candidate: candidate.labelled)
    others = [candidate for candidate in labelling if candidate is not best]
    return _against(tree, best, others)


def _candidates(tree: Tree, reading: Reading) -> Iterator[Candidate]:
    """All readings, the ones with marks of their own before those by folders."""
    near = files_near_the_top(tree)
    if not reading.crops:
        yield from container_candidates(Walk(tree), reading, near)
    yield from detection_candidates(Walk(tree), reading, near)
    if reading.crops:
        return
    yield from table_candidates(Walk(tree), reading)
    if reading.names_columns:
        return
    yield from folder_candidates(tree, reading)


def _against(tree: Tree, best: Candidate, others: Sequence[Candidate]) -> Catalog:
    """The catalog of the best reading, once no other disagrees that labels about as many."""
    catalog = best.read()
    remarks = []
    for other in others:
        if other.labelled < RIVAL_SHARE * best.labelled:
            remarks.append(
                f"{other.what[:1].upper()}{other.what[1:]} labels only"
                f" {count_of(other.labelled, 'image')} and is not used. To use it, give"
                f" {other.command}."
            )
            continue
        try:
            rival = other.read()
        except UserError as error:
            remarks.append(f"{other.what} is not used: {error}")
            continue
        if not _agree(catalog, rival):
            raise UserError(
                f"{tree.name} can be read in two ways that disagree: as {best.what}, or as"
                f" {other.what}.",
                f"Say which: tellapart train {best.command}, or tellapart train {other.command}.",
            )
        if _states_more(rival, catalog):
            catalog = rival
    return catalog.replace(remarks=(*catalog.remarks, *remarks))


def _agree(one: Catalog, other: Catalog) -> bool:
    """Whether two readings put the images that both label into the same classes, by any names."""
    places = {_place(one, row): int(one.labels[row]) for row in range(len(one))}
    pairs = {
        (places[place], int(other.labels[row]))
        for row in range(len(other))
        if (place := _place(other, row)) in places
    }
    return len({pair[0] for pair in pairs}) == len({pair[1] for pair in pairs}) == len(pairs)


def _states_more(one: Catalog, other: Catalog) -> bool:
    """Whether a reading knows splits or groups of the same images where the other does not."""
    return len(one) >= len(other) and any(
        (getattr(one, column) != "").any() and not (getattr(other, column) != "").any()
        for column in ("given_splits", "groups")
    )


def _place(catalog: Catalog, row: int) -> str:
    return f"{catalog.files.place}/{catalog.paths[row]}"


def _without_labels(tree: Tree, candidates: Sequence[Candidate]) -> Catalog:
    """What the reading that knows most of the tree says of it; it seldom is a catalog.

    Raises:
        UserError: what lies there, and what to do with it.
    """
    try:
        return candidates[0].read()
    except NoClassFolders as error:
        paths = list(all_files(tree))
        found = ", ".join(f"{count:,} {kind}" for kind, count in _kinds(paths).items())
        text = f"{error.message} Found: {found}." if found else error.message
        raise UserError(text, _way_out(paths) or error.hint) from None


def _kinds(paths: Sequence[str]) -> dict[str, int]:
    """Kinds of file, by the ends of their names → how many there are."""
    counts = Counter(f"{os.path.splitext(path)[1].lower() or 'other'} files" for path in paths)
    return dict(counts.most_common(8))


def _way_out(paths: Sequence[str]) -> str:
    """What to add where the names of the images begin with what may be their classes, else ""."""
    names = [path.rpartition("/")[2] for path in paths if is_image_name(path)]
    words = label_words(names)
    if not words:
        return ""
    found = ", ".join(f"{word} ({count:,})" for word, count in words.items())
    return (
        f"The names of the images begin with {found}. If these are the classes, add"
        f" --label-by 'name:{_PREFIX}'."
    )


_PREFIX = r"^(.*?)[-_. ]*[0-9]"


def label_words(names: Sequence[str]) -> dict[str, int]:
    """The words that names begin with → how many do, where these look like classes.

    >>> label_words(["cat.0.jpg", "cat.1.jpg", "great_dane_1.jpg", "great_dane_2.jpg"])
    {'cat': 2, 'great_dane': 2}
    >>> label_words(["IMG_1.jpg", "IMG_2.jpg"])
    {}
    """
    found = [re.search(_PREFIX, os.path.splitext(name)[0] + "0") for name in names]
    counts = Counter(match[1] for match in found if match and match[1])
    fits = 2 <= len(counts) <= min(_MOST_PREFIXES, len(names) // 2) and min(counts.values()) > 1
    return dict(sorted(counts.items())) if fits else {}
