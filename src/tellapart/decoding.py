"""Any file → RGB pixels, or a named status. Scan, training, prediction and server all use this one
decode contract.

    path ── read_file ──▶ bytes ── decode ──▶ Decoded(status="ok", pixels=(H, W, 3) uint8 RGB, notes=...)
                 └──────────────────┴───────▶ Decoded(status="truncated", detail="The JPEG data stops before ...")

A file that cannot be decoded never raises, never becomes a substitute image, and never stops a run.
The content decides what a file is, never its name.
"""

from __future__ import annotations

import errno
import io
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from tellapart.decoder_messages import hush_decoders
from tellapart.decoders.rules import DEFAULT_RULES, DecodeRules
from tellapart.exif import taken_of, turn_of
from tellapart.image_kinds import HEAD_BYTES, SUFFIXES, recognise
from tellapart.truncation import is_cut, png_lacks_rows

# The version of the pixels. Raise it when the same bytes may decode to others: what was computed
# from them is then computed anew.
CONTRACT = 2

MAX_FILE_BYTES = 2**30  # 1 GiB: the largest file that is read into memory

# TIFF tags.
_REDUCED, _BITS_PER_SAMPLE, _PHOTOMETRIC, _SUB_IMAGES, _DNG_VERSION = 254, 258, 262, 330, 50706

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
    "transparent": (
        "The whole image is transparent, so only the white below it was taken. Check the file."
    ),
    "alpha_ignored": (
        "The BMP has an alpha channel that is empty, as some programs write it. Its colours were"
        " taken as they are."
    ),
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
    detail: str = ""  # when not ok: one plain sentence, without path or address
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


def decode_file(path: Path, *, rules: DecodeRules = DEFAULT_RULES) -> Decoded:
    """Read and decode one file. Never raises for what the path or the file is; see `decode` and
    `read_file`.
    """
    data = read_file(path)
    return data if isinstance(data, Decoded) else decode(data, name=path.name, rules=rules)


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
            status, kind = recognise(head)
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


def decode(data: bytes, *, name: str = "", rules: DecodeRules = DEFAULT_RULES) -> Decoded:
    """Turn the bytes of an image file into RGB pixels, or into the reason why not. It never raises
    for what they are.

    EXIF orientation is applied, transparency is laid on white, 16 bits are scaled to 8, the first
    frame of an animation is used, and an ICC profile is ignored. Many threads may call it.

    Args:
        data: a whole JPEG, PNG, GIF, WebP, BMP, TIFF or AVIF file; anything else gets a status.
        name: the file's name, only to note that its extension is wrong.
        rules: the settings of the decode contract. A model file holds those of its training.

    >>> decode(b"%PDF-1.7", name="cat.jpg")
    Decoded(status='not_an_image', notes=(), format='', detail='It is a PDF document.', taken='')
    """
    if not data:
        return Decoded("empty", detail="The file has no content.")
    status, kind = recognise(data[:HEAD_BYTES])
    if status != "ok":
        return _refused(status, kind)
    hush_decoders(kind)
    try:
        return _decode(data, kind, extension_note(name, data), rules)
    except (Image.DecompressionBombError, MemoryError):
        return Decoded(
            "too_large", format=kind, detail="It needs more pixels or memory than the limit."
        )
    except Exception:  # decoders raise errors of any type; each means that the bytes are bad
        if is_cut(data, kind):
            return _truncated(kind)
        return Decoded(
            "corrupt",
            format=kind,
            detail=f"The {kind} data is damaged, or of a kind that cannot be read.",
        )


def decode_image(img: Image.Image, *, rules: DecodeRules = DEFAULT_RULES) -> Decoded:
    """Turn an image that Pillow has opened, or made, into RGB pixels, by the rules of `decode`.

    The image itself is loaded, as any use of it would do, but not changed.

    Args:
        img: an image in any mode. EXIF orientation is applied where the image still carries it.
        rules: as for `decode`.

    >>> grey = decode_image(Image.new("L", (4, 2), 128))
    >>> grey.pixels.shape, grey.pixels.max()
    ((2, 4, 3), np.uint8(128))
    """
    kind = img.format or ""
    hush_decoders(kind)
    try:
        if not (img.width and img.height):
            return Decoded("empty", format=kind, detail="The image has no pixels.")
        return _refusal(img, kind, rules) or _pixels_of(img, b"", kind, [])
    except (Image.DecompressionBombError, MemoryError):
        return Decoded(
            "too_large", format=kind, detail="It needs more pixels or memory than the limit."
        )
    except Exception:  # a lazily opened file fails only here, with about every type of error
        return Decoded("corrupt", format=kind, detail="Pillow cannot load the image.")


def extension_note(name: str, data: bytes) -> tuple[str, ...]:
    """The note "wrong_extension", if the bytes are not what the file's name says; else nothing."""
    status, kind = recognise(data[:HEAD_BYTES])
    fits = status != "ok" or SUFFIXES.get(os.path.splitext(name)[1].lower(), kind) == kind
    return () if fits else ("wrong_extension",)


def encode_thumbnail(pixels: NDArray[np.uint8], side: int) -> bytes:
    """Return a small JPEG of `pixels` (H, W, 3). Its longest side is at most `side` pixels, and it
    is never enlarged.
    """
    img = Image.fromarray(pixels)
    img.thumbnail((side, side))
    out = io.BytesIO()
    img.save(out, "JPEG", quality=80)
    return out.getvalue()


# ── from an open image to pixels ──


def _decode(data: bytes, kind: str, remarks: tuple[str, ...], rules: DecodeRules) -> Decoded:
    # Only the plugin of the recognised format runs: no Ghostscript, no rare decoder. (MPO is served
    # by JPEG's.)
    with Image.open(io.BytesIO(data), formats=[kind]) as img:
        if refusal := _refusal(img, kind, rules):
            return refusal
        # Decode first, read metadata after: Pillow's PNG reader hides a failed decode from whoever
        # asks for EXIF first.
        img.load()
        if ImageFile.LOAD_TRUNCATED_IMAGES and is_cut(data, kind):
            return _truncated(kind)  # another library told Pillow to fill what is missing with grey
        if kind == "PNG" and png_lacks_rows(img, data):
            return Decoded(
                "corrupt", format=kind, detail="The PNG data holds fewer rows than the image has."
            )
        return _pixels_of(img, data, kind, [*remarks])


def _pixels_of(img: Image.Image, data: bytes, kind: str, notes: list[str]) -> Decoded:
    """The pixels of an image that may be decoded. `data` is b"" where there is no file."""
    img.load()
    rgb = _to_rgb(img, data, notes)
    turn = turn_of(img, notes)
    pixels = np.asarray(rgb if turn is None else rgb.transpose(turn))
    taken = taken_of(img)
    # Last, because a GIF looks for its second frame and drops the first. Frames are never counted.
    # Without the file, the frame is the one that the caller chose.
    if data and _is_animated(img):
        notes.append("first_frame")
    return Decoded("ok", tuple(notes), pixels, kind, taken=taken)


def _refusal(img: Image.Image, kind: str, rules: DecodeRules) -> Decoded | None:
    """Why an opened image is not decoded, or None. Nothing has been allocated for its pixels
    yet.
    """
    if img.width * img.height > rules.max_pixels:
        detail = f"It has {img.width:,} × {img.height:,} pixels; the limit is {rules.max_pixels:,} in all."
        return Decoded("too_large", format=kind, detail=detail)
    if img.mode in ("I", "F"):
        numbers = {"I": "whole numbers with a sign or of 32 bits", "F": "floating-point numbers"}
        detail = (
            f"Its pixels are {numbers[img.mode]}, whose range is not known. Save it with 8 or 16"
            " bits first."
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


def _to_rgb(img: Image.Image, data: bytes, notes: list[str]) -> Image.Image:
    """An image as RGB, from every mode that the formats can open in."""
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
    """Grey of 9 to 16 bits, scaled to 8. Pillow's own convert() would clip everything above 255 to
    white.
    """
    notes.append("16_bit_scaled")
    values = np.asarray(img).astype(np.float32)
    tags = getattr(img, "tag_v2", {})
    # A TIFF of 12 bits opens in the same mode, unscaled.
    full = 2 ** int(tags.get(_BITS_PER_SAMPLE, (16,))[0]) - 1
    grey = (values * (255 / full) + 0.5).astype(np.uint8)
    if tags.get(_PHOTOMETRIC) == 0:  # white is zero; Pillow turns 8-bit greys round but not these
        grey = 255 - grey
    if "transparency" in img.info and (hidden := values == img.info["transparency"]).any():
        grey[hidden] = 255
        notes.append("transparent" if hidden.all() else "alpha_on_white")
    return Image.fromarray(grey).convert("RGB")


def _on_white(img: Image.Image, data: bytes, notes: list[str]) -> Image.Image:
    """Lay the image on white. The hidden colour of fully transparent parts has no effect."""
    if img.format == "PNG" and "transparency" in img.info:
        img = _with_scaled_key(img, data)
    # Pillow converts La to LA only.
    rgba = (img.convert("LA") if img.mode == "La" else img).convert("RGBA")
    alpha = rgba.getchannel("A")
    if alpha.getextrema() == (255, 255):
        return rgba.convert("RGB")
    empty = alpha.getextrema() == (0, 0)
    if empty and img.format == "BMP":
        # Programs that fill 32 bits a pixel leave the last eight at zero. Browsers show the colours.
        notes.append("alpha_ignored")
        return rgba.convert("RGB")
    notes.append("transparent" if empty else "alpha_on_white")
    canvas = Image.new("RGB", img.size, "white")
    canvas.paste(rgba, mask=alpha)
    return canvas


def _with_scaled_key(img: Image.Image, data: bytes) -> Image.Image:
    """The image with its one transparent colour in 8 bits, as its pixels are. Pillow leaves that
    colour in the depth of the PNG file.
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


def _is_animated(img: Image.Image) -> bool:
    try:
        return bool(getattr(img, "is_animated", False))
    except Exception:  # what follows the first frame is damaged, and is not used
        return True


def _refused(status: str, what: str, kind: str = "") -> Decoded:
    if not what:
        return Decoded(status, detail="Its first bytes are those of no known image format.")
    way_out = " Convert it to JPEG or PNG first." if status == "unsupported" else ""
    return Decoded(status, format=kind, detail=f"It is {what}.{way_out}")
