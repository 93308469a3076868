"""JPEGs without an end marker, and JPEGs larger than the limit of pixels."""

from __future__ import annotations

import itertools
import math

import numpy as np
from PIL import Image

from tellapart.decoders.opening import open_image
from tellapart.decoders.rules import DecodeRules

END = b"\xff\xd9"
SCALES = (2, 4, 8)  # what libjpeg decodes at without decoding all
# libjpeg reads all of a file's coefficients for any scale, and holds those of a progressive one, in
# three bytes and more a pixel.
MOST_PIXELS = 2**30
MOST_PROGRESSIVE_PIXELS = 2**28
_FRAMES = (*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0))
_SCAN = 0xDA
_RARE = {
    0xC3: "lossless",
    **dict.fromkeys((0xC5, 0xC6, 0xC7), "hierarchical"),
    **dict.fromkeys((0xC9, 0xCA), "arithmetic coding"),
    **dict.fromkeys((0xCB, 0xCD, 0xCE, 0xCF), "arithmetic coding"),
}


def scale_for(img: Image.Image, rules: DecodeRules) -> int | None:
    """At which part of its size an opened JPEG is decoded: 1, or the smallest of SCALES that fits
    the limit of pixels. None means that none does.
    """
    pixels = img.width * img.height
    if pixels <= rules.max_pixels:
        return 1
    most = MOST_PROGRESSIVE_PIXELS if img.info.get("progressive") else MOST_PIXELS
    fits = (
        scale
        for scale in SCALES
        if math.ceil(img.width / scale) * math.ceil(img.height / scale) <= rules.max_pixels
    )
    return next(fits, None) if pixels <= most else None


def why_unsupported(data: bytes) -> str:
    """What a JPEG is that could not be decoded, if it is of a kind that is not read; else ""."""
    frame = _frame(data)
    if frame is None:
        return ""
    marker, segment = frame
    if segment[0] != 8:
        return f"It is a JPEG of {segment[0]} bits. Save it with 8 bits, or as PNG."
    name = _RARE.get(marker, "")
    return f"It is a JPEG of a rare kind ({name}). Save it as PNG." if name else ""


def _frame(data: bytes) -> tuple[int, bytes] | None:
    """The marker and the segment that declare the image's size and kind."""
    at = 2
    while data[at : at + 1] == b"\xff" and at + 4 <= len(data):
        size = int.from_bytes(data[at + 2 : at + 4], "big")
        segment = data[at + 4 : at + 2 + size]
        if data[at + 1] in _FRAMES and len(segment) > 5:
            return data[at + 1], segment
        at += 2 + size
    return None


def reduce(img: Image.Image, scale: int) -> None:
    """Have an opened JPEG decode at a part of its size."""
    img.draft(img.mode, (max(1, img.width // scale), max(1, img.height // scale)))


def with_end(data: bytes, rules: DecodeRules) -> bytes | None:
    """A JPEG that stops before its end marker, with one. None where a part of its image is missing.

    The size of the image has been checked before. libjpeg fills what is missing, and says so only on
    the terminal. So the file is continued in three ways. Only where all give the same pixels, the
    missing bytes have no influence on them.
    """
    body = data.rstrip(b"\0")
    if body.endswith(b"\xff") and len(body) < len(data):
        body += b"\0"  # the escape of a byte FF among the coefficients, not padding
    elif body.endswith(b"\xff"):
        body = body[:-1]  # the first half of the end marker
    if not _has_all_scans(body):
        return None
    ended = body + END
    pixels = [_pixels(ended, rules), *(_pixels(body + noise, rules) for noise in _CONTINUATIONS)]
    return ended if all(np.array_equal(pixels[0], other) for other in pixels[1:]) else None


def _pixels(data: bytes, rules: DecodeRules) -> np.ndarray:
    with open_image(data, "JPEG") as img:
        scale = scale_for(img, rules)
        if scale and scale > 1:
            reduce(img, scale)
        return np.asarray(img)


def _continuation(seed: int) -> bytes:
    """Noise as coefficients, with every restart marker in it, for libjpeg looks for the next one."""
    rng = np.random.default_rng(seed)
    noise = (rng.integers(0, 255, 200, np.uint8).tobytes() for _ in range(32))
    markers = itertools.cycle(bytes([0xFF, marker]) for marker in range(0xD0, 0xD8))
    return b"".join(itertools.chain(*zip(noise, markers, strict=False))) + END


_CONTINUATIONS = (_continuation(0), _continuation(1))


def _has_all_scans(data: bytes) -> bool:
    """Whether the scans of a JPEG bring every coefficient in full, of every component.

    A progressive file that stops between two scans decodes without complaint, but blurred.
    """
    components: set[int] = set()
    missing: set[tuple[int, int]] = set()
    at = 2
    while (at := data.find(b"\xff", at)) >= 0 and at + 4 <= len(data):
        marker = data[at + 1]
        if marker in (0x00, 0xFF) or 0xD0 <= marker <= 0xD8:
            at += 1 if marker == 0xFF else 2
            continue
        segment = data[at + 4 : at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")]
        if marker in _FRAMES and len(segment) > 5:
            components = set(segment[6::3][: segment[5]])
            missing = {(component, place) for component in components for place in range(64)}
        elif marker == _SCAN and len(segment) > 3:
            own = segment[1 : 1 + 2 * segment[0] : 2]
            first, last, precision = segment[1 + 2 * segment[0] :][:3] or (0, 63, 0)
            if precision & 15 == 0:
                missing -= {(part, place) for part in own for place in range(first, last + 1)}
        at += 2 + len(segment) + 2
    return bool(components) and not missing
