"""Odd pictures, made on the spot: small, seeded, no files needed. Functions return the bytes of one file.

`salt` writes a varied set of them into a folder and says what should become of each.
"""

from __future__ import annotations

import io
import os
import stat
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, features

HAS_AVIF = features.check("avif")
FORMATS = ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", *(["AVIF"] if HAS_AVIF else [])]


# ── the drawing that most pictures show ──


def scene(seed: int = 0) -> np.ndarray:
    """A smooth coloured drawing without any symmetry, (48, 64, 3) uint8."""
    blocks = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    return np.asarray(Image.fromarray(blocks).resize((64, 48), Image.Resampling.BICUBIC))


def encoded(pixels: np.ndarray | Image.Image, format: str = "PNG", **options: object) -> bytes:
    """Encode an array or picture with Pillow; lossy formats at high quality."""
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
    """A good picture whose EXIF data is noise."""
    return encoded(scene(), format, exif=b"Exif\0\0" + b"\xaa\x55" * 40)


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
    stored = Image.fromarray(np.dstack([255 - ycc, cmyk[:, :, 3]]), "CMYK")  # Pillow inverts all four on writing
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
        "tiff white is zero": lambda: encoded(Image.fromarray(65535 - ramp()), "TIFF", tiffinfo={262: 0}),
        "rgb png": lambda: rgb16_png(np.dstack([ramp()] * 3)),
    }[kind]()


RAMPS = ["png", "tiff", "tiff big-endian", "tiff deflate", "tiff white is zero", "rgb png"]


def png(width: int, height: int, depth: int, colour: int, rows: bytes, *extra: tuple[bytes, bytes]) -> bytes:
    """A PNG by hand. `rows`: each with its filter byte. `extra`: (name, content) chunks that go before the pixels."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = [(b"IHDR", header), *extra, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    body = (struct.pack(">I", len(c)) + name + c + struct.pack(">I", zlib.crc32(name + c)) for name, c in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def rows_of(pixels: np.ndarray) -> bytes:
    """PNG rows, unfiltered, of (H, W) or (H, W, C) uint8 or uint16."""
    flat = pixels.reshape(len(pixels), -1)
    return b"".join(b"\0" + row.astype(f">u{pixels.itemsize}").tobytes() for row in flat)


def rgb16_png(pixels: np.ndarray, *extra: tuple[bytes, bytes]) -> bytes:
    """(H, W, 3) uint16 as a PNG of 16 bits a channel, which Pillow cannot write."""
    return png(pixels.shape[1], pixels.shape[0], 16, 2, rows_of(pixels), *extra)


def twelve_bit_tiff() -> bytes:
    """A ramp of 4096 greys packed in 12 bits each, 64 by 64 pixels."""
    values = np.arange(4096).reshape(-1, 2)
    first, second = values[:, 0], values[:, 1]
    packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=1).astype(np.uint8).tobytes()
    tags = [(256, 64), (257, 64), (258, 12), (259, 1), (262, 1), (273, 8), (277, 1), (278, 64), (279, len(packed))]
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return (
        struct.pack("<2sHI", b"II", 42, 8 + len(packed)) + packed + struct.pack("<H", len(tags)) + directory + bytes(4)
    )


def float_tiff() -> bytes:
    return encoded(Image.fromarray(np.linspace(0, 1, 64 * 48, dtype=np.float32).reshape(48, 64)), "TIFF")


def int32_tiff() -> bytes:
    return encoded(Image.fromarray(np.arange(64 * 48, dtype=np.int32).reshape(48, 64)), "TIFF")


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
        "RGB png with a key": lambda: png(64, 48, 8, 2, rows_of(rgba[:, :, :3]), (b"tRNS", key * 3)),
        "grey png with a key": lambda: png(64, 48, 8, 0, rows_of(grey), (b"tRNS", key)),
        "16-bit grey png with a key": lambda: png(
            64, 48, 16, 0, rows_of(grey.astype(np.uint16) * 257), (b"tRNS", struct.pack(">H", hidden * 257))
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
    return png(16, 1, 4, 0, b"\0" + bytes.fromhex("0123456789abcdef"), (b"tRNS", struct.pack(">H", 5)))


# ── several pictures in one file ──


def animated(format: str, seed: int = 0, frames: int = 3) -> bytes:
    """An animation or a file of several pages (GIF, PNG, WEBP, AVIF, TIFF, MPO); the first is the scene."""
    first, *others = (Image.fromarray(scene(seed + i)) for i in range(frames))
    options = {"lossless": True} if format == "WEBP" else {}
    return encoded(first, format, save_all=True, append_images=others, **options)


def long_gif(frames: int = 10_000) -> bytes:
    """An animation of `frames` pictures of 64 x 48 pixels."""
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
    old = struct.pack(">I", len(empty)) + b"IDAT" + empty + struct.pack(">I", zlib.crc32(b"IDAT" + empty))
    new = struct.pack(">I", len(full)) + b"IDAT" + full + struct.pack(">I", zlib.crc32(b"IDAT" + full))
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


# ── what is no picture, or none that is read here ──


def impostors() -> dict[str, tuple[bytes, str]]:
    """File name ending in .jpg: (content, word that the verdict says)."""
    box = struct.pack(">I", 24)
    return {
        "html.jpg": (b"<!DOCTYPE html>\n<html><body>404 Not Found</body></html>", "HTML"),
        "svg.jpg": (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
        "xml.jpg": (b'<?xml version="1.0"?>\n<Error><Code>AccessDenied</Code></Error>', "XML"),
        "pdf.jpg": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n", "PDF"),
        "late_pdf.jpg": (b"\r\n\r\n%PDF-1.4\n", "PDF"),
        "eps.jpg": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n", "EPS"),
        "ps.jpg": (b"%!PS-Adobe-3.0\n%%Pages: 1\nshowpage\n", "PostScript"),
        "wmf.jpg": (b"\xd7\xcd\xc6\x9a" + bytes(40), "WMF"),
        "emf.jpg": (b"\1\0\0\0" + bytes(36) + b" EMF" + bytes(60), "EMF"),
        "zip.jpg": (b"PK\x03\x04\x14\0\0\0" + bytes(40), "ZIP"),
        "gzip.jpg": (b"\x1f\x8b\x08\0" + bytes(20), "gzip"),
        "tar.jpg": (b"cat.jpg".ljust(257, b"\0") + b"ustar\x0000" + bytes(248), "tar"),
        "elf.jpg": (b"\x7fELF\x02\x01\x01" + bytes(60), "program"),
        "pickle.jpg": (b"\x80\x04\x95\x1a\0\0\0\0\0\0\0\x8c\x05posix\x94\x8c\x06system\x94\x93\x94.", "pickle"),
        "mp4.jpg": (box + b"ftypisom\0\0\2\0isomiso2avc1mp41" + bytes(100), "video"),
        "lfs.jpg": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n", "Git LFS"),
        "text.jpg": (b"not a picture\n", "text"),
        "._companion.jpg": (b"\0\x05\x16\x07\0\x02\0\0Mac OS X        " + bytes(50), "macOS"),
        "noise.jpg": (b"\xee\x01" * 400, "no known picture format"),
    }


def unsupported() -> dict[str, tuple[bytes, str]]:
    """File name: (content, word that the verdict says)."""
    return {
        "phone.heic": (struct.pack(">I", 24) + b"ftypheic\0\0\0\0mif1heic" + bytes(200), "HEIC"),
        "phone.heif": (struct.pack(">I", 24) + b"ftypmif1\0\0\0\0mif1heic" + bytes(200), "HEIF"),
        "new.jxl": (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(60), "JPEG XL"),
        "bare.jxl": (b"\xff\x0a" + bytes(60), "JPEG XL"),
        "old.jp2": (b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(60), "JPEG 2000"),
        "layers.psd": (b"8BPS\0\1" + bytes(60), "Photoshop"),
        "scan.dcm": (bytes(128) + b"DICM" + bytes(60), "DICOM"),
        "camera.cr2": (b"II*\0\x10\0\0\0CR\x02\0" + bytes(60), "camera raw"),
        "camera.cr3": (struct.pack(">I", 24) + b"ftypcrx \0\0\0\1crx isom" + bytes(60), "camera raw"),
        "camera.dng": (encoded(scene(), "TIFF", tiffinfo={50706: b"\1\4\0\0"}), "camera raw"),
        "float.tif": (float_tiff(), "floating-point"),
        "int32.tif": (int32_tiff(), "whole numbers"),
    }


def salt(folder: Path) -> dict[str, str]:
    """Write a varied set of odd files into `folder`; return what the status of each name should be.

    Good ones each show a scene of their own. Pipe, socket and permissions are left out where the system has none.
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
        "key.png": transparent("RGB png with a key"),
        "moving.gif": animated("GIF", 110),
        "moving.webp": animated("WEBP", 120),
        "pages.tif": animated("TIFF", 130),
        "pair.mpo": animated("MPO", 140),
        "png_named.jpg": encoded(scene(150)),
        "bad_exif.jpg": bad_exif("JPEG"),
        "no_extension": encoded(scene(151), "BMP"),
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
