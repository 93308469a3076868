"""Edited copies, linked before the images are divided: the embeddings of a training propose them."""

from __future__ import annotations

import hashlib

import numpy as np

from tellapart.catalog.duplicates import ThumbnailMemory, different_images, thumbnail_array
from tellapart.catalog.table import Catalog
from tellapart.catalog.unions import united
from tellapart.phrases import count_of
from tellapart.probe.embeddings import FeatureExtractor, ScannedEmbeddings

_VERSION = 1  # of the search. Raise it when the same images may get other pairs.
BLOCK = 20_000  # images compared with each other: more would take minutes
_LEFT = -1  # stands in the first column of the row that says how many pairs were left


def link_edited_copies(
    catalog: Catalog, features: FeatureExtractor, memory: ThumbnailMemory
) -> Catalog:
    """The catalog with its column `copies`: images that are others turned by a few degrees, cropped
    or recoloured share their number.

    Args:
        catalog: scanned, with near-duplicates linked.
        features: that saw each image during the scan.
        memory: keeps thumbnails, and what was found before.
    """
    rows = different_images(catalog)
    if len(rows) < 3:
        return catalog
    labels = ",".join(map(str, catalog.labels[rows]))
    names = "".join((*catalog.digests[rows], labels, features.graph_digest, f"edited {_VERSION}"))
    key = hashlib.sha256(names.encode()).hexdigest()
    kept = memory.recall_pairs(key)
    if kept is None:
        from tellapart.probe.edited import edited_copies  # torch, which kept pairs do not need

        thumbnails = thumbnail_array(catalog, rows, memory)
        _, first, place = np.unique(catalog.copies[rows], return_index=True, return_inverse=True)
        _, classes = np.unique(catalog.labels[rows], return_inverse=True)
        embedded = ScannedEmbeddings(features, catalog, rows)
        found = edited_copies(embedded, thumbnails, classes, first[place], block=BLOCK)
        kept = np.concatenate([found.pairs, [[_LEFT, found.left]]])
        memory.remember_pairs(key, kept)
    pairs, left = kept[kept[:, 0] != _LEFT], int(kept[kept[:, 0] == _LEFT, 1].sum())
    known = [*enumerate(catalog.copies.tolist()), *rows[pairs].tolist()]
    remarks = (*catalog.remarks, *_remarks(len(rows), left))
    return catalog.replace(copies=united(len(catalog), known), remarks=remarks)


def _remarks(count: int, left: int) -> list[str]:
    """What was not compared, a sentence each."""
    remarks = []
    if count > BLOCK:
        remarks.append(
            f"Copies that are turned by a few degrees, cropped or recoloured were looked for in"
            f" blocks of {BLOCK:,} images that are alike, not across them. Name what belongs"
            " together with --group-by."
        )
    if left:
        pairs = count_of(left, "pair of images is", "pairs of images are")
        remarks.append(
            f"{pairs} alike to the network and were not compared by pixels, as there are so many."
            " Copies among them may lie in different splits. Name what belongs together with"
            " --group-by."
        )
    return remarks
