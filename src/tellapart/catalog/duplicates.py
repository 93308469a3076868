"""One image, however often it is there: identical files, and near-duplicates."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from tellapart.catalog.appearance import measure_appearance
from tellapart.catalog.files import unchanged_pixels
from tellapart.catalog.fitting import EXACT_UP_TO
from tellapart.catalog.near import near_duplicates
from tellapart.catalog.prints import PRINT_BYTES, prints_of
from tellapart.catalog.reshots import shots_of_scenes
from tellapart.catalog.shares import Tell, silent
from tellapart.catalog.table import Catalog
from tellapart.catalog.thumbnails import GREY_BYTES, THUMBNAIL_BYTES, batches, make_thumbnail
from tellapart.catalog.unions import united
from tellapart.phrases import count_of
from tellapart.scratch import scratch

CopiesKind = Literal["near", "exact", "off"]

_PLAIN = 1  # grey levels between the darkest and the lightest place of a thumbnail of one colour

_NOT_LOOKED_FOR = {
    "exact": (
        "Only files with the same bytes count as copies (--copies exact). Images that were saved"
        " again, resized or edited were not looked for, and may lie in different splits."
    ),
    "off": (
        "Copies were not looked for (--copies off). Even files with the same bytes may lie in"
        " different splits, and then the score is too good."
    ),
}

_IN_CELLS = (
    f"There are more than {EXACT_UP_TO:,} different images, so near-duplicates of each were looked"
    " for only among those that look most like it. A few may be missed, and may lie in different"
    " splits."
)


@dataclass(frozen=True)
class Copies:
    """One image that is there more than once.

    Args:
        rows: its rows in the catalog, two or more.
        exact: whether all hold the same bytes. Otherwise some are re-encoded, resized, slightly
            cropped, brightened, mirrored or turned.
        conflict: whether they carry different labels, so that at least one label is wrong.
    """

    rows: tuple[int, ...]
    exact: bool
    conflict: bool


class ThumbnailMemory(Protocol):
    """Thumbnails of the images of a scan, and the pairs among them that were found before;
    `cache.ScanMemory` is one.
    """

    def thumbnail_of(self, digest: str) -> bytes | None:
        """The thumbnail of an image of the scan. None means that it was lost."""

    def recall_pairs(self, key: str) -> NDArray[np.int64] | None:
        """The near-duplicates of a set of images."""

    def remember_pairs(self, key: str, pairs: NDArray[np.int64]) -> None:
        """Keep the near-duplicates of a set of images."""


def link_copies(
    catalog: Catalog,
    memory: ThumbnailMemory,
    kind: CopiesKind = "near",
    tell: Tell = silent,
) -> Catalog:
    """The scanned catalog with its column `copies`: near-duplicates share a number.

    Args:
        catalog: scanned.
        memory: keeps thumbnails, and what was found before.
        kind: which images count as copies of each other, as in `SplitOptions`.
        tell: is told the share of the search that is done.
    """
    if kind != "near":
        return catalog.replace(
            copies=np.arange(len(catalog)),
            identical_apart=kind == "off",
            remarks=(*catalog.remarks, _NOT_LOOKED_FOR[kind]),
        )
    rows = different_images(catalog)
    ranges = catalog.rules.key if catalog.rules.ranges else ""  # thumbnails hang on them
    key = hashlib.sha256("".join([ranges, *catalog.digests[rows]]).encode()).hexdigest()
    pairs = memory.recall_pairs(key)
    if pairs is None:
        thumbnails = thumbnail_array(catalog, rows, memory)
        shown = np.flatnonzero(~_is_faint(catalog, rows, thumbnails))
        found = near_duplicates(
            thumbnails, catalog.widths[rows], catalog.heights[rows], among=shown, tell=tell
        )
        # An image paired with itself is one that was not compared with all that look like it.
        pairs = np.concatenate([found.pairs, np.stack([found.uncompared] * 2, axis=1)])
        memory.remember_pairs(key, pairs)
    uncompared = int((pairs[:, 0] == pairs[:, 1]).sum())
    scenes = shots_of_scenes(catalog, rows, united(len(rows), pairs.tolist()))
    linked = rows[pairs]
    linked = linked[~np.isin(linked[:, 0], [row for scene in scenes for row in scene.tolist()])]
    remarks = (
        *catalog.remarks,
        *([_IN_CELLS] if len(rows) > EXACT_UP_TO else []),
        *([_uncompared(uncompared)] if uncompared else []),
        *([_shots(catalog, scenes)] if scenes else []),
    )
    copies = united(len(catalog), linked.tolist())
    return catalog.replace(copies=copies, identical_apart=False, remarks=remarks)


def _is_faint(
    catalog: Catalog, rows: NDArray[np.int64], thumbnails: NDArray[np.uint8]
) -> NDArray[np.bool_]:
    """(M,) which images show something, but so faintly that they look like each other: dark images
    of more than 8 bits, for example. One plain colour is not faint; it may be a placeholder.
    """
    faint = np.array(["low_contrast" in note.split(";") for note in catalog.notes[rows]], bool)
    faint[faint] = np.ptp(thumbnails[faint, :GREY_BYTES], axis=1) > _PLAIN
    return faint


def different_images(catalog: Catalog) -> NDArray[np.int64]:
    """The first usable row of each content, in the order of their hashes."""
    first = np.unique(catalog.digests[catalog.ok], return_index=True)[1]
    rows: NDArray[np.int64] = np.flatnonzero(catalog.ok)[first]
    return rows


def _uncompared(count: int) -> str:
    """The remark that copies among some images were not looked for."""
    images = count_of(count, "image looks", "images look")
    return (
        f"{images} like very many others, and not all of these were compared. Copies among them may"
        " lie in different splits. If they are copies, or frames of one scene, name what belongs"
        " together with --group-by."
    )


def _shots(catalog: Catalog, scenes: Sequence[NDArray[np.int64]]) -> str:
    """The remark that some images look alike but are no copies."""
    images = count_of(sum(map(len, scenes)), "image looks", "images look")
    first, second = catalog.paths[scenes[0][:2]]
    of_scenes = f" (of {len(scenes):,} scenes)" if len(scenes) > 1 else ""
    return (
        f"{images} alike, as shots of a fixed camera do{of_scenes}, for example {first!r} and"
        f" {second!r}. They are not treated as copies, so test has scenes that train has too. If"
        " they belong together, by time or session, say so with --group-by."
    )


def take_prints(catalog: Catalog, memory: ThumbnailMemory) -> Catalog:
    """The scanned catalog with its columns `prints` and `light`."""
    prints = np.zeros((len(catalog), PRINT_BYTES), np.uint8)
    light = np.zeros((len(catalog), 3), np.float32)
    rows = np.flatnonzero(catalog.ok)
    for batch in batches(len(rows), 4096):
        thumbnails = thumbnail_array(catalog, rows[batch], memory)
        prints[rows[batch]] = prints_of(thumbnails)
        light[rows[batch]] = measure_appearance(row.tobytes() for row in thumbnails)
    return catalog.replace(prints=prints, light=light)


def thumbnails_of(
    catalog: Catalog, rows: NDArray[np.int64], memory: ThumbnailMemory
) -> Iterator[bytes]:
    """The thumbnails of usable rows.

    Raises:
        Refused: a thumbnail was lost, and its file has changed since the scan.
    """
    for path, digest in zip(catalog.paths[rows], catalog.digests[rows], strict=True):
        thumbnail = memory.thumbnail_of(digest)
        if thumbnail is None:
            thumbnail = make_thumbnail(unchanged_pixels(catalog.files, path, digest, catalog.rules))
        yield thumbnail


def thumbnail_array(
    catalog: Catalog, rows: NDArray[np.int64], memory: ThumbnailMemory
) -> NDArray[np.uint8]:
    """(len(rows), THUMBNAIL_BYTES) the thumbnails of usable rows. Those of very many images lie in
    a temporary file.

    Raises:
        Refused: a thumbnail was lost, and its file has changed since the scan.
    """
    thumbnails = scratch((len(rows), THUMBNAIL_BYTES), np.uint8)
    for row, thumbnail in enumerate(thumbnails_of(catalog, rows, memory)):
        thumbnails[row] = np.frombuffer(thumbnail, np.uint8)
    return thumbnails


def find_copies(catalog: Catalog) -> list[Copies]:
    """The usable images that are there more than once, in the order of their first rows."""
    image_of = united(len(catalog), _same_image(catalog))
    rows_of = defaultdict(list)
    for row in np.flatnonzero(catalog.ok).tolist():
        rows_of[image_of[row]].append(row)
    return [
        Copies(
            tuple(rows),
            exact=len({catalog.digests[row] for row in rows}) == 1,
            conflict=len({int(catalog.labels[row]) for row in rows}) > 1,
        )
        for rows in rows_of.values()
        if len(rows) > 1
    ]


def clusters(catalog: Catalog) -> NDArray[np.int64]:
    """(N,) a number for each row. Rows that must stay on one side of every split share it.

    Two rows belong together if they show the same image or are of one group. They also do so
    through a chain of such rows.
    """
    return united(len(catalog), [*_same_image(catalog), *_neighbours(catalog, catalog.groups)])


def _same_image(catalog: Catalog) -> list[tuple[int, int]]:
    linked = np.flatnonzero(catalog.copies != np.arange(len(catalog)))
    return [
        *([] if catalog.identical_apart else _neighbours(catalog, catalog.digests)),
        *zip(linked.tolist(), catalog.copies[linked].tolist(), strict=True),
    ]


def _neighbours(catalog: Catalog, column: NDArray[np.object_]) -> Iterable[tuple[int, int]]:
    """Each usable row with a value, and the first row of the same value."""
    first_row: dict[str, int] = {}
    for row in np.flatnonzero(catalog.ok & (column != "")).tolist():
        yield row, first_row.setdefault(column[row], row)
