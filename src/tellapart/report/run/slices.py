"""Slices: images that share a value of some column, and whether they are answered worse than the rest."""

from __future__ import annotations

from typing import Any

from tellapart.evaluation.slices import Slice, Slices

MOST_ROWS = 40  # of the table; the surest failures come first


def darkest(slices: Slices | None) -> Slice | None:
    """The slice of the darkest images; None where brightness was not tested."""
    by_light = [entry for entry in slices.tested if entry.name == "brightness"] if slices else []
    return min(by_light, key=lambda entry: _first_number(entry.value), default=None)


def section(slices: Slices | None) -> dict[str, Any]:
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
