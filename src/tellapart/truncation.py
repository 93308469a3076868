"""Whether the bytes of an image stop before their end: by what its format declares, or by its rows."""

from __future__ import annotations

import io
import re
import struct
import zlib

from PIL import Image

# The passes of an interlaced PNG: column, row, and the step of each.
_ADAM7 = [
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
]
_PNM_NUMBER = re.compile(rb"(?:\s|#[^\r\n]*[\r\n])+([-+.0-9]{1,12})")
_UNPACK_BYTES = 2**20  # at a time, so that a bomb in a PNG stays small
_STRIP_OFFSETS, _STRIP_BYTES, _TILE_OFFSETS, _TILE_BYTES = 273, 279, 324, 325
# Bytes that a value takes, by its type. The types that are not here take one.
_TIFF_TYPE_BYTES = {3: 2, 4: 4, 5: 8, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}


def is_cut(data: bytes, kind: str) -> bool:
    """Whether the file stops before the end that its format declares.

    Args:
        data: the whole file.
        kind: its format, as `recognise` names it.
    """
    match kind:
        case "JPEG":
            return _jpeg_is_cut(data)
        case "PNG":
            return b"IEND\xaeB`\x82" not in data
        case "GIF":
            return not data.rstrip(b"\0").endswith(b"\0;")
        case "WEBP":
            return 8 + int.from_bytes(data[4:8], "little") > len(data)
        case "BMP":
            return max(26, int.from_bytes(data[2:6], "little")) > len(data)
        case "AVIF" | "HEIF":
            return _boxes_are_cut(data)
        case "TIFF":
            return _tiff_is_cut(data)
        case "JPEG2000":
            return not data.rstrip(b"\0").endswith(b"\xff\xd9")
        case "PPM":
            return _pnm_is_cut(data)
        case _:
            return False


def _jpeg_is_cut(data: bytes) -> bool:
    """Walk the segments up to the scan, then look for the end marker. Before the scan, a thumbnail
    in EXIF has an end marker of its own.
    """
    at = 2
    while data[at : at + 1] == b"\xff" and at + 4 <= len(data):
        if data[at + 1] == 0xDA:
            return data.find(b"\xff\xd9", at) < 0
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return at + 4 > len(data) and not data.endswith(b"\xff\xd9")


def _pnm_is_cut(data: bytes) -> bool:
    """Whether a PNM holds fewer bytes, or numbers in text, than the pixels that it declares."""
    kind, at, numbers = data[1:2], 2, []
    for _ in range(2 if kind in b"14" else 3):  # width, height, and the highest value
        found = _PNM_NUMBER.match(data, at)
        if found is None:
            return len(data) < 64
        numbers.append(float(found.group(1)))
        at = found.end()
    width, height, *rest = numbers
    values = width * height * (3 if kind in b"36" else 1)
    pixels = data[at + 1 :]
    if kind in b"123":
        text = re.sub(rb"#[^\r\n]*", b"", pixels)
        return (len(b"".join(text.split())) if kind == b"1" else len(text.split())) < values
    if kind == b"4":
        return len(pixels) < (width + 7) // 8 * height
    return len(pixels) < values * (4 if kind == b"f" else 1 if rest[0] < 256 else 2)


def _boxes_are_cut(data: bytes) -> bool:
    """Whether the boxes of an AVIF file reach its end, and one of them holds pixels."""
    at = 0
    while at + 8 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        if size == 1:  # the size follows in 64 bits
            size = int.from_bytes(data[at + 8 : at + 16], "big")
        if size < 8:  # 0: up to the end of the file; less is nonsense
            return False
        at += size
    return at != len(data) or b"mdat" not in data


def _tiff_is_cut(data: bytes) -> bool:
    """Whether the directory of the first page, a value in it, or a strip or tile of pixels reaches
    beyond the file.
    """
    order = "<" if data[:1] == b"I" else ">"
    # BigTIFF has numbers of 64 bits, and a second number of its own before the first offset.
    big = b"+" in data[2:4]
    first, number, many, inline = (8, "Q", "Q", 8) if big else (4, "I", "H", 4)
    entry = struct.Struct(f"{order}HH{number}{number}")
    try:
        (directory,) = struct.unpack_from(order + number, data, first)
        (entries,) = struct.unpack_from(order + many, data, directory)
        begin = directory + struct.calcsize(order + many)
        for at in range(begin, begin + entry.size * entries, entry.size):
            _, kind, count, start = entry.unpack_from(data, at)
            size = count * _TIFF_TYPE_BYTES.get(kind, 1)
            if size > inline and start + size > len(data):
                return True
    except (struct.error, OverflowError):  # the directory is not all in the file
        return True
    try:
        with Image.open(io.BytesIO(data), formats=["TIFF"]) as img:
            tags = getattr(img, "tag_v2", {})
            offsets = (*tags.get(_STRIP_OFFSETS, ()), *tags.get(_TILE_OFFSETS, ()))
            sizes = (*tags.get(_STRIP_BYTES, ()), *tags.get(_TILE_BYTES, ()))
            return any(
                offset + size > len(data) for offset, size in zip(offsets, sizes, strict=False)
            )
    except Exception:  # the tags may hold anything, text included
        return False


def png_lacks_rows(img: Image.Image, data: bytes) -> bool:
    """Whether the pixel data ends, properly, before the last row. Pillow leaves the other rows black
    and does not complain.

    Args:
        img: what Pillow has loaded.
        data: the whole file.
    """
    # Missing rows are zero, and at the end (Adam7's last pass is the odd rows). So most images are
    # known to be whole without unpacking them again.
    last_rows = range(img.height - 2, img.height)
    if img.height > 1 and all(
        img.crop((0, row, img.width, row + 1)).getbbox() for row in last_rows
    ):
        return False
    width, height, depth, colour, _, _, interlaced = struct.unpack_from(">IIBBBBB", data, 16)
    pixel_bits = depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    missing = 0
    for across, down, step_x, step_y in _ADAM7 if interlaced else [(0, 0, 1, 1)]:
        columns, rows = -((across - width) // step_x), -((down - height) // step_y)
        missing += rows * (1 + (columns * pixel_bits + 7) // 8) if columns > 0 else 0
    unpack, at = zlib.decompressobj(), 8
    while missing > 0 and not unpack.eof and at + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        rest = data[at + 8 : at + 8 + length] if name == b"IDAT" else b""
        while rest and missing > 0 and not unpack.eof:
            missing -= len(unpack.decompress(rest, _UNPACK_BYTES))
            rest = unpack.unconsumed_tail
        at += 12 + length
    return missing > 0
