"""The size of a JPEG XL image, read from its header: its decoder gives it only with all pixels."""

from __future__ import annotations

_BARE, _CONTAINER = b"\xff\x0a", b"\0\0\0\x0cJXL "
_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}
_BITS = (9, 13, 18, 30)  # of a side, by a selector of two bits


def size_of(data: bytes) -> tuple[int, int]:
    """Width and height, before any orientation.

    Raises:
        ValueError: there is no header.
    """
    stream = data if data.startswith(_BARE) else _codestream(data)
    if not stream.startswith(_BARE) or len(stream) < 12:
        raise ValueError("no JPEG XL header")
    bits = int.from_bytes(stream[2:14], "little")

    def take(count: int) -> int:
        nonlocal bits
        value = bits & ((1 << count) - 1)
        bits >>= count
        return value

    def side(is_small: int) -> int:
        return (take(5) + 1) * 8 if is_small else take(_BITS[take(2)]) + 1

    small = take(1)
    height = side(small)
    ratio = take(3)
    if not ratio:
        return side(small), height
    over, under = _RATIOS[ratio]
    return height * over // under, height


def _codestream(data: bytes) -> bytes:
    """The beginning of the image in a container of boxes."""
    at = 0
    while at + 8 <= len(data):
        size, name = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        head = 8
        if size == 1:  # the size follows in 64 bits
            size, head = int.from_bytes(data[at + 8 : at + 16], "big"), 16
        if name in (b"jxlc", b"jxlp"):
            return data[at + head + (4 if name == b"jxlp" else 0) :][:64]
        if size < 8:
            break
        at += size
    return b""
