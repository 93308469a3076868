"""Any file → RGB pixels, or a named status. The one decode contract: scan, training, prediction and
server all use it.

    path ── read_file ──▶ bytes ── decode ──▶ Decoded(status="ok", pixels=(H, W, 3) uint8 RGB, notes=...)
                 └──────────────────┴───────▶ Decoded(status="truncated", detail="The JPEG data stops before ...")

A file that cannot be decoded never raises, never becomes a substitute image, and never stops a run.
The content decides what a file is, never its name.
"""

from __future__ import annotations

import errno
import io
import os
import re
import stat
import struct
import warnings
import zlib
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

# where Pillow starts to warn; at twice as many it refuses, whatever limit is set here
DEFAULT_MAX_PIXELS = 89_478_485
MAX_FILE_BYTES = 2**30  # 1 GiB: the largest file that is read into memory
HEAD_BYTES = 4096  # enough to recognise what a file is

STATUSES: dict[str, str] = {
    "ok": "The image was decoded.",
    "missing": "There is no such file, or it is a link that leads nowhere. Check the path.",
    "unreadable": "The file exists but could not be read. Check its permissions and the disk.",
    "not_a_file": (
        "This is a folder, pipe, socket or device, not a file. Remove it from the images."
    ),
    "empty": "The file has no content. Copy or download it again, or delete it.",
    "not_an_image": (
        "The content is not an image, whatever the name says. Remove it from the images."
    ),
    "unsupported": "It is an image of a kind that is not read here. Convert it to PNG or JPEG.",
    "truncated": (
        "The file stops before its image is complete. Copy or download it again, or delete it."
    ),
    "corrupt": (
        "The image data is damaged, or of a rare kind. Open it in an editor and save it again, or"
        " delete it."
    ),
    "too_large": "The image is larger than the limit. Make it smaller, or raise the limit.",
}

NOTES: dict[str, str] = {
    "first_frame": (
        "The file holds several images, of an animation or of many pages; only the first is used."
    ),
    "wrong_extension": (
        "The file name ends like another format. It was read by its content; rename it when"
        " convenient."
    ),
    "16_bit_scaled": (
        "Grey values of more than 8 bits were scaled down over their full range. "
        "An image that uses only part of that range comes out dark."
    ),
    "bad_exif": (
        "The EXIF data is damaged, so the image may lie on its side. Check that it stands upright."
    ),
    "cmyk_converted": (
        "Printing inks (CMYK) were converted by the plain formula, so colours may differ a little."
    ),
    "link_outside": (
        "The file is a link that leads out of the folder. It was followed; the folder alone is not"
        " all."
    ),
    "alpha_on_white": "Transparent parts were laid on white.",
}


@dataclass(frozen=True, eq=False)
class Decoded:
    """What became of one file: its pixels, or why there are none.

    `pixels` is read-only: copy it before changing it.
    """

    status: str  # a name from STATUSES
    notes: tuple[str, ...] = ()  # names from NOTES; a note leaves the status "ok"
    pixels: NDArray[np.uint8] | None = field(
        default=None, repr=False
    )  # (H, W, 3) RGB, C-contiguous; None unless ok
    format: str = ""  # "JPEG", "PNG", ... when recognised
    detail: str = ""  # when not ok: one sentence in our own words, without path or address
    # when and by which camera, as EXIF has them: "2026-05-04T13:02:09.250|Make Model serial"
    taken: str = ""

    @property
    def width(self) -> int:
        """Pixels across, after the EXIF orientation was applied; 0 if not ok."""
        return 0 if self.pixels is None else self.pixels.shape[1]

    @property
    def height(self) -> int:
        """Pixels down, after the EXIF orientation was applied; 0 if not ok."""
        return 0 if self.pixels is None else self.pixels.shape[0]


def decode_file(path: Path, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> Decoded:
    """Read and decode one file. Never raises for what the path or the file is; see `decode` and
    `read_file`.
    """
    data = read_file(path)
    return (
        data if isinstance(data, Decoded) else decode(data, name=path.name, max_pixels=max_pixels)
    )


def read_file(path: str | Path) -> bytes | Decoded:
    """Return the bytes of a file that starts like a readable image, or the verdict that says why
    there are none.

    Only the first bytes of anything else are read, so a 10 GB video called x.jpg costs nothing.

    Returns:
        At most 1 GiB of bytes, or a `Decoded` whose status is missing, unreadable, not_a_file,
        empty, not_an_image, unsupported or too_large.
    """
    # Opening a device can already do harm, so the kind is asked first; and once more when open,
    # should the path have changed hands between. O_NONBLOCK, because opening a pipe that nobody
    # writes to would wait for ever.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return Decoded("not_a_file", detail="It is a folder, pipe, socket or device.")
        with os.fdopen(os.open(path, flags), "rb") as file:
            info = os.fstat(file.fileno())
            if not stat.S_ISREG(info.st_mode):
                return Decoded("not_a_file", detail="It is a folder, pipe, socket or device.")
            head = file.peek(HEAD_BYTES)[:HEAD_BYTES]
            if not head:
                return Decoded("empty", detail="The file has no content.")
            status, kind = _recognise(head)
            if status != "ok":
                return _refused(status, kind)
            if info.st_size > MAX_FILE_BYTES:
                return Decoded(
                    "too_large",
                    format=kind,
                    detail=f"The file is larger than {MAX_FILE_BYTES:,} bytes.",
                )
            return file.read(info.st_size)
    except ValueError:  # a path with a zero byte
        return Decoded("missing", detail="There is no such file.")
    except MemoryError:
        return Decoded("too_large", detail="It does not fit into memory.")
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return Decoded(
                "missing", detail="There is no such file, or it is a link that leads nowhere."
            )
        why = (
            "is not permitted"
            if isinstance(error, PermissionError)
            else "failed in the operating system"
        )
        return Decoded("unreadable", detail=f"Reading it {why}.")


def decode(data: bytes, *, name: str = "", max_pixels: int = DEFAULT_MAX_PIXELS) -> Decoded:
    """Turn the bytes of an image file into RGB pixels, or into the reason why not. Never raises for
    what they are.

    EXIF orientation is applied, transparency laid on white, 16 bits scaled to 8, the first frame of
    an animation used, an ICC profile ignored. Safe to call from many threads.

    Args:
        data: a whole JPEG, PNG, GIF, WebP, BMP, TIFF or AVIF file; anything else gets a status.
        name: the file's name, only to note that its extension is wrong.
        max_pixels: width times height above which nothing is decoded; up to 178,956,970, where
            Pillow refuses.

    >>> decode(b"%PDF-1.7", name="cat.jpg")
    Decoded(status='not_an_image', notes=(), format='', detail='It is a PDF document.', taken='')
    """
    if not data:
        return Decoded("empty", detail="The file has no content.")
    status, kind = _recognise(data[:HEAD_BYTES])
    if status != "ok":
        return _refused(status, kind)
    _hush_pillow()
    try:
        return _decode(data, kind, extension_note(name, data), max_pixels)
    except (Image.DecompressionBombError, MemoryError):
        return Decoded(
            "too_large", format=kind, detail="It needs more pixels or memory than the limit."
        )
    except Exception:  # decoders raise about every type there is; each means that the bytes are bad
        if _is_cut(data, kind):
            return _truncated(kind)
        return Decoded(
            "corrupt",
            format=kind,
            detail=f"The {kind} data is damaged, or of a kind that cannot be read.",
        )


def decode_image(img: Image.Image, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> Decoded:
    """Turn an image that Pillow has opened, or made, into RGB pixels, by the rules of `decode`.

    The image itself is loaded, as any use of it would do, but not changed.

    Args:
        img: an image in any mode. EXIF orientation is applied where the image still carries it.
        max_pixels: width times height above which nothing is decoded.

    >>> grey = decode_image(Image.new("L", (4, 2), 128))
    >>> grey.pixels.shape, grey.pixels.max()
    ((2, 4, 3), np.uint8(128))
    """
    kind = img.format or ""
    _hush_pillow()
    try:
        if not (img.width and img.height):
            return Decoded("empty", format=kind, detail="The image has no pixels.")
        return _refusal(img, kind, max_pixels) or _pixels_of(img, b"", kind, [])
    except (Image.DecompressionBombError, MemoryError):
        return Decoded(
            "too_large", format=kind, detail="It needs more pixels or memory than the limit."
        )
    except Exception:  # a lazily opened file fails only here, with about every type of error
        return Decoded("corrupt", format=kind, detail="Pillow cannot load the image.")


def extension_note(name: str, data: bytes) -> tuple[str, ...]:
    """The note "wrong_extension" where the bytes are not what the file's name says, else
    nothing.
    """
    status, kind = _recognise(data[:HEAD_BYTES])
    fits = status != "ok" or _SUFFIXES.get(os.path.splitext(name)[1].lower(), kind) == kind
    return () if fits else ("wrong_extension",)


def encode_thumbnail(pixels: NDArray[np.uint8], side: int) -> bytes:
    """Return a small JPEG of `pixels` (H, W, 3), its longest side at most `side` pixels; never
    enlarged.
    """
    img = Image.fromarray(pixels)
    img.thumbnail((side, side))
    out = io.BytesIO()
    img.save(out, "JPEG", quality=80)
    return out.getvalue()


# ── from an open image to pixels ──


def _decode(data: bytes, kind: str, remarks: tuple[str, ...], max_pixels: int) -> Decoded:
    # Only the plugin of the recognised format runs: no Ghostscript, no rare decoder. (MPO is served
    # by JPEG's.)
    with Image.open(io.BytesIO(data), formats=[kind]) as img:
        if refusal := _refusal(img, kind, max_pixels):
            return refusal
        # Decode first, read metadata after: Pillow's PNG reader hides a failed decode from whoever
        # asks for EXIF first.
        img.load()
        if ImageFile.LOAD_TRUNCATED_IMAGES and _is_cut(data, kind):
            return _truncated(kind)  # another library told Pillow to fill what is missing with grey
        if kind == "PNG" and _png_lacks_rows(img, data):
            return Decoded(
                "corrupt", format=kind, detail="The PNG data holds fewer rows than the image has."
            )
        return _pixels_of(img, data, kind, [*remarks])


def _pixels_of(img: Image.Image, data: bytes, kind: str, notes: list[str]) -> Decoded:
    """The pixels of an image that may be decoded; `data` is b"" where there is no file."""
    img.load()
    rgb = _to_rgb(img, data, notes)
    turn = _orientation(img, notes)
    pixels = np.asarray(rgb if turn is None else rgb.transpose(turn))
    taken = _taken(img)
    # Last, because a GIF looks for its second frame and drops the first. Frames are never counted.
    # Without the file, the frame is the one that the caller chose.
    if data and _is_animated(img):
        notes.append("first_frame")
    return Decoded("ok", tuple(notes), pixels, kind, taken=taken)


def _refusal(img: Image.Image, kind: str, max_pixels: int) -> Decoded | None:
    """Why an opened image is not decoded, or None. Nothing has been allocated for its pixels
    yet.
    """
    if img.width * img.height > max_pixels:
        detail = (
            f"It has {img.width:,} × {img.height:,} pixels; the limit is {max_pixels:,} in all."
        )
        return Decoded("too_large", format=kind, detail=detail)
    if img.mode in ("I", "F"):
        what = (
            "whole numbers with a sign or of 32 bits"
            if img.mode == "I"
            else "floating-point numbers"
        )
        detail = (
            f"Its pixels are {what}, whose range is not known. Save it with 8 or 16 bits first."
        )
        return Decoded("unsupported", format=kind, detail=detail)
    # DNG, NEF and ARW are TIFFs whose first page is a thumbnail, not the image that was taken.
    tags = getattr(img, "tag_v2", {})
    if _DNG_VERSION in tags or (_SUB_IMAGES in tags and tags.get(_REDUCED) == 1):
        return _refused("unsupported", "a camera raw file", kind)
    return None


def _truncated(kind: str) -> Decoded:
    return Decoded(
        "truncated", format=kind, detail=f"The {kind} data stops before the image is complete."
    )


def _png_lacks_rows(img: Image.Image, data: bytes) -> bool:
    """Whether the pixel data ends, properly, before the last row; Pillow leaves the others black
    and says nothing.
    """
    # What is missing is zero, and at the end (Adam7's last pass is the odd rows): most images need
    # no second look.
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


def _to_rgb(img: Image.Image, data: bytes, notes: list[str]) -> Image.Image:
    """Every mode the formats can open in, as RGB."""
    if img.mode == "RGB" and "transparency" not in img.info:
        return img
    if img.mode.startswith("I;16"):
        return _from_16_bit(img, notes)
    if img.has_transparency_data:
        return _on_white(img, data, notes)
    if img.mode == "CMYK":
        # JPEG stores inks inverted when written by Adobe, and by Pillow. Without Adobe's marker the
        # file does not say; Pillow inverts then too, as browsers do, so nothing that it writes
        # comes back as a negative.
        notes.append("cmyk_converted")
    return img.convert("RGB")  # CMYK by the plain ink formula, LAB to sRGB by ImageCms


def _from_16_bit(img: Image.Image, notes: list[str]) -> Image.Image:
    """Grey of 9 to 16 bits scaled to 8; Pillow's own convert() would clip everything above 255 to
    white.
    """
    notes.append("16_bit_scaled")
    values = np.asarray(img).astype(np.float32)
    tags = getattr(img, "tag_v2", {})
    full = (
        2 ** int(tags.get(_BITS_PER_SAMPLE, (16,))[0]) - 1
    )  # a TIFF of 12 bits opens in the same mode, unscaled
    grey = (values * (255 / full) + 0.5).astype(np.uint8)
    if tags.get(_PHOTOMETRIC) == 0:  # white is zero; Pillow turns 8-bit greys round but not these
        grey = 255 - grey
    if "transparency" in img.info and (hidden := values == img.info["transparency"]).any():
        grey[hidden] = 255
        notes.append("alpha_on_white")
    return Image.fromarray(grey).convert("RGB")


def _on_white(img: Image.Image, data: bytes, notes: list[str]) -> Image.Image:
    """Lay the image on white; where it is fully transparent, its hidden colour has no effect."""
    if img.format == "PNG" and "transparency" in img.info:
        img = _with_scaled_key(img, data)
    rgba = (img.convert("LA") if img.mode == "La" else img).convert(
        "RGBA"
    )  # La converts to nothing else
    alpha = rgba.getchannel("A")
    if alpha.getextrema() == (255, 255):
        return rgba.convert("RGB")
    notes.append("alpha_on_white")
    canvas = Image.new("RGB", img.size, "white")
    canvas.paste(rgba, mask=alpha)
    return canvas


def _with_scaled_key(img: Image.Image, data: bytes) -> Image.Image:
    """Pillow leaves a PNG's one transparent colour in the file's depth but scales the pixels to 8
    bits.
    """
    key = img.info["transparency"]
    if data:  # noqa: SIM108 - the reason below needs a line of its own
        depth = data[24]
    else:  # no file to ask: a key above 255 can only be one of 16 bits
        depth = 16 if isinstance(key, tuple) and max(key) > 255 else 8
    if img.mode == "L" and depth < 8:
        key = key * 255 // (2**depth - 1)
    elif img.mode == "RGB" and depth == 16:
        key = tuple(value >> 8 for value in key)
    else:
        return img
    scaled = img.copy()  # the image may be the caller's own, and is not changed
    scaled.info["transparency"] = key
    return scaled


_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def _orientation(img: Image.Image, notes: list[str]) -> Image.Transpose | None:
    """The turn that EXIF asks for. TIFF is turned by Pillow while loading, which then forgets the
    tag.
    """
    try:
        exif = img.getexif()
        if not exif and "exif" in img.info:
            Image.Exif().load(
                img.info["exif"]
            )  # raises once more what Pillow's JPEG reader has swallowed
        return _TURNS.get(exif.get(_ORIENTATION, 1))
    except Exception:  # bad metadata never rejects a good image
        notes.append("bad_exif")
        return None


def _taken(img: Image.Image) -> str:
    """The moment of capture and the camera as EXIF has them, or "" where it has no moment that can
    be real.
    """
    try:
        exif = img.getexif()
        if _EXIF_DIRECTORY not in exif:
            return ""
        details = exif.get_ifd(_EXIF_DIRECTORY)
        numbers = _MOMENT.fullmatch(_text(details.get(_TAKEN_AT)))
        if not numbers:
            return ""
        year, month, day, hour, minute, second = map(int, numbers.groups())
        moment = datetime(
            year, month, day, hour, minute, second
        ).isoformat()  # raises for a 13th month, or year 0
        fraction = _text(details.get(_TAKEN_FRACTION))
        if re.fullmatch("[0-9]+", fraction):
            moment += f".{fraction[:3]:0<3}"  # "5" is half a second
        camera = [
            _text(value)
            for value in (exif.get(_MAKE), exif.get(_MODEL), details.get(_SERIAL_NUMBER))
        ]
        return f"{moment}|{' '.join(filter(None, camera))}"
    except Exception:  # bad metadata never rejects a good image
        return ""


def _text(value: object) -> str:
    """An EXIF value, which can be anything, as one short line of printable text."""
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    if not isinstance(value, str):
        return ""
    return " ".join("".join(c if c.isprintable() else " " for c in value[:_LONGEST_TEXT]).split())


def _is_animated(img: Image.Image) -> bool:
    try:
        return bool(getattr(img, "is_animated", False))
    except Exception:  # what follows the first frame is damaged, and is not used
        return True


def _hush_pillow() -> None:
    """Silence Pillow's warnings about odd files: here they are statuses and notes.

    Process-wide, because `warnings.catch_warnings` is not safe with threads. Checked each time,
    because others, such as test runners, put the old filters back, and a filter "error" would
    reject good images.
    """
    if not warnings.filters or warnings.filters[0] != _QUIET:
        warnings.filterwarnings("ignore", module=_QUIET_MODULE)


_QUIET_MODULE = r"PIL\."
_QUIET = ("ignore", None, Warning, re.compile(_QUIET_MODULE), 0)

_ADAM7 = [
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
]
_UNPACK_BYTES = 2**20  # at a time, so that a bomb in a PNG stays small

# TIFF and EXIF tags
_REDUCED, _BITS_PER_SAMPLE, _PHOTOMETRIC, _ORIENTATION, _SUB_IMAGES, _DNG_VERSION = (
    254,
    258,
    262,
    274,
    330,
    50706,
)
_EXIF_DIRECTORY, _MAKE, _MODEL, _SERIAL_NUMBER, _TAKEN_AT, _TAKEN_FRACTION = (
    34665,
    271,
    272,
    42033,
    36867,
    37521,
)
_STRIP_OFFSETS, _STRIP_BYTES, _TILE_OFFSETS, _TILE_BYTES = 273, 279, 324, 325
_MOMENT = re.compile("([0-9]{4}):([0-9]{2}):([0-9]{2}) ([0-9]{2}):([0-9]{2}):([0-9]{2})")
_LONGEST_TEXT = 32  # characters of each of make, model and serial number, which EXIF does not bound
# Bytes a value; of the types that are not here, one.
_TIFF_TYPE_BYTES = {3: 2, 4: 4, 5: 8, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}


# ── what a file is, by its first bytes ──

_SIGNATURES = [  # (offset, bytes, status, what it is); the first match wins
    (
        8,
        b"CR\x02",
        "unsupported",
        "a camera raw file",
    ),  # starts like a TIFF, as others do: see _refusal
    (0, b"\xff\xd8\xff", "ok", "JPEG"),
    (0, b"\x89PNG\r\n\x1a\n", "ok", "PNG"),
    (0, b"GIF87a", "ok", "GIF"),
    (0, b"GIF89a", "ok", "GIF"),
    (8, b"WEBP", "ok", "WEBP"),
    (0, b"II*\0", "ok", "TIFF"),
    (0, b"MM\0*", "ok", "TIFF"),
    (0, b"MM*\0", "ok", "TIFF"),
    (0, b"II\0*", "ok", "TIFF"),
    (0, b"II+\0", "ok", "TIFF"),
    (0, b"MM\0+", "ok", "TIFF"),
    (4, b"ftypavif", "ok", "AVIF"),
    (4, b"ftypavis", "ok", "AVIF"),
    (4, b"ftyphe", "unsupported", "a HEIC image"),
    (4, b"ftypmif1", "unsupported", "a HEIF image"),
    (4, b"ftypmsf1", "unsupported", "a HEIF image"),
    (0, b"\0\0\0\x0cJXL ", "unsupported", "a JPEG XL image"),
    (0, b"\xff\x0a", "unsupported", "a JPEG XL image"),
    (0, b"\0\0\0\x0cjP  ", "unsupported", "a JPEG 2000 image"),
    (0, b"\xff\x4f\xff\x51", "unsupported", "a JPEG 2000 image"),
    (0, b"8BPS", "unsupported", "a Photoshop document"),
    (0, b"v/1\x01", "unsupported", "an OpenEXR image"),
    (0, b"SIMPLE  =", "unsupported", "a FITS image"),
    (128, b"DICM", "unsupported", "a DICOM image"),
    (0, b"\0\0\x01\0", "unsupported", "a Windows icon"),
    (4, b"ftypcrx", "unsupported", "a camera raw file"),
    (0, b"IIRO", "unsupported", "a camera raw file"),
    (0, b"IIU\0", "unsupported", "a camera raw file"),
    (0, b"FUJIFILMCCD-RAW", "unsupported", "a camera raw file"),
    (
        0,
        b"version https://git-lfs",
        "not_an_image",
        "a Git LFS pointer: the image itself was not downloaded",
    ),
    (0, b"%!PS-Adobe-3.0 EPSF", "not_an_image", "an EPS drawing"),
    (0, b"\xc5\xd0\xd3\xc6", "not_an_image", "an EPS drawing"),
    (0, b"%!PS", "not_an_image", "a PostScript document"),
    (0, b"\xd7\xcd\xc6\x9a", "not_an_image", "a WMF drawing"),
    (40, b" EMF", "not_an_image", "an EMF drawing"),
    (0, b"PK\x03\x04", "not_an_image", "a ZIP archive or office document"),
    (0, b"\x1f\x8b", "not_an_image", "a gzip archive"),
    (0, b"Rar!", "not_an_image", "a RAR archive"),
    (257, b"ustar", "not_an_image", "a tar archive"),
    (0, b"\x7fELF", "not_an_image", "a program"),
    (0, b"MZ", "not_an_image", "a program"),
    (0, b"\x93NUMPY", "not_an_image", "a NumPy array"),
    (0, b"\0\x05\x16\x07", "not_an_image", "a macOS companion file"),
    (0, b"\x1aE\xdf\xa3", "not_an_image", "a video"),
    (8, b"AVI ", "not_an_image", "a video"),
    (4, b"ftyp", "not_an_image", "a video or sound file"),
    (8, b"WAVE", "not_an_image", "a sound file"),
    (0, b"ID3", "not_an_image", "a sound file"),
    (0, b"OggS", "not_an_image", "a video or sound file"),
]

_SUFFIXES = {
    **dict.fromkeys([".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"], "JPEG"),
    **dict.fromkeys([".png", ".apng"], "PNG"),
    **dict.fromkeys([".tif", ".tiff"], "TIFF"),
    **dict.fromkeys([".bmp", ".dib"], "BMP"),
    **dict.fromkeys([".avif", ".avifs"], "AVIF"),
    **{
        ".gif": "GIF",
        ".webp": "WEBP",
        ".heic": "HEIC",
        ".jp2": "JPEG 2000",
        ".jxl": "JPEG XL",
        ".psd": "PSD",
    },
}


def _recognise(head: bytes) -> tuple[str, str]:
    """("ok", format) for what is worth decoding, else (status, what it is). `head`: the first
    HEAD_BYTES bytes.
    """
    if (
        head.startswith((b"ftypmif1", b"ftypmsf1"), 4)
        and b"avif" in head[8 : int.from_bytes(head[:4], "big")]
    ):
        return "ok", "AVIF"  # a container that can hold HEIC too; its list of brands tells
    for offset, magic, status, what in _SIGNATURES:
        if head.startswith(magic, offset):
            return status, what
        if (
            status == "ok" and offset == 0 and magic.startswith(head)
        ):  # an image cut within its very first bytes
            return status, what
    if head.startswith(b"RIFF"[: len(head)]) and len(head) < 12:
        return "ok", "WEBP"
    if head.startswith(b"BM") and (
        len(head) < 18 or head[14] in (12, 16, 40, 52, 56, 64, 108, 124)
    ):
        return "ok", "BMP"  # two letters alone would claim many a text
    return "not_an_image", _describe(head)


def _describe(head: bytes) -> str:
    """What an unknown file looks like, or ""."""
    if b"%PDF-" in head[:1024]:
        return "a PDF document"
    if re.match(rb"\x80[\x02-\x05]", head):
        return "a Python pickle"
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith(b"<"):
        if b"<svg" in text and b"<html" not in text:
            return "an SVG drawing"
        return (
            "an XML document"
            if text.startswith(b"<?xml") and b"<html" not in text
            else "an HTML page"
        )
    return "" if re.search(rb"[\0-\x08\x0e-\x1f]", head) else "a text file"


def _refused(status: str, what: str, kind: str = "") -> Decoded:
    if not what:
        return Decoded(status, detail="Its first bytes are those of no known image format.")
    way_out = " Convert it to JPEG or PNG first." if status == "unsupported" else ""
    return Decoded(status, format=kind, detail=f"It is {what}.{way_out}")


# ── whether a file that failed was cut short ──


def _is_cut(data: bytes, kind: str) -> bool:
    """Whether the file stops before the end that its format declares."""
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
        case "AVIF":
            return _boxes_are_cut(data)
        case _:
            return _tiff_is_cut(data)


def _jpeg_is_cut(data: bytes) -> bool:
    """Walk the segments up to the scan, then look for the end marker; an EXIF thumbnail has one of
    its own.
    """
    at = 2
    while data[at : at + 1] == b"\xff" and at + 4 <= len(data):
        if data[at + 1] == 0xDA:
            return data.find(b"\xff\xd9", at) < 0
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return at + 4 > len(data) and not data.endswith(b"\xff\xd9")


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
    """Whether the directory of the first page, a value in it, or a strip or tile of pixels ends
    after the file does.
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
