"""One picture an image: the image, the maps of answer and runner-up, and training images like it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from tellapart.explain.explainer import Explanation
from tellapart.explain.overlay import overlay
from tellapart.modelfile.preprocessing import Preprocessing
from tellapart.runs.neighbours import Neighbour

SIDE_PX = 260
ACROSS = 3  # panels in a row
_GAP, _LINE, _TEXT_PX = 8, 19, 14
_PAPER, _INK, _NOTHING = (255, 255, 255), (24, 24, 24), (232, 232, 232)


@dataclass(frozen=True)
class Panel:
    """An image and the lines below it.

    Args:
        image: upright; None shows an empty field, as for a training image that is gone.
        lines: at most two.
    """

    image: Image.Image | None
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Near:
    """A training image like the one explained.

    Args:
        neighbour: what the index says of it.
        pixels: (H, W, 3) uint8 RGB; None where the file is gone, changed, or somewhere else.
    """

    neighbour: Neighbour
    pixels: NDArray[np.uint8] | None = None


def explanation_panels(
    name: str,
    pixels: NDArray[np.uint8],
    explanation: Explanation,
    near: Sequence[Near],
    preprocessing: Preprocessing,
) -> list[Panel]:
    """The panels of one image.

    Args:
        name: of the image.
        pixels: (H, W, 3) uint8 RGB.
        explanation: of the answer to it.
        near: the training images that are most like it.
        preprocessing: of the model.
    """
    small = small_image(pixels)
    panels = [Panel(small, (name,))]
    for rank, shown in enumerate(explanation.maps):
        laid = overlay(small, shown.values, preprocessing, strongest=explanation.strongest)
        role = "runner-up" if rank else "answer"
        panels.append(Panel(laid, (f"{role}: {shown.name}", f"{100 * shown.probability:.1f} %")))
    panels += [Panel(None, ())] * (-len(panels) % ACROSS if near else 0)
    for entry in near:
        found = entry.neighbour
        image = None if entry.pixels is None else small_image(entry.pixels)
        panels.append(Panel(image, (found.label, f"similarity {found.similarity:.2f}")))
    return panels


def draw_sheet(panels: Sequence[Panel]) -> bytes:
    """The panels in rows of three, as a JPEG.

    >>> photo = Image.new("RGB", (90, 60))
    >>> Image.open(io.BytesIO(draw_sheet([Panel(photo, ("sky",))] * 4))).size
    (812, 228)
    """
    rows = [panels[start : start + ACROSS] for start in range(0, len(panels), ACROSS)]
    heights = [max(_height(panel) for panel in row) for row in rows]
    step, words = SIDE_PX + _GAP, 2 * _LINE + 2 * _GAP
    size = (ACROSS * step + _GAP, sum(heights) + len(rows) * words)
    sheet = Image.new("RGB", size, _PAPER)
    draw, top = ImageDraw.Draw(sheet), _GAP
    for row, height in zip(rows, heights, strict=True):
        for across, panel in enumerate(row):
            _draw_panel(sheet, draw, panel, _GAP + across * step, top + height)
        top += height + words
    out = io.BytesIO()
    sheet.save(out, "JPEG", quality=85)
    return out.getvalue()


def _height(panel: Panel) -> int:
    return SIDE_PX // 2 if panel.image is None else panel.image.height


def _draw_panel(
    sheet: Image.Image, draw: ImageDraw.ImageDraw, panel: Panel, left: int, bottom: int
) -> None:
    """Draw a panel whose image ends at `bottom`, so that the words of a row are on one line."""
    if panel.image is not None:
        shown = panel.image
        sheet.paste(shown, (left + (SIDE_PX - shown.width) // 2, bottom - shown.height))
    elif panel.lines:
        top = bottom - _height(panel)
        draw.rectangle((left, top, left + SIDE_PX - 1, bottom - 1), _NOTHING)
        draw.text((left + _GAP, top + _GAP), "not shown", _INK, _font())
    for number, line in enumerate(panel.lines):
        draw.text((left, bottom + 2 + number * _LINE), _fitting(draw, line), _INK, _font())


def _fitting(draw: ImageDraw.ImageDraw, line: str) -> str:
    """As much of a line as fits below a panel, in letters that the font has."""
    font = _font()
    if not isinstance(font, ImageFont.FreeTypeFont):  # Pillow without FreeType knows Latin-1 only
        line = line.encode("latin-1", "replace").decode("latin-1")
    if draw.textlength(line, font) <= SIDE_PX:
        return line
    while line and draw.textlength(f"{line}…", font) > SIDE_PX:
        line = line[:-1]
    return f"{line}…" if isinstance(font, ImageFont.FreeTypeFont) else line


def _font() -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(_TEXT_PX)


def small_image(pixels: NDArray[np.uint8]) -> Image.Image:
    """As large as fits into a panel. Small images are enlarged, so that their map can be seen."""
    img = Image.fromarray(pixels)
    share = SIDE_PX / max(img.size)
    size = (max(1, round(img.width * share)), max(1, round(img.height * share)))
    return img.resize(size, Image.Resampling.BICUBIC)
