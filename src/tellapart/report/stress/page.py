"""The page of stress: how a model answers images that are changed, more and more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tellapart.evaluation.stress import StressCurve, StressPoint, promise_line
from tellapart.phrases import count_of
from tellapart.report.parts.axes import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, LinearAxis
from tellapart.report.parts.curves import polyline
from tellapart.report.parts.document import render_document
from tellapart.report.parts.figures import Dot
from tellapart.report.parts.gallery import Shot


@dataclass(frozen=True)
class StressPlot:
    """Three lines over the strengths of one change.

    Args:
        across, up: the axes.
        accuracy, answered, right: points of polylines: over all images, the share that is answered,
            and the accuracy among those.
        target: where the promised accuracy stands; None without one.
        dots: the accuracies, with their intervals in words.
    """

    across: LinearAxis
    up: LinearAxis
    accuracy: str
    answered: str
    right: str
    target: float | None
    dots: tuple[Dot, ...]
    width: int = WIDTH
    height: int = HEIGHT


@dataclass(frozen=True)
class ShownStress:
    """One change on the page: its plot, its table and its images."""

    curve: StressCurve
    verdict: str
    plot: StressPlot
    shots: tuple[Shot, ...]

    @property
    def title(self) -> str:
        """The name of the change at the beginning of a sentence."""
        return _begun(self.curve.name)


def render_stress(
    title: str,
    created: str,
    curves: Sequence[StressCurve],
    shots: Mapping[str, Sequence[Shot]],
    lines: Sequence[str],
    ran: Mapping[str, str],
) -> str:
    """The page as one self-contained HTML document.

    Args:
        title: the name of the run.
        created: the time of the page, as `wording.timestamp` words it.
        curves: one a change.
        shots: the name of a change → one image at each strength.
        lines: the result in sentences.
        ran: facts, name → value.

    Raises:
        UserError: if jinja2 is not installed.
    """
    shown = [
        ShownStress(curve, verdict(curve), _plot(curve), tuple(shots.get(curve.name, ())))
        for curve in curves
    ]
    return render_document(
        "stress/page.html.jinja",
        contents=[
            ("summary", "Summary"),
            *((f"change-{place}", entry.title) for place, entry in enumerate(shown)),
            ("run", "What was run"),
        ],
        title=title,
        created=created,
        lines=lines,
        shown=shown,
        ran=ran,
    )


def stress_lines(images: int, curves: Sequence[StressCurve]) -> list[str]:
    """The result in sentences.

    Args:
        images: how many images were changed.
        curves: one a change, each with the unchanged images first.
    """
    first = curves[0].points[0]
    weakest = min(curves, key=lambda curve: curve.points[-1].accuracy.value)
    lines = [
        promise_line(curves),
        f"{count_of(images, 'test image')} as they are: {_percent(first.accuracy.value)} right,"
        f" {_percent(first.coverage.value)} answered, and of these"
        f" {_percent(first.accuracy_answered.value)} right.",
        f"{_begun(weakest.name)} costs the most: {_percent(weakest.points[-1].accuracy.value)}"
        f" right at {weakest.points[-1].strength}.",
    ]
    missed = [curve.name for curve in curves if curve.misses_at and not curve.breaks_at]
    if missed:
        lines.append(
            f"Below the promise, but chance can explain it: {', '.join(missed)}. More images would"
            " tell."
        )
    return lines


def stress_rows(curves: Sequence[StressCurve]) -> tuple[list[str], list[list[str]]]:
    """The table for a terminal of 80 columns: heads and rows.

    A row shows the accuracy at each strength, and the one below it what is answered.
    """
    heads = ["change", "", "none", *map(str, range(1, len(curves[0].points))), "breaks at"]
    rows = []
    for curve in curves:
        right = [f"{100 * point.accuracy.value:.0f}" for point in curve.points]
        answered = [f"{100 * point.coverage.value:.0f}" for point in curve.points]
        rows.append([curve.name, "right", *right, curve.breaks_at or "-"])
        rows.append(["", "answered", *answered, ""])
    return heads, rows


def verdict(curve: StressCurve) -> str:
    """Whether a change breaks the promise, in a few words."""
    if curve.target is None:
        return "no promise to break"
    if curve.breaks_at:
        return f"breaks the promise from {curve.breaks_at}"
    if curve.misses_at:
        return f"below the promise from {curve.misses_at}, which chance can explain"
    return "keeps the promise"


def _plot(curve: StressCurve) -> StressPlot:
    steps = len(curve.points) - 1
    across, up = LinearAxis(0, steps, LEFT, RIGHT), LinearAxis(0, 1, BOTTOM, TOP, 100)

    def line(values: Sequence[float]) -> str:
        return polyline(
            across, up, [(x, y) for x, y in enumerate(values) if y == y]
        )  # NaN is no point

    return StressPlot(
        across,
        up,
        line([point.accuracy.value for point in curve.points]),
        line([point.coverage.value for point in curve.points]),
        line([point.accuracy_answered.value for point in curve.points]),
        None if curve.target is None else up.at(curve.target),
        tuple(
            Dot(across.at(place), up.at(point.accuracy.value), 3.0, _in_words(point))
            for place, point in enumerate(curve.points)
        ),
    )


def _in_words(point: StressPoint) -> str:
    return f"{point.strength}: {point.accuracy} right"


def _begun(name: str) -> str:
    return name[:1].upper() + name[1:]


def _percent(share: float) -> str:
    return "not measured" if share != share else f"{100 * share:.1f} %"
