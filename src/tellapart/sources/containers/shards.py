"""Images that lie as records in files: which of the files are train, val and test, and their
catalog.

    data/train-00000-of-00002.parquet, data/test-…   ──▶   data/train-00000-of-00002.parquet/00017
"""

from __future__ import annotations

import os
import re
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock

from tellapart.catalog.table import SPLITS, Catalog
from tellapart.decoding import MAX_FILE_BYTES, Decoded
from tellapart.errors import UserError
from tellapart.phrases import count_of, listed
from tellapart.sources.containers.spool import Spool
from tellapart.sources.entries import SPLIT_NAMES, Entry, catalog_of, class_order, with_test_split

Label = str | int | None
_FEWEST_JUDGED = 10  # labels below which nothing is said of how many differ
_MOST_DIFFERENT = 0.8  # the share of labels of their own from which there are no classes


@dataclass(frozen=True, eq=False)
class Shard:
    """One file of records, each an image.

    Args:
        path: the file's catalog path.
        stamp: its stamp, from before it was opened.
        labels: a name, a number or None for each image.
        image: number → the bytes of an image file, or why there are none. Any thread calls it.
        class_names: number → name. It is empty where nothing says.
        names: what each record is called. It is empty where numbers will do.
        splits: the split of each record. It is empty where the name of the file says.
        groups: the group of each record. It is empty where there are none.
        weights: how often each is drawn. It is empty where each is drawn as often.
    """

    path: str
    stamp: tuple[str, float]
    labels: Sequence[Label]
    image: Callable[[int], bytes | Decoded]
    class_names: Sequence[str] = ()
    names: Sequence[str] = ()
    splits: Sequence[str] = ()
    groups: Sequence[str] = ()
    weights: Sequence[float] = ()

    def record_paths(self) -> list[str]:
        """The catalog path of each image. Numbers sort as they count."""
        digits = len(str(max(0, len(self.labels) - 1)))
        numbers = (f"{number:0{digits}}" for number in range(len(self.labels)))
        return [f"{self.path}/{name}" for name in (self.names or numbers)]


class ShardFiles:
    """The records of shards as files; any thread may read.

    Args:
        place: where the shards are.
        shards: all of them.
    """

    def __init__(self, place: str, shards: Sequence[Shard]) -> None:
        self._place = place
        self._records = {
            path: (shard, number)
            for shard in shards
            for number, path in enumerate(shard.record_paths())
        }

    @property
    def place(self) -> str:
        """Where the shards are."""
        return self._place

    def read(self, path: str) -> bytes | Decoded:
        """The bytes of one record."""
        if path not in self._records:
            return Decoded("missing", detail="There is no such record.")
        shard, number = self._records[path]
        try:
            return _checked(shard.image(number))
        except MemoryError:
            return Decoded("too_large", detail="It does not fit into memory.")
        except OSError:
            return Decoded("unreadable", detail="Reading it failed in the operating system.")

    def stamp(self, path: str) -> tuple[str, float]:
        """The stamp of the shard when it was opened."""
        return self._records[path][0].stamp if path in self._records else ("", 0.0)


def _checked(data: bytes | Decoded) -> bytes | Decoded:
    if isinstance(data, Decoded):
        return data
    if not data:
        return Decoded("empty", detail="The record has no content.")
    if len(data) > MAX_FILE_BYTES:
        return Decoded("too_large", detail=f"It is larger than {MAX_FILE_BYTES:,} bytes.")
    return data


@dataclass(eq=False)
class Chunks:
    """Images that can only be unpacked many at a time. Each chunk is unpacked once, and kept in
    memory or in a file without a name.

    Args:
        starts: the first image of each chunk, ascending from 0, and after the last their number.
        load: first image and number of images → their bytes, None where there are none.
        spool: keeps them.
    """

    starts: Sequence[int]
    load: Callable[[int, int], Iterable[bytes | None] | Decoded]
    spool: Spool
    _kept: dict[int, list[tuple[int, int] | None] | Decoded] = field(default_factory=dict)
    _locks: dict[int, Lock] = field(default_factory=dict)

    def image(self, number: int) -> bytes | Decoded:
        """The bytes of one image, or why there are none."""
        chunk = bisect_right(self.starts, number) - 1
        first, end = self.starts[chunk], self.starts[chunk + 1]
        with self._locks.setdefault(chunk, Lock()):
            if chunk not in self._kept:
                loaded = self.load(first, end - first)
                self._kept[chunk] = (
                    loaded
                    if isinstance(loaded, Decoded)
                    else [None if data is None else self.spool.add(data) for data in loaded]
                )
        kept = self._kept[chunk]
        if isinstance(kept, Decoded):
            return kept
        place = kept[number - first]
        if place is None:
            return Decoded("empty", detail="The cell holds no image.")
        return self.spool.read(*place)


def catalog_of_shards(
    name: str,
    place: str,
    kind: str,
    shards: Sequence[Shard],
    *,
    ignored: Mapping[str, int] | None = None,
    remarks: Iterable[str] = (),
) -> Catalog:
    """The catalog of some shards of one data set.

    Args:
        name: what messages call the source.
        place: where the shards are.
        kind: what they are, for the sentence on the source: "Parquet files with their images".
        shards: all of them.
        ignored: what was passed over: reason → count.
        remarks: what the user should know.

    Raises:
        UserError: none has a label, or they are of several sets.
    """
    _check_one_set(name, shards)
    names = _class_names(name, shards)
    entries, unlabelled = _labelled(shards, names)
    if not entries:
        raise UserError(
            f"None of the {count_of(unlabelled.total(), 'image')} of {name} has a label.",
            "Give the part of the data set that has labels, as the training part has.",
        )
    if not names:
        _refuse_different(name, entries)
    entries, rule, left_out = divided(name, entries)
    used = dict.fromkeys(names.values())
    found = {entry.label for entry in entries}
    classes = [label for label in used if label in found] if used else []
    classes += class_order(_numbers_or_text(found - set(classes)))
    counts = Counter(ignored or {}) + left_out
    for split, count in unlabelled.items():
        counts[f"images without a label{f' in {split}' if split else ''}"] += count
    return catalog_of(
        ShardFiles(place, shards),
        f"{kind}: {rule}",
        classes,
        entries,
        ignored=counts,
        remarks=remarks,
    )


def _labelled(
    shards: Sequence[Shard], names: Mapping[Label, str]
) -> tuple[list[Entry], Counter[str]]:
    """The images that have a label, and how many have none in each split."""
    entries, unlabelled = [], Counter[str]()
    for shard in shards:
        split = split_of_path(shard.path)
        for number, path in enumerate(shard.record_paths()):
            label = shard.labels[number]
            if label is None or (isinstance(label, int) and label < 0):
                unlabelled[split] += 1
                continue
            entries.append(_entry(shard, number, path, names.get(label, str(label)), split))
    return entries, unlabelled


def _refuse_different(name: str, entries: Sequence[Entry]) -> None:
    """Refuse labels nearly all of which differ: captions, identifiers or measurements."""
    labels = dict.fromkeys(entry.label for entry in entries)
    if len(labels) >= _FEWEST_JUDGED and len(labels) > _MOST_DIFFERENT * len(entries):
        examples = " and ".join(map(repr, list(labels)[:2]))
        raise UserError(
            f"The {count_of(len(entries), 'image')} of {name} have {len(labels):,} different"
            f" labels, such as {examples}, which are no classes.",
            "Name what holds the class with --columns label=NAME.",
        )


def _entry(shard: Shard, number: int, path: str, label: str, split: str) -> Entry:
    return Entry(
        path,
        label,
        shard.splits[number] if shard.splits else split,
        shard.groups[number] if shard.groups else "",
        shard.weights[number] if shard.weights else 1.0,
    )


def _numbers_or_text(labels: Iterable[str]) -> list[str | int]:
    """Whole numbers as such where all are, so that 10 comes after 9."""
    found = list(labels)
    are_numbers = all(re.fullmatch("0|[1-9][0-9]{0,17}", label) for label in found)
    return [int(label) for label in found] if are_numbers else list(found)


def _class_names(name: str, shards: Sequence[Shard]) -> dict[Label, str]:
    """Label → class name, in the order of the labels. It is empty where no shard names any."""
    lists = {tuple(shard.class_names) for shard in shards if shard.class_names}
    if len(lists) > 1:
        raise UserError(
            f"The files of {name} name their classes differently:"
            f" {' in one, and '.join(listed(names) for names in sorted(lists)[:2])} in another.",
            "Give the files of one data set.",
        )
    return dict(enumerate(next(iter(lists)))) if lists else {}


# ── splits ──


def split_of_path(path: str) -> str:
    """ "train", "val" or "test", by the words of a file's name or else of its folders, or "".

    >>> split_of_path("data/validation-00000-of-00001.parquet"), split_of_path("mnist/test/0000.parquet")
    ('val', 'test')
    """
    for name in reversed(path.split("/")):
        words = re.split(r"[^a-z]+", os.path.splitext(name)[0].lower())
        found = {SPLIT_NAMES[word] for word in words if word in SPLIT_NAMES}
        if len(found) == 1:
            return found.pop()
    return ""


def _check_one_set(name: str, shards: Sequence[Shard]) -> None:
    """Refuse several configurations of a hub's data set, each with its own train split."""
    folders = defaultdict(set)
    for shard in shards:
        above = shard.path.split("/")[:-1]
        inner = "/".join(folder for folder in above if not split_of_path(folder))
        folders[inner].add(split_of_path(shard.path))
    several = [folder for folder, splits in folders.items() if "train" in splits]
    if len(several) > 1:
        raise UserError(
            f"{name} holds several data sets, in {listed(sorted(several))}.",
            "Give the folder of one of them.",
        )


def divided(name: str, entries: list[Entry]) -> tuple[list[Entry], str, Counter[str]]:
    """The entries with the splits that training uses, the rule in words, and what is left out.

    Args:
        name: what messages call the source.
        entries: each with the split that the source names, or "".

    Raises:
        UserError: splits are named, but no train.
    """
    counts = Counter(entry.split for entry in entries)
    total = count_of(len(entries), "image")
    if len(counts) == 1:
        entries = [entry._replace(split="") for entry in entries]
        return entries, f"{total}; val and test are cut from them", Counter()
    if "train" not in counts:
        named = listed([split or "no split" for split in counts])
        raise UserError(
            f"{name} names the splits {named}, but no train.",
            "Put the word train into the name of the file to train on.",
        )
    left_out = Counter({"images of files whose name says no split": counts.pop("", 0)})
    entries = [entry for entry in entries if entry.split]
    found = sorted(counts, key=SPLITS.index)
    sizes = ", ".join(f"{split} {counts[split]:,}" for split in found)
    if len(found) == 1:
        entries = [entry._replace(split="") for entry in entries]
        return entries, f"{sizes}; val and test are cut from it", +left_out
    entries, rule = with_test_split(entries)
    return entries, f"{sizes}; {rule}", +left_out
