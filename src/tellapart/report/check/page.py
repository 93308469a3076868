"""One image walked through the whole pipeline, step by step, as a page and as lines."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tellapart.report.parts.document import render_document
from tellapart.report.parts.wording import percent, visible

SIDE_PX = 320  # of an image on the page
MOST_BARS = 10
_MOST_PIXELS = 2 * SIDE_PX  # larger images shrink to this; twice the side suits sharp screens


@dataclass(frozen=True)
class Step:
    """The result of one step of the pipeline.

    Args:
        name: the name of the step, for example "Resized".
        text: what the step does and why, in a sentence or two.
        facts: name → value, for example the shape, and the range of each channel.
        image: (H, W, 3) or (H, W) uint8, the image after the step. None if there is none.
        bars: names with shares in [0, 1], the largest first, for example the probabilities.
    """

    name: str
    text: str
    facts: Mapping[str, str] = field(default_factory=dict)
    image: NDArray[np.uint8] | None = None
    bars: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class _Card:
    """A step as the template draws it. The size is the size on the page."""

    anchor: str
    name: str
    text: str
    facts: Mapping[str, str]
    bars: tuple[tuple[str, float], ...]
    source: str
    width: int
    height: int
    is_small: bool


def render_steps(title: str, created: str, steps: Sequence[Step]) -> str:
    """The walk as one self-contained HTML document.

    Args:
        title: the title of the page, for example the path of the image.
        created: the time of the page, as `wording.timestamp` words it.
        steps: the steps from the file to the prediction.

    Raises:
        UserError: if jinja2 is not installed.
        ValueError: if there are no steps.
    """
    if not steps:
        raise ValueError("there are no steps to show")
    cards = [_card(number, step) for number, step in enumerate(steps, start=1)]
    return render_document(
        "check/page.html.jinja",
        contents=[(card.anchor, card.name) for card in cards],
        title=title,
        created=created,
        steps=cards,
    )


def step_lines(steps: Sequence[Step]) -> list[str]:
    """The walk for the terminal: each step with its facts below it, aligned."""
    lines = []
    for number, step in enumerate(steps, start=1):
        lines.append(f"{number}. {step.name}: {step.text}")
        pairs = [
            *step.facts.items(),
            *((name, percent(share)) for name, share in step.bars[:MOST_BARS]),
        ]
        width = max((len(name) for name, _ in pairs), default=0)
        lines += [f"   {name:<{width}}  {value}" for name, value in pairs]
    return [visible(line) for line in lines]


def _card(number: int, step: Step) -> _Card:
    source, (width, height), side = "", (0, 0), 0
    if step.image is not None and step.image.size:
        height, width = step.image.shape[:2]
        side = max(width, height)
        source = _data_uri(step.image)
    scale = SIDE_PX / side if side else 0.0
    return _Card(
        anchor=f"step-{number}",
        name=step.name,
        text=step.text,
        facts=step.facts,
        bars=tuple(
            (name, min(max(share, 0.0), 1.0))
            for name, share in step.bars[:MOST_BARS]
            if math.isfinite(share)
        ),
        source=source,
        width=max(round(width * scale), 1) if source else 0,
        height=max(round(height * scale), 1) if source else 0,
        is_small=side < SIDE_PX,
    )


def _data_uri(pixels: NDArray[np.uint8]) -> str:
    """A data URI. Small images keep every pixel; large ones shrink and become JPEG."""
    image, out = Image.fromarray(pixels), io.BytesIO()
    if max(image.size) <= SIDE_PX:
        image.save(out, "PNG", optimize=True)
        kind = "png"
    else:
        image.thumbnail((_MOST_PIXELS, _MOST_PIXELS))
        image.save(out, "JPEG", quality=85)
        kind = "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(out.getvalue()).decode()}"
