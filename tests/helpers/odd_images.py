"""Odd images, made on the spot: small, seeded, no files needed. Functions return the bytes of one
file.

`salt` writes a varied set of them into a folder and says what should become of each. `gallery` is
all there is: some hundreds of files, whose verdicts are pinned in verdicts.txt.
"""

from __future__ import annotations

import io
import os
import stat
import struct
import zlib
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, features

HAS_AVIF = features.check("avif")
FORMATS = ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", *(["AVIF"] if HAS_AVIF else [])]
SUFFIXES = {
    "JPEG": "jpg",
    "PNG": "png",
    "GIF": "gif",
    "WEBP": "webp",
    "BMP": "bmp",
    "TIFF": "tif",
    "AVIF": "avif",
}


# ── the drawing that most images show ──


def scene(seed: int = 0) -> np.ndarray:
    """A smooth coloured drawing without any symmetry, (48, 64, 3) uint8."""
    blocks = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    return np.asarray(Image.fromarray(blocks).resize((64, 48), Image.Resampling.BICUBIC))


def encoded(pixels: np.ndarray | Image.Image, format: str = "PNG", **options: object) -> bytes:
    """Encode an array or image with Pillow; lossy formats at high quality."""
    img = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    if format in ("JPEG", "MPO", "WEBP", "AVIF"):
        options = {"quality": 95, "subsampling": "4:4:4", **options}
    out = io.BytesIO()
    img.save(out, format, **options)
    return out.getvalue()


def cut(data: bytes, percent: int) -> bytes:
    """The first `percent` of a file, at least one byte."""
    return data[: max(1, len(data) * percent // 100)]


def damaged(data: bytes, count: int, seed: int = 0) -> Iterator[bytes]:
    """`count` copies of a file, each with one to eight bytes changed."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        broken = np.frombuffer(data, np.uint8).copy()
        places = rng.integers(0, len(data), rng.integers(1, 9))
        broken[places] = rng.integers(0, 256, len(places))
        yield broken.tobytes()


# ── orientation ──

_UNTURN = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def oriented(format: str, orientation: int, seed: int = 0) -> bytes:
    """The scene stored turned, with the EXIF orientation (1 to 8) that turns it upright."""
    img = Image.fromarray(scene(seed))
    if orientation in _UNTURN:
        img = img.transpose(_UNTURN[orientation])
    exif = Image.Exif()
    exif[274] = orientation
    return encoded(img, format, exif=exif)


def bad_exif(format: str) -> bytes:
    """A good image whose EXIF data is noise."""
    return encoded(scene(), format, exif=b"Exif\0\0" + b"\xaa\x55" * 40)


def captured(
    format: str, moment: str = "2026:05:04 13:02:09", seed: int = 0, **texts: object
) -> bytes:
    """The scene with a moment of capture in EXIF, and `texts`: make, model, serial, fraction (of a
    second).
    """
    exif = Image.Exif()
    places = {"make": (exif, 271), "model": (exif, 272)}
    details = exif.get_ifd(34665)
    details[36867] = moment
    for name, text in texts.items():
        place, tag = places.get(name, (details, {"serial": 42033, "fraction": 37521}.get(name, 0)))
        place[tag] = text
    return encoded(scene(seed), format, exif=exif.tobytes())


# ── inks and colour spaces ──


def inks(seed: int = 0) -> np.ndarray:
    """Cyan, magenta, yellow and black, smooth: (48, 64, 4) uint8."""
    return np.dstack([scene(seed), scene(seed + 1)[:, :, 0] // 2])


def plain_ink_formula(cmyk: np.ndarray) -> np.ndarray:
    """(H, W, 3) RGB as if each ink simply took away its share of white paper."""
    ink = cmyk.astype(float) / 255
    return np.rint(255 * (1 - ink[:, :, :3]) * (1 - ink[:, :, 3:])).astype(np.uint8)


def cmyk_jpeg(seed: int = 0) -> bytes:
    """Adobe-inverted CMYK with Adobe's marker, as Pillow and Photoshop write it."""
    return encoded(Image.fromarray(inks(seed), "CMYK"), "JPEG")


def ycck_jpeg(seed: int = 0) -> bytes:
    """The same inks stored as YCCK: cyan, magenta and yellow as luma and chroma."""
    cmyk = inks(seed)
    ycc = np.asarray(Image.fromarray(cmyk[:, :, :3].copy()).convert("YCbCr"))
    stored = Image.fromarray(
        np.dstack([255 - ycc, cmyk[:, :, 3]]), "CMYK"
    )  # Pillow inverts all four on writing
    data = bytearray(encoded(stored, "JPEG"))
    data[data.index(b"Adobe") + 11] = 2  # the colour transform: YCCK
    return bytes(data)


def no_marker_jpeg(seed: int = 0) -> bytes:
    """What `cmyk_jpeg` writes, without Adobe's marker segment."""
    data = cmyk_jpeg(seed)
    at = data.index(b"\xff\xee")
    return data[:at] + data[at + 2 + int.from_bytes(data[at + 2 : at + 4], "big") :]


def in_mode(mode: str, format: str, seed: int = 0, **options: object) -> bytes:
    """The scene converted to a Pillow mode (LAB, YCbCr, 1, L, P, ...) first."""
    return encoded(Image.fromarray(scene(seed)).convert(mode), format, **options)


# ── more than 8 bits ──


def ramp() -> np.ndarray:
    """All grey values from 0 to 65535, (256, 256) uint16."""
    return np.arange(65536, dtype=np.uint16).reshape(256, 256)


def ramp_file(kind: str) -> bytes:
    """The ramp as one of RAMPS."""
    big = Image.frombytes("I;16B", (256, 256), ramp().astype(">u2").tobytes())
    little = Image.fromarray(ramp())
    return {
        "png": lambda: encoded(little),
        "tiff": lambda: encoded(little, "TIFF"),
        "tiff big-endian": lambda: encoded(big, "TIFF"),
        "tiff deflate": lambda: encoded(little, "TIFF", compression="tiff_adobe_deflate"),
        "tiff white is zero": lambda: encoded(
            Image.fromarray(65535 - ramp()), "TIFF", tiffinfo={262: 0}
        ),
        "rgb png": lambda: rgb16_png(np.dstack([ramp()] * 3)),
        "rgb tiff": lambda: tiff(
            256, 256, np.dstack([ramp()] * 3).tobytes(), bits=(16,) * 3, photometric=2
        ),
        "rgb tiff big-endian": lambda: tiff(
            256,
            256,
            np.dstack([ramp()] * 3).astype(">u2").tobytes(),
            bits=(16,) * 3,
            photometric=2,
            order=">",
        ),
    }[kind]()


RAMPS = [
    "png",
    "tiff",
    "tiff big-endian",
    "tiff deflate",
    "tiff white is zero",
    "rgb png",
    "rgb tiff",
    "rgb tiff big-endian",
]


def png(
    width: int,
    height: int,
    depth: int,
    colour: int,
    rows: bytes,
    *extra: tuple[bytes, bytes],
    interlaced: bool = False,
) -> bytes:
    """A PNG by hand. `rows`: each with its filter byte. `extra`: (name, content) chunks that go
    before the pixels.
    """
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    return PNG_HEAD + b"".join(
        png_chunk(*chunk)
        for chunk in [(b"IHDR", header), *extra, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    )


PNG_HEAD = b"\x89PNG\r\n\x1a\n"


def png_chunk(name: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content))
    )


def rows_of(pixels: np.ndarray) -> bytes:
    """PNG rows, unfiltered, of (H, W) or (H, W, C) uint8 or uint16."""
    flat = pixels.reshape(len(pixels), -1)
    return b"".join(b"\0" + row.astype(f">u{pixels.itemsize}").tobytes() for row in flat)


def rgb16_png(pixels: np.ndarray, *extra: tuple[bytes, bytes]) -> bytes:
    """(H, W, 3) uint16 as a PNG of 16 bits a channel, which Pillow cannot write."""
    return png(pixels.shape[1], pixels.shape[0], 16, 2, rows_of(pixels), *extra)


def tiff(
    width: int,
    height: int,
    strip: bytes,
    *,
    bits: tuple[int, ...] = (8,),
    photometric: int = 1,
    order: str = "<",
    tags: dict[int, tuple[int, ...]] | None = None,
) -> bytes:
    """A TIFF by hand, of one strip. `bits` of each channel; `tags`: more of them, or others, as
    whole numbers.
    """
    values = {256: (width,), 257: (height,), 258: bits, 259: (1,), 262: (photometric,), 273: (8,)}
    values |= {277: (len(bits),), 278: (height,), 279: (len(strip),), **(tags or {})}
    body, entries = strip + bytes(len(strip) % 2), b""
    for tag, numbers in sorted(values.items()):
        content = struct.pack(f"{order}{len(numbers)}I", *numbers)
        if len(numbers) > 1:
            content, body = struct.pack(order + "I", 8 + len(body)), body + content
        entries += struct.pack(order + "HHI", tag, 4, len(numbers)) + content
    head = struct.pack(order + "2sHI", b"II" if order == "<" else b"MM", 42, 8 + len(body))
    return head + body + struct.pack(order + "H", len(values)) + entries + bytes(4)


def twelve_bit_tiff() -> bytes:
    """A ramp of 4096 greys packed in 12 bits each, 64 by 64 pixels."""
    values = np.arange(4096).reshape(-1, 2)
    first, second = values[:, 0], values[:, 1]
    packed = (
        np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=1)
        .astype(np.uint8)
        .tobytes()
    )
    return tiff(64, 64, packed, bits=(12,))


def float_tiff() -> bytes:
    return encoded(
        Image.fromarray(np.linspace(0, 1, 64 * 48, dtype=np.float32).reshape(48, 64)), "TIFF"
    )


def int32_tiff() -> bytes:
    return encoded(Image.fromarray(np.arange(64 * 48, dtype=np.int32).reshape(48, 64)), "TIFF")


# ── every kind of PNG ──

PNG_KINDS = [
    (0, 1),
    (0, 2),
    (0, 4),
    (0, 8),
    (0, 16),
    (2, 8),
    (2, 16),
    (3, 1),
    (3, 2),
    (3, 4),
    (3, 8),
] + [
    (colour, depth) for colour in (4, 6) for depth in (8, 16)
]  # (colour type, bit depth): all that the format allows
_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_ADAM7 = [
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
]


def any_png(
    colour: int,
    depth: int,
    *,
    row_filter: int = 5,
    interlaced: bool = False,
    key: bool = False,
    size: int = 21,
) -> tuple[bytes, np.ndarray]:
    """A PNG of noise and the pixels that it shows on white: (bytes, (H, W, 3) float from 0 to 255).

    Args:
        colour: 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGB and alpha.
        depth: bits a channel.
        row_filter: 0 none, 1 left, 2 above, 3 average, 4 Paeth, 5 each in turn.
        interlaced: by Adam7.
        key: for colours 0 and 2 one transparent colour, for 3 a table of alpha.
        size: pixels across; a few fewer down.
    """
    rng = np.random.default_rng([colour, depth, size])
    width, height, most = size, max(1, size - 4), 2**depth - 1
    samples = rng.integers(0, most + 1, (height, width, _PNG_CHANNELS[colour]))
    palette = rng.integers(0, 256, (most + 1, 3)) if colour == 3 else np.zeros((0, 3), int)
    alphas = rng.integers(0, 256, most + 1)
    extra = [(b"PLTE", palette.astype(np.uint8).tobytes())] if colour == 3 else []
    if key:
        hidden = samples[0, 0]
        extra.append(
            (
                b"tRNS",
                (
                    alphas.astype(np.uint8).tobytes()
                    if colour == 3
                    else hidden.astype(">u2").tobytes()
                ),
            )
        )

    shown = (
        palette[samples[:, :, 0]]
        if colour == 3
        else samples[:, :, : 3 if colour in (2, 6) else 1] * 255 / most
    )
    alpha = np.ones((height, width))
    if colour in (4, 6):
        alpha = samples[:, :, -1] / most
    elif key:
        alpha = (
            alphas[samples[:, :, 0]] / 255
            if colour == 3
            else (samples != hidden).any(axis=2).astype(float)
        )
    on_white = shown * alpha[:, :, None] + 255 * (1 - alpha[:, :, None])

    passes = _ADAM7 if interlaced else [(0, 0, 1, 1)]
    parts = [samples[down::step_y, across::step_x] for across, down, step_x, step_y in passes]
    rows = b"".join(_filtered(part, depth, row_filter) for part in parts if part.size)
    return png(width, height, depth, colour, rows, *extra, interlaced=interlaced), np.broadcast_to(
        on_white, (height, width, 3)
    )


def _filtered(samples: np.ndarray, depth: int, row_filter: int) -> bytes:
    """The rows of (H, W, C) samples, packed to `depth` bits each and filtered as `any_png` says."""
    flat = samples.reshape(len(samples), -1)
    bits = (flat[:, :, None] >> np.arange(depth)[::-1] & 1).reshape(len(flat), -1).astype(np.uint8)
    here = np.packbits(bits, axis=1).astype(int)
    pixel = max(1, depth * samples.shape[2] // 8)  # bytes to the left neighbour
    above = np.vstack([np.zeros_like(here[:1]), here[:-1]])
    left, corner = (
        np.pad(rows, ((0, 0), (pixel, 0)))[:, : here.shape[1]] for rows in (here, above)
    )
    guess = left + above - corner
    distances = np.stack([abs(guess - left), abs(guess - above), abs(guess - corner)])
    paeth = np.choose(distances.argmin(axis=0), [left, above, corner])
    predictions = [np.zeros_like(here), left, above, (left + above) // 2, paeth]
    rows = b""
    for number in range(len(here)):
        kind = number % 5 if row_filter == 5 else row_filter
        rows += (
            bytes([kind])
            + ((here[number] - predictions[kind][number]) % 256).astype(np.uint8).tobytes()
        )
    return rows


def rows_in(data: bytes) -> bytes:
    """The unpacked rows of a PNG made by `png`."""
    at = data.index(b"IDAT")
    return zlib.decompress(data[at + 4 : at + 4 + int.from_bytes(data[at - 4 : at], "big")])


def with_rows(data: bytes, rows: bytes) -> bytes:
    """A PNG made by `png`, with other rows."""
    before = data[: data.index(b"IDAT") - 4]
    return before + png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")


def broken_pngs() -> dict[str, bytes]:
    """What no reader may accept: a damaged signature, header, palette, stream or checksum."""
    whole = any_png(2, 8)[0]
    rows = rows_of(scene())
    stream = whole.index(b"IDAT")
    header = whole.index(b"IHDR")
    return {
        "signature_bit.png": b"\x88" + whole[1:],
        "signature_7_bits.png": b"\x09" + whole[1:],
        "signature_case.png": whole.replace(b"PNG", b"pNG", 1),
        "signature_swapped.png": whole.replace(b"\r\n\x1a\n", b"\n\r\x1a\n", 1),
        "newlines_to_unix.png": whole.replace(b"\r\n", b"\n"),
        "newlines_to_mac.png": whole.replace(b"\r\n", b"\r"),
        "newlines_to_dos.png": whole.replace(b"\n", b"\r\n"),
        "colour_type_1.png": png(64, 48, 8, 1, rows),
        "colour_type_9.png": png(64, 48, 8, 9, rows),
        "depth_0.png": png(64, 48, 0, 2, rows),
        "depth_3.png": png(64, 48, 3, 0, rows),
        "depth_99.png": png(64, 48, 99, 2, rows),
        "header_checksum.png": (
            whole[: header + 17] + bytes([whole[header + 17] ^ 1]) + whole[header + 18 :]
        ),
        "no_pixels.png": PNG_HEAD + whole[8:stream][:-4] + png_chunk(b"IEND", b""),
        "stream_checksum.png": whole[:-16] + bytes([whole[-16] ^ 1]) + whole[-15:],
        "width_0.png": png(0, 48, 8, 2, rows),
        "height_0.png": png(64, 0, 8, 2, rows),
        "too_few_rows.png": png(64, 48, 8, 2, rows[: len(rows) // 2]),
        "filter_9.png": png(64, 48, 8, 2, b"\x09" + rows[1:]),
        "stream_of_noise.png": whole[: stream + 4] + bytes(len(whole) - stream - 20) + whole[-16:],
        "method_1.png": (
            PNG_HEAD
            + png_chunk(b"IHDR", struct.pack(">IIBBBBB", 64, 48, 8, 2, 1, 0, 0))
            + whole[33:]
        ),
    }


# ── transparency: the same drawing, and what it looks like on white ──


def stencil() -> tuple[np.ndarray, np.ndarray]:
    """A grey drawing (48, 64) of three levels, and where it is visible, (48, 64) bool."""
    levels = np.array([40, 120, 200], np.uint8)
    drawing = levels[np.random.default_rng(5).integers(0, 3, (6, 8))].repeat(8, 0).repeat(8, 1)
    visible = np.add.outer(np.arange(48), np.arange(64)) % 20 < 12
    return drawing, visible


def stencil_on_white() -> np.ndarray:
    drawing, visible = stencil()
    return np.where(visible, drawing, 255).astype(np.uint8)[:, :, None].repeat(3, 2)


def transparent(kind: str, hidden: int = 90) -> bytes:
    """The stencil as one of TRANSPARENT, its invisible part painted with the grey `hidden`."""
    drawing, visible = stencil()
    grey = np.where(visible, drawing, hidden).astype(np.uint8)
    alpha = np.where(visible, 255, 0).astype(np.uint8)
    rgba = np.dstack([grey, grey, grey, alpha])
    key = struct.pack(">H", hidden)
    return {
        "RGBA png": lambda: encoded(rgba),
        "LA png": lambda: encoded(Image.fromarray(np.dstack([grey, alpha]), "LA")),
        "palette png": lambda: encoded(Image.fromarray(grey).convert("P"), transparency=hidden),
        "RGB png with a key": lambda: png(
            64, 48, 8, 2, rows_of(rgba[:, :, :3]), (b"tRNS", key * 3)
        ),
        "grey png with a key": lambda: png(64, 48, 8, 0, rows_of(grey), (b"tRNS", key)),
        "16-bit grey png with a key": lambda: png(
            64,
            48,
            16,
            0,
            rows_of(grey.astype(np.uint16) * 257),
            (b"tRNS", struct.pack(">H", hidden * 257)),
        ),
        "16-bit RGB png with a key": lambda: rgb16_png(
            rgba[:, :, :3].astype(np.uint16) * 257, (b"tRNS", struct.pack(">H", hidden * 257) * 3)
        ),
        "webp": lambda: encoded(rgba, "WEBP", lossless=True, exact=True),
        "gif": lambda: encoded(Image.fromarray(grey).convert("P"), "GIF", transparency=hidden),
        "RGBA tiff": lambda: encoded(rgba, "TIFF"),
        "LA tiff": lambda: encoded(Image.fromarray(np.dstack([grey, alpha]), "LA"), "TIFF"),
        "palette and alpha tiff": lambda: encoded(_palette_and_alpha(grey, alpha), "TIFF"),
        "premultiplied grey tiff": lambda: _premultiplied_tiff(grey, alpha),
    }[kind]()


TRANSPARENT = [
    "RGBA png",
    "LA png",
    "palette png",
    "RGB png with a key",
    "grey png with a key",
    "16-bit grey png with a key",
    "16-bit RGB png with a key",
    "webp",
    "gif",
    "RGBA tiff",
    "LA tiff",
    "palette and alpha tiff",
    "premultiplied grey tiff",
]


def invisible(format: str) -> bytes:
    """An image of which every pixel is transparent, over hidden colours."""
    rgba = Image.fromarray(scene()).convert("RGBA")
    rgba.putalpha(0)
    return encoded(rgba, format, **({"lossless": True} if format == "WEBP" else {}))


def white_icon() -> bytes:
    """A white drawing on transparency: on white nothing of it can be seen."""
    _, visible = stencil()
    alpha = np.where(visible, 255, 0).astype(np.uint8)
    return encoded(np.dstack([np.full((48, 64, 3), 255, np.uint8), alpha]))


def _palette_and_alpha(grey: np.ndarray, alpha: np.ndarray) -> Image.Image:
    img = Image.fromarray(grey).convert("P").convert("PA")
    img.putalpha(Image.fromarray(alpha))
    return img


def _premultiplied_tiff(grey: np.ndarray, alpha: np.ndarray) -> bytes:
    """Mode "La": grey already multiplied by alpha."""
    data = encoded(Image.fromarray(np.dstack([grey * (alpha // 255), alpha]), "LA"), "TIFF")
    unassociated, associated = (struct.pack("<HHII", 338, 3, 1, kind) for kind in (2, 1))
    assert unassociated in data
    return data.replace(unassociated, associated)


def four_bit_png_with_a_key() -> bytes:
    """Greys 0 to 15 in 4 bits, of which grey 5 is transparent: 16 x 1 pixels."""
    return png(
        16, 1, 4, 0, b"\0" + bytes.fromhex("0123456789abcdef"), (b"tRNS", struct.pack(">H", 5))
    )


# ── several images in one file ──


def animated(format: str, seed: int = 0, frames: int = 3) -> bytes:
    """An animation or a file of several pages (GIF, PNG, WEBP, AVIF, TIFF, MPO); the first is the
    scene.
    """
    first, *others = (Image.fromarray(scene(seed + i)) for i in range(frames))
    options = {"lossless": True} if format == "WEBP" else {}
    return encoded(first, format, save_all=True, append_images=others, **options)


def long_gif(frames: int = 10_000) -> bytes:
    """An animation of `frames` images of 64 x 48 pixels."""
    one = encoded(scene(), "GIF")
    head = 13 + 3 * 2 ** ((one[10] & 7) + 1)  # the header and the palette
    return one[:head] + one[head:-1] * frames + b";"


# ── bombs ──


def _compressed_zeros(size: int) -> bytes:
    squeeze = zlib.compressobj(9)
    block = bytes(2**20)
    parts = [squeeze.compress(block) for _ in range(size // 2**20)]
    return b"".join([*parts, squeeze.compress(bytes(size % 2**20)), squeeze.flush()])


def bit_bomb() -> bytes:
    """30,000 x 30,000 pixels of one bit, all there, in about 110 KB."""
    whole = png(30_000, 30_000, 1, 0, b"")
    empty, full = zlib.compress(b""), _compressed_zeros(30_000 * 3751)
    old = (
        struct.pack(">I", len(empty))
        + b"IDAT"
        + empty
        + struct.pack(">I", zlib.crc32(b"IDAT" + empty))
    )
    new = (
        struct.pack(">I", len(full))
        + b"IDAT"
        + full
        + struct.pack(">I", zlib.crc32(b"IDAT" + full))
    )
    return whole.replace(old, new)


def bombs() -> dict[str, bytes]:
    """Small files that claim, or expand to, very much."""
    text = _compressed_zeros(100 * 2**20)
    rows = rows_of(scene())
    bmp = bytearray(encoded(scene(), "BMP"))
    bmp[18:26] = struct.pack("<ii", 60_000, 60_000)
    gif = bytearray(encoded(scene(), "GIF"))
    gif[6:10] = struct.pack("<HH", 65_535, 65_535)
    webp = b"VP8X" + struct.pack("<IB3x", 10, 0) + (16_382).to_bytes(3, "little") * 2
    tiff = bytearray(encoded(scene(), "TIFF"))
    for tag in (256, 257):
        at = tiff.index(struct.pack("<HHI", tag, 4, 1))
        tiff[at + 8 : at + 12] = struct.pack("<I", 200_000)
    return {
        "bomb_bits.png": bit_bomb(),
        "bomb_header.bmp": bytes(bmp),
        "bomb_header.gif": bytes(gif),
        "bomb_header.tif": bytes(tiff),
        "bomb_header.webp": b"RIFF" + struct.pack("<I", 4 + len(webp)) + b"WEBP" + webp,
        "bomb_ztxt.png": png(64, 48, 8, 2, rows, (b"zTXt", b"Comment\0\0" + text)),
        "bomb_itxt.png": png(64, 48, 8, 2, rows, (b"iTXt", b"Comment\0\1\0\0\0" + text)),
        "bomb_icc.png": png(64, 48, 8, 2, rows, (b"iCCP", b"icc\0\0" + text)),
    }


# ── what is no image, or none that is read here ──


def impostors() -> dict[str, tuple[bytes, str]]:
    """File name ending in .jpg: (content, word that the verdict says)."""
    box = struct.pack(">I", 24)
    return {
        "html.jpg": (b"<!DOCTYPE html>\n<html><body>404 Not Found</body></html>", "HTML"),
        "svg.jpg": (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
        "xml.jpg": (b'<?xml version="1.0"?>\n<Error><Code>AccessDenied</Code></Error>', "XML"),
        "pdf.jpg": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n", "PDF"),
        "late_pdf.jpg": (b"\r\n\r\n%PDF-1.4\n", "PDF"),
        "eps.jpg": (
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n",
            "EPS",
        ),
        "ps.jpg": (b"%!PS-Adobe-3.0\n%%Pages: 1\nshowpage\n", "PostScript"),
        "wmf.jpg": (b"\xd7\xcd\xc6\x9a" + bytes(40), "WMF"),
        "emf.jpg": (b"\1\0\0\0" + bytes(36) + b" EMF" + bytes(60), "EMF"),
        "zip.jpg": (b"PK\x03\x04\x14\0\0\0" + bytes(40), "ZIP"),
        "gzip.jpg": (b"\x1f\x8b\x08\0" + bytes(20), "gzip"),
        "tar.jpg": (b"cat.jpg".ljust(257, b"\0") + b"ustar\x0000" + bytes(248), "tar"),
        "elf.jpg": (b"\x7fELF\x02\x01\x01" + bytes(60), "program"),
        "pickle.jpg": (
            b"\x80\x04\x95\x1a\0\0\0\0\0\0\0\x8c\x05posix\x94\x8c\x06system\x94\x93\x94.",
            "pickle",
        ),
        "mp4.jpg": (box + b"ftypisom\0\0\2\0isomiso2avc1mp41" + bytes(100), "video"),
        "lfs.jpg": (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n",
            "Git LFS",
        ),
        "text.jpg": (b"not an image\n", "text"),
        "._companion.jpg": (b"\0\x05\x16\x07\0\x02\0\0Mac OS X        " + bytes(50), "macOS"),
        "noise.jpg": (b"\xee\x01" * 400, "no known image format"),
    }


def unsupported() -> dict[str, tuple[bytes, str]]:
    """File name: (content, word that the verdict says)."""
    return {
        "layers.psd": (b"8BPS\0\1" + bytes(60), "Photoshop"),
        "camera.cr2": (b"II*\0\x10\0\0\0CR\x02\0" + bytes(60), "camera raw"),
        "camera.cr3": (
            struct.pack(">I", 24) + b"ftypcrx \0\0\0\1crx isom" + bytes(60),
            "camera raw",
        ),
        "camera.dng": (encoded(scene(), "TIFF", tiffinfo={50706: b"\1\4\0\0"}), "camera raw"),
        "float.tif": (float_tiff(), "floating-point"),
        "int32.tif": (int32_tiff(), "whole numbers"),
        "satellite.tif": (bands_tiff(13, 16), "13 bands of 16 bits"),
        "satellite_planes.tif": (bands_tiff(13, 16, planes=True), "13 bands of 16 bits"),
        "compressed.tif": (
            tiff(64, 48, bytes(100), bits=(8, 8, 8), photometric=2, tags={259: (34887,)}),
            "compressed by LERC",
        ),
        "any.pam": (b"P7\nWIDTH 2\nHEIGHT 2\nDEPTH 3\nMAXVAL 255\nENDHDR\n" + bytes(12), "PAM"),
        "colour.pfm": (b"PF\n2 2\n-1.0\n" + bytes(48), "PFM"),
    }


def bands_tiff(bands: int, bits: int, *, planes: bool = False, extra: int | None = 0) -> bytes:
    """The scene as the first bands of a TIFF of many; `extra` is what the others are said to be."""
    kind = {8: np.uint8, 16: np.uint16}[bits]
    more = np.repeat(255 - scene()[:, :, :1], bands, axis=2)
    pixels = np.dstack([scene(), more])[:, :, :bands].astype(kind)
    tags: dict[int, tuple[int, ...]] = {} if extra is None else {338: (extra,) * (bands - 3)}
    if planes:
        size = 64 * 48 * bits // 8
        starts = tuple(8 + size * band for band in range(bands))
        tags |= {284: (2,), 273: starts, 279: (size,) * bands}
        pixels = pixels.transpose(2, 0, 1)
    return tiff(64, 48, pixels.tobytes(), bits=(bits,) * bands, photometric=2, tags=tags)


# ── colour profiles ──


def profile(*, is_wide: bool) -> bytes:
    """The profile of sRGB, or one with the primaries of a wide space, as some cameras write."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    (count,) = struct.unpack_from(">I", data, 128)
    entries = [struct.unpack_from(">4sI", data, 132 + 12 * entry) for entry in range(count)]
    wide = {
        b"rXYZ": (0.7977, 0.2880, 0.0),
        b"gXYZ": (0.1352, 0.7119, 0.0),
        b"bXYZ": (0.0313, 0.0001, 0.8249),
    }
    for tag, at in entries:
        if is_wide and tag in wide:
            data[at + 8 : at + 20] = struct.pack(">3i", *(round(v * 65536) for v in wide[tag]))
    return bytes(data)


def in_wide_colours(pixels: np.ndarray, format: str = "PNG", **options: object) -> bytes:
    """An image stored in the wide space, with its profile: it looks as its pixels in sRGB."""
    wide = profile(is_wide=True)
    source = ImageCms.ImageCmsProfile(io.BytesIO(wide))
    img = ImageCms.profileToProfile(Image.fromarray(pixels), ImageCms.createProfile("sRGB"), source)
    assert img is not None
    return encoded(img, format, icc_profile=wide, **options)


# ── what an extra decodes ──


def extra_files() -> dict[str, bytes]:
    """An image of each format that needs an extra, as far as they are installed."""
    found = {}
    if find_spec("pillow_heif"):
        found["phone.heic"] = heic()
    if find_spec("pillow_jxl"):
        found["new.jxl"] = jxl()
    if find_spec("pydicom"):
        found["scan.dcm"] = dicom(scene()[:, :, 0])
    return found


def heic(seed: int = 0) -> bytes:
    """The scene as an iPhone writes it."""
    import pillow_heif

    out = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(scene(seed))).save(out, quality=95)
    return out.getvalue()


def jxl(seed: int = 0) -> bytes:
    """The scene as JPEG XL, without loss."""
    import_module("pillow_jxl")
    out = io.BytesIO()
    Image.fromarray(scene(seed)).save(out, "JXL", lossless=True)
    return out.getvalue()


def dicom(values: np.ndarray, syntax: str = "1.2.840.10008.1.2.1", **elements: object) -> bytes:
    """Grey values as DICOM: uint8 or uint16, or int16 as tomographs write. More elements by name.

    With the syntax of a compression the pixels are noise that claims to be compressed so.
    """
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.encaps import encapsulate
    from pydicom.uid import UID

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = UID(syntax)
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = (
        "1.2.840.10008.5.1.4.1.1.2",
        "1.2",
    )
    dataset = FileDataset(None, {}, file_meta=meta, preamble=bytes(128))
    bits = 8 * values.itemsize
    frames = values if values.ndim == 3 else values[None]
    usual = {
        "Rows": frames.shape[1],
        "Columns": frames.shape[2],
        "NumberOfFrames": len(frames),
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": bits,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": int(values.dtype.kind == "i"),
        "PixelData": frames.tobytes(),
    }
    for name, value in {**usual, **elements}.items():
        setattr(dataset, name, value)
    if meta.TransferSyntaxUID.is_compressed:
        dataset.PixelData = encapsulate([frame.tobytes() for frame in frames])
        dataset["PixelData"].VR = "OB"
    out = io.BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    return out.getvalue()


# ── the PNM family ──


def pnm(kind: int, top: int = 255) -> bytes:
    """The scene as P1 to P6, with a comment in its header."""
    grey = np.asarray(Image.fromarray(scene()).convert("L"), int)
    values = {1: grey < 128, 2: grey, 3: scene(), 4: grey < 128, 5: grey, 6: scene()}[kind]
    values = values.astype(int) if kind in (1, 4) else values.astype(int) * top // 255
    head = f"P{kind}\n# by hand\n64 48\n" + ("" if kind in (1, 4) else f"{top}\n")
    if kind < 4:
        return (head + "\n".join(" ".join(map(str, row.ravel())) for row in values)).encode()
    if kind == 4:
        return head.encode() + np.packbits(values, axis=1).tobytes()
    return head.encode() + values.astype("u1" if top < 256 else ">u2").tobytes()


def salt(folder: Path) -> dict[str, str]:
    """Write a varied set of odd files into `folder`; return what the status of each name should be.

    Good ones each show a scene of their own. Pipe, socket and permissions are left out where the
    system has none.
    """
    good = {
        "plain.jpg": encoded(scene(100), "JPEG"),
        "turned.jpg": oriented("JPEG", 6, seed=101),
        "turned.tif": oriented("TIFF", 8, seed=102),
        "inks.jpg": cmyk_jpeg(103),
        "ycck.jpg": ycck_jpeg(104),
        "no_marker.jpg": no_marker_jpeg(105),
        "sixteen.png": ramp_file("png"),
        "lab.tif": in_mode("LAB", "TIFF", 106),
        "one_bit.png": in_mode("1", "PNG", 107),
        "see_through.png": transparent("RGBA png"),
        "invisible.png": invisible("PNG"),
        "empty_alpha.bmp": empty_alpha_bmp(),
        "key.png": transparent("RGB png with a key"),
        "moving.gif": animated("GIF", 110),
        "moving.webp": animated("WEBP", 120),
        "pages.tif": animated("TIFF", 130),
        "pair.mpo": animated("MPO", 140),
        "png_named.jpg": encoded(scene(150)),
        "bad_exif.jpg": bad_exif("JPEG"),
        "no_extension": encoded(scene(151), "BMP"),
        "infrared.tif": bands_tiff(4, 8, extra=None),
        "unended.jpg": encoded(scene(152), "JPEG")[:-2],
        "wide_colours.png": in_wide_colours(scene(153)),
        "bad_profile.png": encoded(scene(154), icc_profile=b"any bytes at all"),
        "white_icon.png": white_icon(),
        "grey.pgm": pnm(5),
    }
    jpeg, still_gif = encoded(scene(160), "JPEG"), encoded(scene(161), "GIF")
    short = {
        "cut_01.jpg": cut(jpeg, 1),
        "cut_50.jpg": cut(jpeg, 50),
        "cut_90.png": cut(encoded(scene(162)), 90),
        "cut_50.webp": cut(encoded(scene(163), "WEBP"), 50),
        "cut_50.gif": cut(still_gif, 50),
    }
    contents = {
        **{name: (data, "ok") for name, data in good.items()},
        **{name: (data, "truncated") for name, data in short.items()},
        **{name: (data, "not_an_image") for name, (data, _) in impostors().items()},
        **{name: (data, "unsupported") for name, (data, _) in unsupported().items()},
        "bomb_bits.png": (bit_bomb(), "too_large"),
        "corrupt.jpg": (b"\xff\xd8\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0\xff\xd9", "corrupt"),
        "empty.jpg": (b"", "empty"),
    }
    for name, (data, _) in contents.items():
        (folder / name).write_bytes(data)
    expected = {name: status for name, (_, status) in contents.items()}
    return expected | special_files(folder)


def special_files(folder: Path) -> dict[str, str]:
    """Write what is in the folder but is no ordinary file; return the status of each name."""
    (folder / "dangling.jpg").symlink_to(folder / "nowhere.jpg")
    (folder / "loop.jpg").symlink_to(folder / "loop.jpg")
    (folder / "folder.jpg").mkdir()
    expected = {"dangling.jpg": "missing", "loop.jpg": "missing", "folder.jpg": "not_a_file"}
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "pipe.jpg")
        os.mknod(folder / "socket.jpg", stat.S_IFSOCK | 0o600)
        expected |= {"pipe.jpg": "not_a_file", "socket.jpg": "not_a_file"}
    if hasattr(os, "getuid") and os.getuid() != 0:  # nothing is forbidden to root
        (folder / "forbidden.jpg").write_bytes(encoded(scene(), "JPEG"))
        (folder / "forbidden.jpg").chmod(0)
        expected["forbidden.jpg"] = "unreadable"
    return expected


# ── all there is ──


def gallery(folder: Path) -> list[str]:
    """Write every odd image that can be made into `folder`; return their names, sorted.

    The same each time, as far as the encoders are. Without a file that its owner may not read,
    which root may.
    """
    contents = gallery_contents()
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    return sorted([*contents, *special_files(folder).keys() - {"forbidden.jpg"}])


def gallery_contents() -> dict[str, bytes]:
    """File name: content. Ordinary files only; some hundreds."""
    suffixes = {"webp": "webp", "gif": "gif", "tiff": "tif"}
    see_through = {kind: suffixes.get(kind.split()[-1], "png") for kind in TRANSPARENT}
    return {
        **_plain_files(),
        **_deep_files(),
        **{
            f"turned_{n}.{SUFFIXES[f]}": oriented(f, n)
            for f in _EXIF_FORMATS
            for n in (*range(10), 65535)
        },
        **{
            f"captured.{SUFFIXES[f]}": captured(f, make="Acme", model="Shot 9")
            for f in _EXIF_FORMATS
        },
        **{f"bad_exif.{SUFFIXES[f]}": bad_exif(f) for f in ("JPEG", "PNG", "WEBP")},
        **_coloured_files(),
        **_later_files(),
        **{
            f"transparent_{kind.replace(' ', '_')}.{end}": transparent(kind)
            for kind, end in see_through.items()
        },
        **{f"invisible.{SUFFIXES[f]}": invisible(f) for f in ("PNG", "GIF", "WEBP", "TIFF")},
        "transparent_four_bit_key.png": four_bit_png_with_a_key(),
        **{f"png_{c}_{d}.png": any_png(c, d)[0] for c, d in PNG_KINDS},
        **{f"png_{c}_{d}_interlaced.png": any_png(c, d, interlaced=True)[0] for c, d in PNG_KINDS},
        **{f"png_{c}_{d}_key.png": any_png(c, d, key=True)[0] for c, d in PNG_KINDS if c < 4},
        **{f"png_filter_{n}.png": any_png(2, 8, row_filter=n)[0] for n in range(5)},
        **{f"broken_{name}": data for name, data in broken_pngs().items()},
        **_several_files(),
        **_short_files(),
        **bombs(),
        **more_bombs(),
        **{f"impostor_{name.lstrip('.')}": data for name, (data, _) in impostors().items()},
        **{f"unsupported_{name}": data for name, (data, _) in unsupported().items()},
        **_misnamed_files(),
        **_damaged_files(),
    }


_EXIF_FORMATS = [format for format in FORMATS if format not in ("GIF", "BMP")]


def _plain_files() -> dict[str, bytes]:
    """Every format, in the ways that it is usually written, and in extreme shapes."""
    ways: dict[str, tuple[str, dict[str, object]]] = {
        "progressive": ("JPEG", {"progressive": True}),
        "subsampled_420": ("JPEG", {"subsampling": "4:2:0"}),
        "subsampled_422": ("JPEG", {"subsampling": "4:2:2"}),
        "restarts": ("JPEG", {"restart_marker_blocks": 2}),
        "comment": ("JPEG", {"comment": b"no comment"}),
        "profile": ("JPEG", {"icc_profile": b"any bytes at all"}),
        "tables_kept_small": ("JPEG", {"optimize": True}),
        "lossless": ("WEBP", {"lossless": True}),
        "lossy": ("WEBP", {"quality": 40}),
        "uninterlaced": ("GIF", {"interlace": 0}),
        "lzw": ("TIFF", {"compression": "tiff_lzw"}),
        "deflate": ("TIFF", {"compression": "tiff_adobe_deflate"}),
        "packbits": ("TIFF", {"compression": "packbits"}),
        "jpeg_inside": ("TIFF", {"compression": "jpeg"}),
        "big": ("TIFF", {"big_tiff": True}),
    }
    sizes = {"1x1": (1, 1), "1x5000": (1, 5000), "5000x1": (5000, 1)}
    tall = {
        f"size_{name}.{SUFFIXES[f]}": encoded(_red(size), f)
        for name, size in sizes.items()
        for f in FORMATS
    }
    fax = {
        f"plain_{name}.tif": in_mode("1", "TIFF", compression=name) for name in ("group3", "group4")
    }
    return {
        **{f"plain.{SUFFIXES[f]}": encoded(scene(), f) for f in FORMATS},
        **{
            f"plain_{name}.{SUFFIXES[f]}": encoded(scene(), f, **options)
            for name, (f, options) in ways.items()
        },
        **tall,
        **fax,
        "plain_big_endian.tif": tiff(
            64, 48, scene().tobytes(), bits=(8, 8, 8), photometric=2, order=">"
        ),
        "plain_no_extension": encoded(scene()),
    }


def _red(size: tuple[int, int]) -> Image.Image:
    return Image.new("RGB", size, "red")


def _deep_files() -> dict[str, bytes]:
    """More than 8 bits a channel."""
    grey, drawing = ramp(), scene().astype(np.uint16) * 257
    return {
        **{
            f"deep_{kind.replace(' ', '_')}.{'png' if 'png' in kind else 'tif'}": ramp_file(kind)
            for kind in RAMPS
        },
        "deep_12_bits.tif": twelve_bit_tiff(),
        "deep_rgba.tif": tiff(
            64,
            48,
            np.dstack([drawing, drawing[:, :, :1]]).tobytes(),
            bits=(16,) * 4,
            photometric=2,
            tags={338: (2,)},
        ),
        "deep_inks.tif": tiff(
            64, 48, (inks().astype(np.uint16) * 257).tobytes(), bits=(16,) * 4, photometric=5
        ),
        "deep_signed.tif": tiff(256, 256, grey.tobytes(), bits=(16,), tags={339: (2,)}),
        "deep_32_bits.tif": tiff(256, 256, grey.astype(np.uint32).tobytes(), bits=(32,)),
        "deep_32_bits_signed.tif": tiff(
            256, 256, grey.astype(np.int32).tobytes(), bits=(32,), tags={339: (2,)}
        ),
        "deep_float.tif": tiff(
            256, 256, (grey / 65535).astype(np.float32).tobytes(), bits=(32,), tags={339: (3,)}
        ),
        "deep_double.tif": tiff(256, 256, (grey / 65535).tobytes(), bits=(64,), tags={339: (3,)}),
        "deep_signed_bytes.tif": tiff(
            256, 256, (grey >> 8).astype(np.uint8).tobytes(), tags={339: (2,)}
        ),
    }


def _coloured_files() -> dict[str, bytes]:
    """Every mode that each format can hold, and the ways of ink."""
    modes = {
        "JPEG": ["L"],
        "PNG": ["1", "L", "P", "LA", "RGBA"],
        "GIF": ["1", "L", "P", "RGBA"],
        "WEBP": ["L", "RGBA"],
        "BMP": ["1", "L", "P", "RGBA"],
        "TIFF": ["1", "L", "P", "LA", "RGBA", "CMYK", "YCbCr", "LAB"],
        "AVIF": ["L", "RGBA"],
    }
    held = {f"mode_{m}.{SUFFIXES[f]}": in_mode(m, f) for f in FORMATS for m in modes[f]}
    low, high = (
        np.packbits(np.unpackbits(scene()[:, :, 0], axis=1)[:, ::8], axis=1),
        scene()[:, :, 0] >> 4,
    )
    return held | {
        "ink_adobe.jpg": cmyk_jpeg(),
        "ink_ycck.jpg": ycck_jpeg(),
        "ink_no_marker.jpg": no_marker_jpeg(),
        "ink_smooth.tif": encoded(Image.fromarray(inks(), "CMYK"), "TIFF"),
        "ink_fifth_channel.tif": tiff(
            64,
            48,
            np.dstack([inks(), scene()[:, :, 0]]).tobytes(),
            bits=(8,) * 5,
            photometric=5,
            tags={332: (2,)},
        ),
        "bits_1.tif": tiff(64, 48, low.tobytes(), bits=(1,)),
        "bits_1_white_is_zero.tif": tiff(64, 48, low.tobytes(), bits=(1,), photometric=0),
        "bits_4.tif": tiff(64, 48, (high[:, ::2] << 4 | high[:, 1::2]).tobytes(), bits=(4,)),
        "planes_apart.tif": tiff(
            64,
            48,
            scene().transpose(2, 0, 1).tobytes(),
            bits=(8, 8, 8),
            photometric=2,
            tags={273: (8, 8 + 3072, 8 + 6144), 279: (3072,) * 3, 284: (2,)},
        ),
        "two_grey_channels.tif": tiff(64, 48, scene()[:, :, :2].tobytes(), bits=(8, 8)),
        **_bmp_files(),
    }


def _later_files() -> dict[str, bytes]:
    """Kinds of files that a first version of the contract refused, or took for others."""
    jpeg = encoded(scene(), "JPEG")
    wide = profile(is_wide=True)
    moved = {f"profile_wide.{SUFFIXES[f]}": in_wide_colours(scene(), f) for f in _WITH_PROFILE}
    pnms = {f"pnm_{kind}.p{'bgp'[(kind - 1) % 3]}m": pnm(kind) for kind in range(1, 7)}
    wavelets = {}
    if features.check("jpg_2000"):
        wavelets = {
            "wavelets_plain.jp2": encoded(scene(), "JPEG2000"),
            "wavelets_grey_16.jp2": encoded(Image.fromarray(ramp()), "JPEG2000"),
            "wavelets_cut.jp2": cut(encoded(scene(), "JPEG2000"), 60),
        }
    return {
        **moved,
        **pnms,
        **wavelets,
        **{f"extra_{name}": data for name, data in extra_files().items()},
        "pnm_5_16_bits.pgm": pnm(5, 65535),
        "pnm_5_12_bits.pgm": pnm(5, 4095),
        "pnm_6_16_bits.ppm": pnm(6, 65535),
        "pnm_5_cut.pgm": cut(pnm(5), 70),
        "pnm_2_cut.pgm": cut(pnm(2), 70),
        "profile_srgb.png": encoded(scene(), icc_profile=profile(is_wide=False)),
        "profile_damaged.png": encoded(scene(), icc_profile=wide[:200]),
        "profile_of_ink_on_rgb.jpg": encoded(
            scene(), "JPEG", icc_profile=wide.replace(b"RGB ", b"CMYK", 1)
        ),
        "profile_on_grey.png": in_mode("L", "PNG", icc_profile=wide),
        "profile_on_palette.png": in_mode("P", "PNG", icc_profile=wide),
        "unended.jpg": jpeg[:-2],
        "unended_half.jpg": jpeg[:-1],
        "unended_zeros.jpg": jpeg[:-2] + bytes(64),
        "unended_restarts.jpg": encoded(scene(), "JPEG", restart_marker_blocks=2)[:-2],
        "unended_progressive.jpg": encoded(scene(), "JPEG", progressive=True)[:-2],
        "unended_row_missing.jpg": jpeg[:-40],
        "unended_row_of_zeros.jpg": jpeg[:-40] + bytes(4000),
        "bands_4_unnamed.tif": bands_tiff(4, 8),
        "bands_4_without_a_word.tif": bands_tiff(4, 8, extra=None),
        "bands_4_alpha.tif": bands_tiff(4, 8, extra=2),
        "bands_5.tif": bands_tiff(5, 8),
        "bands_13.tif": bands_tiff(13, 8),
        "icon_white.png": white_icon(),
        "icon_black.png": encoded(_black_icon()),
        "flat.png": encoded(np.full((48, 64, 3), 90, np.uint8)),
    }


_WITH_PROFILE = ("JPEG", "PNG", "WEBP", "TIFF")


def _black_icon() -> np.ndarray:
    _, visible = stencil()
    alpha = np.where(visible, 255, 0).astype(np.uint8)
    return np.dstack([np.zeros((48, 64, 3), np.uint8), alpha])


def bmp(
    bits: int,
    body: bytes,
    *,
    height: int = 48,
    compression: int = 0,
    palette: bytes = b"",
    head: int = 40,
) -> bytes:
    """A BMP by hand, 64 pixels across; its rows run upwards unless `height` is negative."""
    if head == 12:
        header = struct.pack("<IHHHH", 12, 64, height, 1, bits)
    else:
        header = struct.pack(
            "<IiiHHIIiiII", 40, 64, height, 1, bits, compression, len(body), 2835, 2835, 0, 0
        )
    start = 14 + len(header) + len(palette)
    return struct.pack("<2sIHHI", b"BM", start + len(body), 0, 0, start) + header + palette + body


def empty_alpha_bmp() -> bytes:
    """A BMP of 32 bits with a mask for alpha, which is 0 in every pixel."""
    body = np.dstack([scene()[::-1, :, ::-1], np.zeros((48, 64), np.uint8)]).tobytes()
    masks = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    header = struct.pack("<IiiHHIIiiII", 56, 64, 48, 1, 32, 3, len(body), 2835, 2835, 0, 0) + masks
    start = 14 + len(header)
    return struct.pack("<2sIHHI", b"BM", start + len(body), 0, 0, start) + header + body


def _bmp_files() -> dict[str, bytes]:
    bgr, grey = scene()[:, :, ::-1], scene()[:, :, 0]
    greys = b"".join(bytes([level, level, level, 0]) for level in range(256))
    red, green, blue = (scene()[:, :, channel].astype(np.uint16) for channel in range(3))
    masks = struct.pack("<III", 0xF800, 0x07E0, 0x001F)
    packed = (red >> 3 << 11 | green >> 2 << 5 | blue >> 3).tobytes()
    runs = b"".join(
        bytes([1, level]) for row in grey for level in [*row, None] if level is not None
    )
    rle = b"".join(b"".join(bytes([1, level]) for level in row) + b"\0\0" for row in grey) + b"\0\1"
    return {
        "bmp_top_down.bmp": bmp(24, bgr.tobytes(), height=-48),
        "bmp_os2.bmp": bmp(24, bgr.tobytes(), head=12),
        "bmp_555.bmp": bmp(16, (red >> 3 << 10 | green >> 3 << 5 | blue >> 3).tobytes()),
        "bmp_565.bmp": bmp(16, packed, compression=3, palette=masks),
        "bmp_32.bmp": bmp(32, np.dstack([bgr, bgr[:, :, :1]]).tobytes()),
        "bmp_32_empty_alpha.bmp": empty_alpha_bmp(),
        "bmp_runs.bmp": bmp(8, rle, compression=1, palette=greys),
        "bmp_runs_without_end.bmp": bmp(8, runs, compression=1, palette=greys),
        "bmp_of_2_bits.bmp": bmp(2, bytes(48 * 16), palette=greys[:16]),
        "bmp_jpeg_inside.bmp": bmp(0, encoded(scene(), "JPEG"), compression=4),
    }


def _several_files() -> dict[str, bytes]:
    """Animations, pages, pairs; and what follows the end of an image."""
    jpeg, gif, png_ = encoded(scene(), "JPEG"), encoded(scene(), "GIF"), encoded(scene())
    moving = {f"several.{SUFFIXES[f]}": animated(f) for f in FORMATS if f not in ("JPEG", "BMP")}
    return moving | {
        "several.mpo": animated("MPO"),
        "several_of_one.gif": animated("GIF", frames=1),
        "several_10000.gif": long_gif(),
        "several_cut.gif": cut(animated("GIF"), 60),
        "several_cut.webp": cut(animated("WEBP"), 60),
        "several_cut.png": cut(animated("PNG"), 60),
        "several_cut.mpo": cut(animated("MPO"), 60),
        "tail_of_zeros.jpg": jpeg + bytes(1000),
        "tail_of_noise.jpg": jpeg + b"\xee\x01" * 500,
        "tail_of_zeros.gif": gif + bytes(1000),
        "tail_of_noise.png": png_ + b"\xee\x01" * 500,
        "tail_is_a_zip.png": png_ + b"PK\x03\x04" + bytes(100),
        "two_joined.jpg": jpeg + encoded(scene(1), "JPEG"),
        "two_joined.png": png_ + encoded(scene(1)),
    }


def _short_files() -> dict[str, bytes]:
    """Every format cut short, and files that end within their first bytes."""
    whole = {SUFFIXES[f]: encoded(scene(), f) for f in FORMATS}
    pieces = {
        f"cut_{n:02}.{end}": cut(data, n)
        for end, data in whole.items()
        for n in (1, 10, 50, 90, 99)
    }
    return pieces | {
        **{f"first_12_bytes.{end}": data[:12] for end, data in whole.items()},
        "cut_50_progressive.jpg": cut(encoded(scene(), "JPEG", progressive=True), 50),
        "cut_50_lossless.webp": cut(encoded(scene(), "WEBP", lossless=True), 50),
        "cut_50_lzw.tif": cut(encoded(scene(), "TIFF", compression="tiff_lzw"), 50),
        "cut_50_big.tif": cut(encoded(scene(), "TIFF", big_tiff=True), 50),
        "empty.jpg": b"",
        "one_byte.jpg": b"\xff",
        "zeros.jpg": bytes(5000),
        "newline.png": b"\n",
    }


def more_bombs() -> dict[str, bytes]:
    """Headers that claim the most that they can, and directories of very many entries."""
    jpeg = bytearray(encoded(scene(), "JPEG"))
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = struct.pack(">HH", 65_500, 65_500)
    entries = b"".join(struct.pack("<HHII", tag, 7, 60_000, 8) for tag in range(1000, 6000))
    directory = struct.pack("<2sHIH", b"II", 42, 8, 5000) + entries + bytes(4)
    huge_count = struct.pack("<2sHHHQQ", b"II", 43, 8, 0, 16, 2**64 - 1)
    far_away = struct.pack("<2sHHHQ", b"II", 43, 8, 0, 2**64 - 1) + bytes(8)
    bombs = {
        "bomb_header.jpg": bytes(jpeg),
        "bomb_header.png": png(2**31 - 1, 2**31 - 1, 8, 2, b""),
        "bomb_over_limit.png": png(9_460, 9_460, 1, 0, b""),
        "bomb_directory.tif": directory,
        "bomb_big_count.tif": huge_count,
        "bomb_big_offset.tif": far_away,
        "bomb_exif.png": png(64, 48, 8, 2, rows_of(scene()), (b"eXIf", directory)),
        "bomb_chunks.png": png(64, 48, 8, 2, rows_of(scene()), *[(b"teXt", b"")] * 2000),
    }
    if HAS_AVIF:
        avif = bytearray(encoded(scene(), "AVIF"))
        at = avif.index(b"ispe") + 8
        avif[at : at + 8] = struct.pack(">II", 60_000, 60_000)
        bombs["bomb_header.avif"] = bytes(avif)
    return bombs


def _misnamed_files() -> dict[str, bytes]:
    """Every format under the name of another."""
    ends = [*SUFFIXES.values()]
    wrong = {f: ends[(number + 1) % 6] for number, f in enumerate(FORMATS)}
    return {
        **{f"really_{SUFFIXES[f]}.{end}": encoded(scene(), f) for f, end in wrong.items()},
        "really_png.txt": encoded(scene()),
        "really_jpeg.heic": encoded(scene(), "JPEG"),
        "upper_case.JPEG": encoded(scene(), "JPEG"),
        "nonsense_name.jpg.exe": encoded(scene(), "JPEG"),
    }


def _damaged_files() -> dict[str, bytes]:
    """Whole files with a lie in them, each found by no more than a full decode, if at all."""
    jpeg, drawing = encoded(scene(), "JPEG"), encoded(scene())
    flipped = bytearray(drawing)
    flipped[len(drawing) // 2] ^= 0xFF
    ended = cut(jpeg, 60) + b"\xff\xd9"
    tables = jpeg[: jpeg.index(b"\xff\xc4")] + jpeg[jpeg.index(b"\xff\xda") :]
    gif = bytearray(encoded(scene(), "GIF"))
    webp = bytearray(encoded(scene(), "WEBP", lossless=True))
    webp[30:40] = b"\xff" * 10
    return {
        "damaged_stream.png": bytes(flipped),
        "damaged_no_tables.jpg": tables,
        "damaged_ends_early.jpg": ended,
        "damaged_nothing_inside.jpg": b"\xff\xd8\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0\xff\xd9",
        "damaged_code_size.gif": (
            bytes(gif).replace(b"\x40\0\x30\0", b"\x40\0\x30\0", 1)[: 13 + 768 + 10] + b"\x0e;"
        ),
        "damaged_stream.webp": bytes(webp),
        "damaged_strip.tif": tiff(
            64, 48, bytes(100), bits=(8, 8, 8), photometric=2, tags={259: (5,)}
        ),
        "damaged_no_size.tif": tiff(
            64, 48, scene().tobytes(), bits=(8, 8, 8), photometric=2, tags={256: (0,)}
        ),
        "damaged_order.tif": (
            b"MM" + tiff(64, 48, scene().tobytes(), bits=(8, 8, 8), photometric=2)[2:]
        ),
        "damaged_head_of_another.png": PNG_HEAD + jpeg[8:],
        "damaged_head_of_another.gif": b"GIF89a" + drawing[6:],
        "damaged_head_of_another.jpg": b"\xff\xd8\xff" + drawing[3:],
        "damaged_head_of_another.webp": b"RIFF" + struct.pack("<I", 500) + b"WEBP" + jpeg[:492],
    }


def tiffs_that_make_decoders_speak(folder: Path) -> None:
    """Two TIFFs of which libtiff and Pillow's log would print a line each, in 20 copies."""
    strip = _damaged_files()["damaged_strip.tif"]
    bands = tiff(64, 48, bytes(64 * 48 * 13), bits=(8,) * 13, photometric=2)
    for number in range(20):
        (folder / f"strip-{number}.tif").write_bytes(strip)
        (folder / f"bands-{number}.tif").write_bytes(bands)


def plain_pillow_decodes(path: Path) -> bool:
    """Whether Pillow alone, kept to the formats that are read here, gives pixels for the file."""
    try:
        with Image.open(path, formats=[*FORMATS, "PPM", "JPEG2000"]) as img:
            img.load()
    except Exception:
        return False
    return True
