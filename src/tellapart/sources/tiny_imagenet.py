"""The layout of Tiny ImageNet: train/<id>/images, val/val_annotations.txt and words.txt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tellapart.catalog.files import READ_IT, Tree
from tellapart.catalog.names import escape
from tellapart.catalog.table import Catalog
from tellapart.errors import UserError, reason_of
from tellapart.sources.entries import Entry, catalog_of_walk
from tellapart.sources.walk import Walk

_TEXT_BYTES = 2**28  # the most that is read of a list beside the images


def read_tiny_imagenet(walk: Walk) -> Catalog:
    """The catalog of the layout; val is the test set, as its test images have no labels.

    Raises:
        UserError: a line of the annotations is broken.
    """
    ids = walk.folders("train")
    names = _readable_names(walk.tree, ids)
    places = {f"train/{wnid}": names[wnid] for wnid in ids}
    entries = [Entry(path, places[place], "train") for place, path in walk.files(*places)]
    inside = "val/val_annotations.txt"
    annotations = f"{inside} of {walk.tree.name}"
    label_of = {}
    for number, line in enumerate(_lines(walk.tree, inside), 1):
        fields = line.split("\t")
        if len(fields) < 2:
            raise UserError(
                f"{annotations}, line {number}: a file name, a tab and a class id are wanted.",
                "Download it again.",
            )
        if fields[1] not in names:
            raise UserError(
                f"{annotations}, line {number}: class {fields[1]!r} has no folder in train.",
                "Add its training images, or take the line out.",
            )
        label_of[f"val/images/{escape(fields[0])}"] = names[fields[1]]
    entries += [Entry(path, name, "test") for path, name in label_of.items()]
    beside = [path for _, path in walk.files("val", *({"test"} & set(walk.folders(""))))]
    unlabelled = Counter(path.split("/")[0] for path in beside if path not in label_of)
    walk.ignore("images without a label in test/", unlabelled["test"])
    walk.ignore("files in val/ without a label", unlabelled["val"])
    source = (
        "the Tiny ImageNet layout; val_annotations.txt is the test set, any val is cut from train"
    )
    return catalog_of_walk(walk, source, sorted(names.values()), entries)


def _readable_names(tree: Tree, ids: Sequence[str]) -> dict[str, str]:
    """Class id → the first of its names in words.txt, or the id itself where there is none.

    Names that several classes share get the id in brackets.
    """
    names = dict.fromkeys(ids, "")
    if tree.is_file("words.txt"):
        pairs = (line.split("\t", 1) for line in _lines(tree, "words.txt") if "\t" in line)
        names |= {wnid: text.split(",")[0].strip() for wnid, text in pairs if wnid in names}
    counts = Counter(names.values())
    shared = {wnid: f"{name} ({wnid})" for wnid, name in names.items() if counts[name] > 1}
    return {wnid: shared.get(wnid, name) if name else wnid for wnid, name in names.items()}


def _lines(tree: Tree, path: str) -> list[str]:
    try:
        text = tree.open(path).read(0, _TEXT_BYTES).decode("utf-8-sig", "replace")
    except OSError as error:
        raise UserError(
            f"{path} of {tree.name} cannot be read ({reason_of(error)}).", READ_IT
        ) from None
    return [line for line in text.split("\n") if line.strip()]
