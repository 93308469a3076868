"""What EXIF says of an image: how it is turned, and when and by which camera it was taken."""

from __future__ import annotations

import re
from datetime import datetime

from PIL import Image

_MOMENT = re.compile("([0-9]{4}):([0-9]{2}):([0-9]{2}) ([0-9]{2}):([0-9]{2}):([0-9]{2})")
_LONGEST_TEXT = 32  # characters of each of make, model and serial number, which EXIF does not bound
# Tags.
_ORIENTATION, _EXIF_DIRECTORY = 274, 34665
_MAKE, _MODEL, _SERIAL_NUMBER = 271, 272, 42033
_TAKEN_AT, _TAKEN_FRACTION = 36867, 37521
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def turn_of(img: Image.Image, notes: list[str]) -> Image.Transpose | None:
    """The turn that EXIF asks for. None means that the image stands upright.

    Pillow itself turns a TIFF while it loads it, and then forgets the tag.

    Args:
        img: a loaded image.
        notes: gets "bad_exif" where the data is damaged.
    """
    try:
        exif = img.getexif()
        if not exif and "exif" in img.info:
            # Raises once more what Pillow's JPEG reader has swallowed.
            Image.Exif().load(img.info["exif"])
        return _TURNS.get(exif.get(_ORIENTATION, 1))
    except Exception:  # bad metadata never rejects a good image
        notes.append("bad_exif")
        return None


def taken_of(img: Image.Image) -> str:
    """The moment of capture and the camera, as `Decoded.taken`. "" means that EXIF has no moment
    that can be real.
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
        # Raises for a 13th month, or for year 0.
        moment = datetime(year, month, day, hour, minute, second).isoformat()
        fraction = _text(details.get(_TAKEN_FRACTION))
        if re.fullmatch("[0-9]+", fraction):
            moment += f".{fraction[:3]:0<3}"  # "5" is half a second
        values = (exif.get(_MAKE), exif.get(_MODEL), details.get(_SERIAL_NUMBER))
        camera = " ".join(filter(None, map(_text, values)))
        return f"{moment}|{camera}"
    except Exception:  # bad metadata never rejects a good image
        return ""


def _text(value: object) -> str:
    """An EXIF value, which can be anything, as one short line of printable text."""
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    if not isinstance(value, str):
        return ""
    printable = (c if c.isprintable() else " " for c in value[:_LONGEST_TEXT])
    return " ".join("".join(printable).split())
