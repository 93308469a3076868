"""Robustness: how the answers change in images that are darker, blurred or otherwise made worse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tellapart.evaluation.kept_scores import score_from
from tellapart.evaluation.metrics import Score
from tellapart.report.parts.curves import Chart, chart
from tellapart.report.parts.wording import percent


@dataclass(frozen=True)
class Step:
    """One strength of a change.

    Args:
        strength: how strong the change is, as text; the first step of a change is the weakest.
        accuracy: of all answers.
        coverage: the share that is answered.
    """

    strength: str
    accuracy: Score
    coverage: Score


@dataclass(frozen=True)
class Change:
    """One kind of change, from the weakest to the strongest.

    Args:
        name: for example "darker".
        steps: its strengths.
        breaks_at: the strength at which the promised accuracy is no longer kept. None where it is
            kept at every strength, or nothing was promised.
    """

    name: str
    steps: tuple[Step, ...]
    breaks_at: str | None


@dataclass(frozen=True)
class Stress:
    """A stress test.

    Args:
        changes: kinds of changes with their steps.
    """

    changes: tuple[Change, ...]

    @property
    def lines(self) -> list[str]:
        """The result, a sentence for each change."""
        return [_line(change) for change in self.changes]

    @property
    def dark_line(self) -> str:
        """How the answers change in darker images."""
        dark = [change for change in self.changes if "dark" in change.name.lower()]
        return _line(dark[0]) if dark else "The stress test did not try darker images."

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "changes": [
                {
                    "name": change.name,
                    "breaks_at": change.breaks_at,
                    "points": [
                        {
                            "strength": step.strength,
                            "accuracy": step.accuracy.as_json(),
                            "coverage": step.coverage.as_json(),
                        }
                        for step in change.steps
                    ],
                }
                for change in self.changes
            ],
            "text": self.lines,
        }


def stress_from(values: Mapping[str, Any]) -> Stress:
    """The stress test that stress.json holds.

    Args:
        values: `{"changes": [{"name", "breaks_at", "points": [{"strength", "accuracy", "coverage",
            …}]}]}`; the accuracy and the coverage are scores with their intervals.

    Raises:
        KeyError, TypeError, ValueError: they are not those of a stress test.
    """
    return Stress(
        tuple(
            Change(
                entry["name"],
                tuple(_step(point) for point in entry["points"]),
                entry["breaks_at"],
            )
            for entry in values["changes"]
        )
    )


def section(stress: Stress | None) -> dict[str, Any]:
    """What the template draws.

    Args:
        stress: how the answers change. None where no stress test was made.
    """
    if stress is None:
        return {"stress": None}
    return {
        "stress": stress,
        "stress_charts": [
            drawn for change in stress.changes if (drawn := _chart(change)) is not None
        ],
    }


def _step(values: Mapping[str, Any]) -> Step:
    return Step(values["strength"], score_from(values["accuracy"]), score_from(values["coverage"]))


def _chart(change: Change) -> Chart | None:
    accuracy = [(float(place), step.accuracy.value) for place, step in enumerate(change.steps)]
    covered = [(float(place), step.coverage.value) for place, step in enumerate(change.steps)]
    lines = [("accuracy", accuracy, False), ("answered", covered, True)]
    return chart(f"{_titled(change.name)}: accuracy over strength, %", "step", lines, 100)


def _line(change: Change) -> str:
    first, last = change.steps[0].accuracy.value, change.steps[-1].accuracy.value
    start = (
        f"{_titled(change.name)}: the accuracy goes from {percent(first)} to"
        f" {percent(last)} at {change.steps[-1].strength}."
    )
    if change.breaks_at is None:
        return start
    return f"{start} The promise breaks at {change.breaks_at}."


def _titled(name: str) -> str:
    return f"{name[:1].upper()}{name[1:]}"
