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
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from tellapart.decoder_messages import hush_decoders
from tellapart.decoders import deep_colour, dicom, jpegs, jxl, tiffs
from tellapart.decoders.grounds import lacks_contrast
from tellapart.decoders.modes import to_rgb
from tellapart.decoders.opening import check_decoder, decoder_name, open_image
from tellapart.decoders.rules import DEFAULT_RULES, DecodeRules
from tellapart.decoders.verdict import NOTES, STATUSES, Decoded, Refusal, Trace
from tellapart.exif import taken_of, turn_of
from tellapart.image_kinds import HEAD_BYTES, SUFFIXES, recognise
from tellapart.truncation import is_cut, png_lacks_rows

__all__ = [
    "NOTES",
    "STATUSES",
    "Decoded",
    "decode",
    "decode_file",
    "decode_image",
    "encode_thumbnail",
    "extension_note",
    "read_file",
]

MOST_PIXELS = 2**31  # the highest limit of pixels that a recipe may set
MAX_FILE_BYTES = 2**30  # 1 GiB: the largest file that is read into memory


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

    EXIF orientation is applied, transparency is laid on white (on black where white would hide the
    drawing), colours are converted to sRGB by their profile, more than 8 bits are scaled to 8, and
    the first frame of an animation is used. Many threads may call it.

    Args:
        data: a whole JPEG, PNG, GIF, WebP, BMP, TIFF, AVIF, JPEG 2000 or PNM file, or of a format
            whose decoder an extra brings. Anything else gets a status.
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
        return _decode(data, kind, rules, Trace([*extension_note(name, data)] if name else []))
    except Refusal as refusal:
        return Decoded(refusal.status, format=kind, detail=refusal.detail)
    except (Image.DecompressionBombError, MemoryError):
        return Decoded(
            "too_large", format=kind, detail="It needs more pixels or memory than the limit."
        )
    except Exception:  # decoders raise errors of any type; each means that the bytes are bad
        if is_cut(data, kind):
            return Decoded("truncated", format=kind, detail=_truncated(kind).detail)
        if detail := _why_unsupported(data, kind):
            return Decoded("unsupported", format=kind, detail=detail)
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
        _check(img, rules, may_reduce=False)  # the image is the caller's own
        return _pixels_of(img, b"", kind, rules, Trace())
    except Refusal as refusal:
        return Decoded(refusal.status, format=kind, detail=refusal.detail)
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


def _decode(data: bytes, kind: str, rules: DecodeRules, trace: Trace) -> Decoded:
    """Decode the bytes of a recognised kind.

    Raises:
        Refusal: they are not decoded, with the reason.
        Exception: of many types, where they are damaged.
    """
    if kind == "DICOM":
        return _decoded(dicom.read_dicom(data, rules, trace), kind, trace)
    if kind == "JXL":
        check_decoder(kind)
        _check_size(*jxl.size_of(data), rules)
    if kind == "JPEG" and not data.endswith(jpegs.END) and is_cut(data, kind):
        with open_image(data, kind) as img:  # it is decoded to see what is missing
            _check(img, rules, may_reduce=True)
        ended = jpegs.with_end(data, rules)
        if ended is None:
            raise _truncated(kind)
        data = ended
        trace.notes.append("no_end_marker")
    try:
        img = open_image(data, kind)
    except Refusal:
        raise
    except Exception:
        if kind == "TIFF" and not is_cut(data, kind) and (detail := tiffs.why_unsupported(data)):
            raise Refusal("unsupported", detail) from None
        raise
    with img:
        _check(img, rules, may_reduce=kind == "JPEG")
        if kind == "JPEG":
            _reduce(img, rules, trace)
        trace.decoded_by.append(decoder_name(kind))
        is_deep = kind in ("PNG", "TIFF") and deep_colour.is_deep(img)
        # Decode first, read metadata after: Pillow's PNG reader hides a failed decode from whoever
        # asks for EXIF first.
        img.load()
        if ImageFile.LOAD_TRUNCATED_IMAGES and is_cut(data, kind):
            # Another library told Pillow to fill what is missing with grey.
            raise _truncated(kind)
        if kind == "PNG" and png_lacks_rows(img, data):
            raise Refusal("corrupt", "The PNG data holds fewer rows than the image has.")
        colours = deep_colour.scaled(img, data, kind, rules, trace) if is_deep else None
        return _pixels_of(img, data, kind, rules, trace, colours)


def _pixels_of(
    img: Image.Image,
    data: bytes,
    kind: str,
    rules: DecodeRules,
    trace: Trace,
    colours: Image.Image | None = None,
) -> Decoded:
    """The pixels of an image that may be decoded.

    Args:
        data: the whole file; b"" where there is none.
        colours: the image to be shown, where it is another than `img`, which has the metadata.
    """
    img.load()
    if kind == "TIFF" and data and (tags := tiffs.read_tags(data)) and tags.unnamed_bands:
        trace.notes.append("bands_left_out")
    rgb = to_rgb(img if colours is None else colours, data, rules, trace)
    turn = turn_of(img, trace.notes)
    pixels = np.asarray(rgb if turn is None else rgb.transpose(turn))
    taken = taken_of(img)
    # Last, because a GIF looks for its second frame and drops the first. Frames are never counted.
    # Without the file, the frame is the one that the caller chose.
    if data and _is_animated(img):
        trace.notes.append("first_frame")
    return _decoded(pixels, kind, trace, taken)


def _decoded(pixels: NDArray[np.uint8], kind: str, trace: Trace, taken: str = "") -> Decoded:
    """The verdict on an image whose pixels are made."""
    if lacks_contrast(pixels):
        trace.notes.append("low_contrast")
    return Decoded(
        "ok",
        tuple(trace.notes),
        pixels,
        kind,
        taken=taken,
        levels=trace.levels,
        decoded_by=";".join(filter(None, trace.decoded_by)),
    )


def _check(img: Image.Image, rules: DecodeRules, *, may_reduce: bool) -> None:
    """See that an opened image may be decoded. Nothing has been allocated for its pixels yet.

    Raises:
        Refusal: it may not.
    """
    too_many = img.width * img.height > rules.max_pixels
    if too_many and not (may_reduce and jpegs.scale_for(img, rules)):
        _check_size(img.width, img.height, rules)
    if tiffs.is_camera_raw(img):
        raise Refusal("unsupported", _refused("unsupported", "a camera raw file").detail)


def _check_size(width: int, height: int, rules: DecodeRules) -> None:
    """See that an image has no more pixels than the limit.

    Raises:
        Refusal: it has more.
    """
    pixels = width * height
    if pixels > rules.max_pixels:
        size = f"It has {width:,} × {height:,} pixels; the limit is {rules.max_pixels:,}."
        way_out = f" --set decoding.max_pixels={pixels} allows it."
        raise Refusal("too_large", size + way_out * (pixels <= MOST_PIXELS))


def _reduce(img: Image.Image, rules: DecodeRules, trace: Trace) -> None:
    """Have a JPEG beyond the limit of pixels decode at a part of its size."""
    scale = jpegs.scale_for(img, rules)
    if scale and scale > 1:
        jpegs.reduce(img, scale)
        trace.notes.append("reduced")
        trace.decoded_by.append(f"scale 1/{scale}")


def _why_unsupported(data: bytes, kind: str) -> str:
    """What an image is that could not be loaded, if its kind is not read rather than its data
    damaged; else "".
    """
    if kind == "JPEG":
        return jpegs.why_unsupported(data)
    if kind == "TIFF":
        detail = tiffs.why_unsupported(data)
        return detail if "compressed" in detail else ""
    if kind == "BMP" and int.from_bytes(data[30:34], "little") in (4, 5):
        return "It is a BMP that holds a JPEG or PNG. Save it as PNG."
    return ""


def _truncated(kind: str) -> Refusal:
    return Refusal("truncated", f"The {kind} data stops before the image is complete.")


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
