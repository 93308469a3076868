"""The page of `pick`: the advice, accuracy over time per image, and the table of candidates."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tellapart.evaluation.metrics import Score
from tellapart.report.parts.axes import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, LinearAxis, LogAxis
from tellapart.report.parts.document import render_document
from tellapart.report.parts.figures import Dot

_LARGEST_RADIUS, _SMALLEST_RADIUS = 9.0, 3.5
_LABEL_HEIGHT, _LABEL_WIDTH = 11.0, 16.0  # numbers closer than this would touch


@dataclass(frozen=True, kw_only=True)
class PickRow:
    """One candidate as the page shows it.

    Args:
        name: the name of the backbone.
        accuracy: the accuracy of its probe on val.
        balanced: the balanced accuracy, likewise.
        log_loss: the log loss, likewise.
        ms: milliseconds from the bytes of an image file to the answer, on one thread.
        decoding_ms: how many of these decoding takes.
        network_ms: how many the model file takes: median and quartiles.
        all_cores_ms: as `network_ms`, on all cores. None on a machine with one core.
        megabytes: the size of the model file.
        parameters: the parameters of the network in it.
        size_px: the side of its input.
        licence: the licence of the weights.
        seconds: the time that the measurement took.
        standing: the comparison with the most accurate candidate, in words.
        on_front: whether no other candidate is both as accurate and as fast.
        within: whether it stays within the limits.
        chosen: whether it is recommended.
    """

    name: str
    accuracy: Score
    balanced: Score
    log_loss: Score
    ms: float
    decoding_ms: float
    network_ms: tuple[float, float, float]
    all_cores_ms: float | None
    megabytes: float
    parameters: int
    size_px: int
    licence: str
    seconds: float
    standing: str
    on_front: bool
    within: bool
    chosen: bool


@dataclass(frozen=True, kw_only=True)
class PickInput:
    """Everything that the page shows.

    Args:
        title: the title of the page.
        created: the time of the page, as `wording.timestamp` words it.
        advice: the recommendation, then the sentences that explain it.
        rows: the candidates from fast to slow.
        failed: name → why it was not measured.
        next: the command to run next, or "".
        uneven: whether the classes are so uneven that the balanced accuracy is shown too.
        cores: the cores of this machine.
        ran: facts about the run, name → value.
    """

    title: str
    created: str
    advice: Sequence[str]
    rows: Sequence[PickRow]
    failed: Mapping[str, str]
    next: str
    uneven: bool
    cores: int
    ran: Mapping[str, str]


@dataclass(frozen=True)
class Mark:
    """A candidate in the plot: its dot, its error bar from `low` to `high`, and its number."""

    dot: Dot
    low: float
    high: float
    number: int
    label_x: float
    label_y: float
    on_front: bool
    chosen: bool


@dataclass(frozen=True)
class ParetoPlot:
    """Accuracy over milliseconds. `line` is the Pareto front, as points of a polyline."""

    across: LinearAxis | LogAxis
    up: LinearAxis
    marks: tuple[Mark, ...]
    line: str
    width: int = WIDTH
    height: int = HEIGHT


def render_picking(page: PickInput) -> str:
    """The page as one self-contained HTML document.

    Raises:
        UserError: if jinja2 is not installed.
    """
    contents = [("advice", "Advice"), ("plot", "Accuracy and time"), ("candidates", "Candidates")]
    contents += [("missing", "Not measured")] if page.failed else []
    return render_document(
        "pick/page.html.jinja",
        contents=[*contents, ("run", "What was run")],
        plot=pareto_plot(page.rows),
        **{name: getattr(page, name) for name in PickInput.__dataclass_fields__},
    )


def candidate_lines(rows: Sequence[PickRow]) -> list[str]:
    """A line for each candidate, for a terminal."""
    width = max(len(row.name) for row in rows)
    return [
        f"{'*' if row.chosen else ' '} {row.name:<{width}}  {row.accuracy}  {row.ms:.3g} ms  "
        f"{row.megabytes:.3g} MB  {row.licence}  {row.standing}"
        for row in rows
    ]


def pareto_plot(rows: Sequence[PickRow]) -> ParetoPlot:
    """Accuracy with its interval over the time per image. A dot's area is the model file's size."""
    times = [row.ms for row in rows]
    low, high = min(row.accuracy.low for row in rows), max(row.accuracy.high for row in rows)
    space = 0.06 * (high - low) or 0.05
    across = _across(min(times), max(times))
    up = LinearAxis(max(low - space, 0.0), min(high + space, 1.0), BOTTOM, TOP, 100)
    largest = max(row.megabytes for row in rows)
    marks: list[Mark] = []
    for number, row in enumerate(rows, 1):
        marks.append(_mark(number, row, across, up, largest, marks))
    joined = [mark.dot for mark in marks if mark.on_front]
    return ParetoPlot(across, up, tuple(marks), " ".join(f"{dot.x},{dot.y}" for dot in joined))


def _across(least: float, most: float) -> LinearAxis | LogAxis:
    """A logarithmic axis if the times span more than a factor of 4, else a linear one."""
    if least >= 1 and most > 4 * least:
        return LogAxis(least / 1.3, most * 1.3, LEFT, RIGHT)
    space = 0.15 * (most - least) or most / 2
    return LinearAxis(max(least - space, 0.0), most + space, LEFT, RIGHT)


def _mark(
    number: int,
    row: PickRow,
    across: LinearAxis | LogAxis,
    up: LinearAxis,
    largest: float,
    before: Sequence[Mark],
) -> Mark:
    x, y = across.at(row.ms), up.at(row.accuracy.value)
    radius = round(max(_LARGEST_RADIUS * math.sqrt(row.megabytes / largest), _SMALLEST_RADIUS), 2)
    text = f"{row.name}: {row.accuracy}, {row.ms:.3g} ms, {row.megabytes:.3g} MB"
    label_x, label_y = round(x + radius + (8 if row.chosen else 5), 2), round(y + 4, 2)
    while any(
        abs(mark.label_x - label_x) < _LABEL_WIDTH and abs(mark.label_y - label_y) < _LABEL_HEIGHT
        for mark in before
    ):
        label_y += _LABEL_HEIGHT
    low, high = up.at(row.accuracy.low), up.at(row.accuracy.high)
    return Mark(
        Dot(x, y, radius, text), low, high, number, label_x, label_y, row.on_front, row.chosen
    )
