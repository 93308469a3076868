"""The page of the learning-rate finder: the loss over the rate, and the rate to start with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tellapart.report.parts.axes import BOTTOM, LEFT, RIGHT, TOP, LinearAxis, LogAxis
from tellapart.report.parts.curves import Chart, Line, polyline
from tellapart.report.parts.document import render_document
from tellapart.report.parts.figures import Dot


def render_rates(
    title: str,
    created: str,
    rates: Sequence[float],
    losses: Sequence[float],
    smoothed: Sequence[float],
    suggestion: float | None,
    ran: Mapping[str, str],
) -> str:
    """The finder's page as one self-contained HTML document.

    Args:
        title: the title of the page, for example the name of the data.
        created: the time of the page, as `wording.timestamp` words it.
        rates: two or more rates, rising.
        losses: the loss at each rate.
        smoothed: the smoothed loss at each rate.
        suggestion: the suggested rate. None if the loss did not fall.
        ran: facts about the run, name → value.

    Raises:
        UserError: if jinja2 is not installed.
    """
    return render_document(
        "find_rate/page.html.jinja",
        contents=[
            ("suggestion", "Suggestion"),
            ("curve", "Loss over learning rate"),
            ("run", "What was run"),
        ],
        title=title,
        created=created,
        lines=rate_lines(rates, suggestion),
        curve=rate_chart(rates, losses, smoothed, suggestion),
        ran=ran,
    )


def rate_lines(rates: Sequence[float], suggestion: float | None) -> list[str]:
    """The result of the finder in sentences.

    >>> rate_lines([1e-7, 1.0], 0.00213)[0]
    'Start with a learning rate of 0.0021, where the loss falls fastest.'
    """
    tried = f"{len(rates):,} rates were tried, from {rates[0]:.2g} to {rates[-1]:.2g}."
    if suggestion is None:
        return [
            "The loss did not fall at any rate.",
            f"{tried} Try more images or another network.",
        ]
    return [
        f"Start with a learning rate of {suggestion:.2g}, where the loss falls fastest.",
        f"{tried} To use this rate, add --set training.lr={suggestion:.2g}",
    ]


def rate_chart(
    rates: Sequence[float],
    losses: Sequence[float],
    smoothed: Sequence[float],
    suggestion: float | None,
) -> Chart:
    """Loss over rate on a logarithmic axis. The smoothed curve sets the height."""
    low, high = min(smoothed), max(smoothed)
    space = (high - low) * 0.25 or 0.5
    across, up = (
        LogAxis(rates[0], rates[-1], LEFT, RIGHT),
        LinearAxis(low - space, high + space, BOTTOM, TOP),
    )
    drawn = (("each batch", losses, True), ("smoothed", smoothed, False))
    lines = tuple(
        Line(name, polyline(across, up, list(zip(rates, values, strict=True))), faint)
        for name, values, faint in drawn
    )
    dots: tuple[Dot, ...] = ()
    if suggestion is not None:
        nearest = min(range(len(rates)), key=lambda place: abs(rates[place] - suggestion))
        dots = (
            Dot(
                across.at(suggestion),
                up.at(smoothed[nearest]),
                6.0,
                f"suggested rate: {suggestion:.2g}",
            ),
        )
    return Chart("Loss over learning rate", "learning rate", across, up, lines, dots)
