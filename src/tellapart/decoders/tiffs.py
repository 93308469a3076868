"""What a TIFF holds, by its tags: bands, bits and compression. It can hold nearly anything."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from PIL import Image

# Tags.
BITS_PER_SAMPLE, COMPRESSION, PHOTOMETRIC, SAMPLES_PER_PIXEL = 258, 259, 262, 277
EXTRA_SAMPLES, SAMPLE_FORMAT = 338, 339
_WIDTH, _HEIGHT = 256, 257
_REDUCED, _SUB_IMAGES, _DNG_VERSION = 254, 330, 50706

_COMPRESSIONS = {
    6: "old-style JPEG",
    34661: "JBIG",
    34677: "SGI log",
    34712: "JPEG 2000",
    33003: "JPEG 2000",
    33005: "JPEG 2000",
    34887: "LERC",
    34892: "lossy JPEG",
    34925: "LZMA",
    50000: "Zstandard",
    50001: "WebP",
    50002: "JPEG XL",
    52546: "JPEG XL",
}
# What every build of Pillow decodes.
_PLAIN = (1, 2, 3, 4, 5, 7, 8, 32773, 32946)
_DEPTHS = (*range(1, 17), 24, 32, 64)
_COLOURS = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4, 6: 3, 8: 3}  # bands by photometric interpretation
_TYPES = {1: "B", 3: "H", 4: "I", 16: "Q"}


@dataclass(frozen=True)
class Tags:
    """The tags of a TIFF's first page that hold whole numbers.

    Args:
        values: tag → its numbers.
    """

    values: dict[int, tuple[int, ...]] = field(default_factory=dict)

    def first(self, tag: int, default: int) -> int:
        """The first number of a tag."""
        return self.values.get(tag, (default,))[0]

    @property
    def bands(self) -> int:
        """Samples a pixel."""
        return self.first(SAMPLES_PER_PIXEL, 1)

    @property
    def unnamed_bands(self) -> int:
        """Bands beyond the colours that are not said to be transparency."""
        colours = _COLOURS.get(self.first(PHOTOMETRIC, 1), self.bands)
        extra = self.values.get(EXTRA_SAMPLES, ())
        alphas = sum(kind in (1, 2) for kind in extra[: self.bands - colours])
        return max(0, self.bands - colours - alphas)


def read_tags(data: bytes) -> Tags | None:
    """The tags of a TIFF's first page; None where the directory is damaged."""
    order = "<" if data[:1] == b"I" else ">"
    # BigTIFF has numbers of 64 bits, and a second number of its own before the first offset.
    big = b"+" in data[2:4]
    first, number, many, inline = (8, "Q", "Q", 8) if big else (4, "I", "H", 4)
    entry = struct.Struct(f"{order}HH{number}")
    size = entry.size + inline
    values: dict[int, tuple[int, ...]] = {}
    try:
        (directory,) = struct.unpack_from(order + number, data, first)
        (entries,) = struct.unpack_from(order + many, data, directory)
        begin = directory + struct.calcsize(order + many)
        for at in range(begin, begin + size * min(entries, 4096), size):
            tag, kind, count = entry.unpack_from(data, at)
            if kind not in _TYPES or not 0 < count <= 4096:
                continue
            form = f"{order}{count}{_TYPES[kind]}"
            place = at + entry.size
            if struct.calcsize(form) > inline:
                (place,) = struct.unpack_from(order + number, data, place)
            values[tag] = struct.unpack_from(form, data, place)
    except (struct.error, OverflowError):
        return None
    return Tags(values)


def why_unsupported(data: bytes) -> str:
    """What a TIFF that could not be decoded holds, if it is of a kind that is not read; else ""."""
    tags = read_tags(data)
    if tags is None or not _is_plausible(tags):
        return ""
    compression = tags.first(COMPRESSION, 1)
    if compression not in _PLAIN:
        name = _COMPRESSIONS.get(compression, f"compression {compression}")
        return f"It is a TIFF compressed by {name}. Save it without compression, or as PNG."
    depths = tags.values.get(BITS_PER_SAMPLE, (1,))
    depth = f"{depths[0]} bits" if len(set(depths)) == 1 else "different depths"
    if depths[0] == 1:
        depth = "1 bit"
    if tags.bands > 1:
        way_out = "Choose three and save them as RGB."
        return f"It is a TIFF of {tags.bands} bands of {depth}. {way_out}"
    number = {2: "whole numbers with a sign", 3: "floating-point numbers"}
    values = number.get(tags.first(SAMPLE_FORMAT, 1), "whole numbers")
    return f"It is a TIFF of {values} of {depth}. Save it with 8 or 16 bits first."


def _is_plausible(tags: Tags) -> bool:
    depths = tags.values.get(BITS_PER_SAMPLE, (1,))
    return (
        all(tag in tags.values for tag in (_WIDTH, _HEIGHT, PHOTOMETRIC))
        and tags.first(_WIDTH, 0) > 0
        and tags.first(_HEIGHT, 0) > 0
        and all(depth in _DEPTHS for depth in depths)
        and 1 <= tags.bands <= 4096
        and len(depths) in (1, tags.bands)
        and 0 < tags.first(COMPRESSION, 1) < 65536
    )


def is_camera_raw(img: Image.Image) -> bool:
    """Whether an opened TIFF is a DNG, NEF or ARW: its first page is a thumbnail, not the image that
    was taken.
    """
    tags = getattr(img, "tag_v2", {})
    return _DNG_VERSION in tags or (_SUB_IMAGES in tags and tags.get(_REDUCED) == 1)
