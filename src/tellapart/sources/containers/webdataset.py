"""WebDataset shards: tar files of samples. The members of a sample share a name up to the first
dot, and one of them is its label.

    shard-000000.tar: 000017.jpg, 000017.cls   ──▶   shard-000000.tar/000017.jpg

See https://github.com/webdataset/webdataset. A label is the text of .cls or .txt, or what .json
says under one of the usual names. Class names may stand in classes.txt or classes.json beside.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from typing import NamedTuple

from tellapart.catalog.files import Damage, Store
from tellapart.decoding import Decoded
from tellapart.errors import UserError
from tellapart.phrases import listed
from tellapart.sources.containers.archive_index import BAD_BYTES, tar_entries
from tellapart.sources.containers.archives import ArchiveFiles
from tellapart.sources.containers.packed import packing, unpacked
from tellapart.sources.containers.shards import Label, Shard
from tellapart.sources.reading import Reading
from tellapart.sources.tree_files import all_files
from tellapart.sources.walk import is_image_name

_LABEL_SUFFIXES = (".cls", ".cls.txt", ".label", ".json", ".txt")
_LABEL_KEYS = ("cls", "label", "class", "class_name", "category", "target", "class_id", "label_id")
_LABEL_BYTES = 2**20
_HEAD_BYTES = 2**24  # of a packed tar, by which it is told
_FIRST = 64  # members by which a tar is told


class _Sample(NamedTuple):
    image: str  # the member
    label: str  # the member, or ""


def may_be_shard(store: Store) -> bool:
    """Whether the first members of a tar are such as a shard has, so that it is worth listing all.
    A large archive may lie beside the data.
    """
    names: list[str] = []
    with suppress(Damage, *BAD_BYTES):
        if kind := packing(store):
            head = b""
            for piece in unpacked(store, kind):
                head += piece
                if len(head) >= _HEAD_BYTES:
                    break
            store = Store(len(head), lambda at, count: head[at : at + count])
        names += (name for name, _, _ in islice(tar_entries(store), _FIRST))
    known = {name.lower() for name in names}
    stems = [re.sub(r"(?<=[^/])\.[^/]*$", "", name) for name in known if is_image_name(name)]
    return any(stem + suffix in known for stem in stems for suffix in _LABEL_SUFFIXES)


def is_shard(archive: ArchiveFiles) -> bool:
    """Whether a tar holds samples: images with members of the same key that are no images.

    Most images need such a member; a tar of class folders with a few texts is none.
    """
    if not archive.kind.startswith("tar"):
        return False
    samples = list(_samples(archive))
    return bool(samples) and 2 * sum(bool(sample.label) for sample in samples) > len(samples)


def shard_in(
    archive: ArchiveFiles,
    path: str,
    class_names: Sequence[str],
    reading: Reading,
    *,
    labelled: bool,
) -> Shard:
    """The samples of one tar.

    Args:
        archive: opened.
        path: its catalog path.
        class_names: number → name, or nothing.
        reading: `columns` may name the label's key in JSON, or the ending of its member.
        labelled: whether labels are wanted.

    Raises:
        UserError: the label is a JSON text without any of the usual names.
    """
    wanted = reading.columns.get("label", "")
    samples = sorted(_samples(archive, wanted))
    members = [sample.image for sample in samples]

    def image(number: int) -> bytes | Decoded:
        return archive.read(members[number])

    labels = [_label(archive, sample, wanted) if labelled else None for sample in samples]
    return Shard(path, archive.stamp(""), labels, image, class_names=class_names, names=members)


def named_classes(texts: Mapping[str, bytes]) -> tuple[str, ...]:
    """The class names that a file beside the shards lists, by number: lines, or a JSON list.

    Args:
        texts: the names of files → what they hold.
    """
    for name, text in texts.items():
        if name.lower().endswith(".json"):
            try:
                found = json.loads(text)
            except (ValueError, RecursionError):
                continue
            if isinstance(found, list):
                return tuple(map(str, found))
            continue
        lines = text.decode("utf-8-sig", "replace").split("\n")
        return tuple(line.strip() for line in lines if line.strip())
    return ()


def _samples(archive: ArchiveFiles, wanted: str = "") -> Iterator[_Sample]:
    """The image of each sample, and the member that has its label."""
    members: dict[str, dict[str, str]] = {}
    for path in all_files(archive):
        folder, _, name = path.rpartition("/")
        stem, dot, suffix = name.partition(".")
        members.setdefault(f"{folder}/{stem}", {})[(dot + suffix).lower()] = path
    first = [f".{wanted.lower().lstrip('.')}"] if wanted else []
    for found in members.values():
        images = [suffix for suffix in found if is_image_name(f"x{suffix}")]
        if images:
            labels = [suffix for suffix in (*first, *_LABEL_SUFFIXES) if suffix in found]
            yield _Sample(found[min(images)], found[labels[0]] if labels else "")


def _label(archive: ArchiveFiles, sample: _Sample, wanted: str) -> Label:
    """What the label's member says, or None where it says nothing."""
    data = archive.read(sample.label) if sample.label else b""
    if not isinstance(data, bytes) or not data.strip() or len(data) > _LABEL_BYTES:
        return None
    text = data.decode("utf-8-sig", "replace").strip()
    if sample.label.lower().endswith(".json"):
        return _label_in_json(archive.name, sample.label, text, wanted)
    return int(text) if re.fullmatch("-?[0-9]{1,18}", text) else text


def _label_in_json(name: str, member: str, text: str, wanted: str) -> Label:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    keys = (wanted,) if wanted else _LABEL_KEYS
    value = found
    if isinstance(found, dict):
        value = next((found[key] for key in keys if key in found), found)
    if isinstance(value, bool) or not isinstance(value, str | int | None):
        listing = listed(list(found)) if isinstance(found, dict) else "no keys"
        raise UserError(
            f"{member} of {name} has no label under a usual name; its keys are {listing}.",
            "Name the one that holds the label: --columns label=KEY.",
        )
    return value.strip() if isinstance(value, str) else value
