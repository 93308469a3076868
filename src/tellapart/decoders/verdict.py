"""The verdict on one file: its pixels, or the named reason why there are none."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tellapart.decoders.levels import Levels

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
        "Values of more than 8 bits were scaled down, by the range that the data set uses, or by"
        " that of their type."
    ),
    "range_scaled": (
        "The values have no range of their own, as floating-point numbers. They were scaled by the"
        " range of the data set."
    ),
    "not_finite": "Some pixels are no numbers. They were taken as the darkest ones.",
    "bad_exif": (
        "The EXIF data is damaged, so the image may lie on its side. Check that it stands upright."
    ),
    "cmyk_converted": (
        "Printing inks (CMYK) were converted by the plain formula, so colours may differ a little."
    ),
    "colour_profile": "The colours were converted from the profile of the file to sRGB.",
    "bad_profile": (
        "The colour profile is damaged, or does not fit the image. Its colours were taken as they"
        " are."
    ),
    "link_outside": (
        "The file is a link that leads out of the folder. It was followed; the folder alone is not"
        " all."
    ),
    "alpha_on_white": "Transparent parts were laid on white.",
    "alpha_on_black": (
        "Transparent parts were laid on black, as on white nothing of the drawing could be seen."
    ),
    "transparent": (
        "The whole image is transparent, so only the white below it was taken. Check the file."
    ),
    "alpha_ignored": (
        "The BMP has an alpha channel that is empty, as some programs write it. Its colours were"
        " taken as they are."
    ),
    "bands_left_out": (
        "The file has more bands than colours, such as infrared. Only the colours were taken."
    ),
    "no_end_marker": "The JPEG lacks its end marker. No pixel of it is missing.",
    "reduced": (
        "The image has more pixels than the limit. It was decoded at a half, a quarter or an eighth"
        " of its size."
    ),
    "low_contrast": "The image has almost no contrast once it is read. Look at it.",
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
    detail: str = ""  # when not ok: one or two plain sentences, without path or address
    # when and by which camera, as EXIF has them: "2026-05-04T13:02:09.250|Make Model serial"
    taken: str = ""
    # the values of an image of more than 8 bits; None for all others
    levels: Levels | None = field(default=None, repr=False)
    # which rules and extra decoders made the pixels what they are; "" for most images
    decoded_by: str = field(default="", repr=False)

    @property
    def width(self) -> int:
        """Pixels across, after the EXIF orientation was applied; 0 if not ok."""
        return 0 if self.pixels is None else self.pixels.shape[1]

    @property
    def height(self) -> int:
        """Pixels down, after the EXIF orientation was applied; 0 if not ok."""
        return 0 if self.pixels is None else self.pixels.shape[0]


class Refusal(Exception):
    """Why an image is not decoded: a status, and a detail in our own words."""

    def __init__(self, status: str, detail: str) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail


@dataclass
class Trace:
    """What is found out about an image while it is decoded.

    Args:
        notes: names from NOTES.
        decoded_by: as `Decoded.decoded_by`, in parts.
        levels: as `Decoded.levels`.
    """

    notes: list[str] = field(default_factory=list)
    decoded_by: list[str] = field(default_factory=list)
    levels: Levels | None = None
