"""Slices: images that share a value of some column, and whether they are answered worse than the rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tellapart.evaluation.comparison import p_in_words
from tellapart.evaluation.kept_scores import score_from
from tellapart.evaluation.metrics import Score
from tellapart.phrases import count_of
from tellapart.report.parts.wording import interval, percent

MOST_ROWS = 40  # of the table; the surest failures come first


@dataclass(frozen=True)
class TestedSlice:
    """One slice of the test images.

    Args:
        name: the column, for example "brightness".
        value: what the images share, for example "12 to 63".
        accuracy: of these images.
        difference: the accuracy less that of all other images.
        p: how often chance alone makes a slice this bad, corrected for the number of slices.
        fails: whether chance does not explain it.
    """

    name: str
    value: str
    accuracy: Score
    difference: Score
    p: float
    fails: bool

    @property
    def title(self) -> str:
        """The column with the value."""
        return f"{self.name} {self.value}"

    @property
    def line(self) -> str:
        """The accuracy in words, and whether it is worse than that of the rest."""
        verdict = "This is worse than the rest" if self.fails else "Chance explains the difference"
        return (
            f"{percent(self.accuracy.value)} of them are answered correctly ({interval(self.accuracy)})."
            f" {verdict} ({p_in_words(self.p)})."
        )


@dataclass(frozen=True)
class SliceTest:
    """All slices that were tested.

    Args:
        tested: the slices, the surest failure first.
        skipped: column → why it gave none.
    """

    tested: tuple[TestedSlice, ...]
    skipped: Mapping[str, str]

    @property
    def failing(self) -> tuple[TestedSlice, ...]:
        """The slices that fail."""
        return tuple(entry for entry in self.tested if entry.fails)

    @property
    def darkest(self) -> TestedSlice | None:
        """The slice of the darkest images; None where brightness was not tested."""
        by_light = [entry for entry in self.tested if entry.name == "brightness"]
        return min(by_light, key=lambda entry: _first_number(entry.value), default=None)

    @property
    def line(self) -> str:
        """The result in a sentence."""
        count = count_of(len(self.tested), "slice")
        if not self.failing:
            return f"None of {count} is answered worse than the rest beyond chance."
        fail = "fails" if len(self.failing) == 1 else "fail"
        return f"{len(self.failing)} of {count} {fail}: chance does not explain how bad they are."

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        tested = [
            {
                "name": entry.name,
                "value": entry.value,
                "accuracy": entry.accuracy.as_json(),
                "difference": entry.difference.as_json(),
                "p": entry.p,
                "fails": entry.fails,
            }
            for entry in self.tested
        ]
        return {"text": self.line, "tested": tested, "skipped": dict(self.skipped)}


def slices_from(values: Mapping[str, Any] | None) -> SliceTest | None:
    """The slices that the block "slices" of metrics.json holds; None where none were tested.

    Raises:
        KeyError, TypeError, ValueError: they are not those of slices.
    """
    if values is None:
        return None
    tested = tuple(
        TestedSlice(
            entry["name"],
            entry["value"],
            score_from(entry["accuracy"]),
            score_from(entry["difference"]),
            float(entry["p"]),
            bool(entry["fails"]),
        )
        for entry in values["tested"]
    )
    return SliceTest(tested, dict(values["skipped"]))


def section(slices: SliceTest | None) -> dict[str, Any]:
    """What the template draws.

    Args:
        slices: which slices were tested. None where none were.
    """
    if slices is None:
        return {"slices": None}
    return {
        "slices": slices,
        "slice_rows": slices.tested[:MOST_ROWS],
        "slices_left": max(0, len(slices.tested) - MOST_ROWS),
    }


def _first_number(text: str) -> float:
    try:
        return float(text.split()[0].replace(",", ""))
    except (IndexError, ValueError):
        return float("inf")
