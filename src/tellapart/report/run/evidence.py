"""The images worth a look with their evidence: the heat map of the answer, and training images like it."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tellapart.evaluation.predictions import Predictions
from tellapart.report.parts.gallery import Album, Shot
from tellapart.report.run import confusion
from tellapart.runs.neighbours import Neighbour

MOST_EXPLAINED = 12  # images: each costs two runs of the network, and four small pictures
MOST_UNSURE = confusion.MOST_IN_GALLERY // 2


@dataclass(frozen=True)
class Evidence:
    """Why the model answers one image as it does.

    Args:
        answer: the class that the heat map speaks of.
        heat: the image with the map over it, a small JPEG; b"" where there is no map.
        nearest: the training images that are most like it, the nearest first.
    """

    answer: str
    heat: bytes = b""
    nearest: tuple[Neighbour, ...] = ()


@dataclass(frozen=True)
class Explained:
    """An image of a gallery with its evidence.

    Args:
        shot: the image.
        answer: the class that the heat map speaks of.
        heat: the heat map as a data URI; "" where there is none.
        nearest: the training images that are most like it.
    """

    shot: Shot
    answer: str
    heat: str
    nearest: tuple[Shot, ...]


def worth_a_look(shown: Predictions) -> tuple[list[int], list[int]]:
    """The rows of the two galleries: the most confident errors, and the least confident others."""
    errors = confusion.confident_errors(shown)[: confusion.MOST_IN_GALLERY]
    unsure = confusion.least_confident(shown, errors)[:MOST_UNSURE]
    return errors.tolist(), unsure.tolist()


def to_explain(shown: Predictions) -> list[int]:
    """The rows whose evidence the page has room for: errors, then the least confident."""
    errors, unsure = worth_a_look(shown)
    return [*errors, *unsure][:MOST_EXPLAINED]


def section(
    shown: Predictions, evidence: Mapping[str, Evidence], album: Album
) -> Mapping[str, Any]:
    """What the section on images worth a look shows; images with evidence stand before the rest."""

    def plain(row: int) -> Shot:
        return album.hang(shown.paths[row], *confusion.lines(shown, row))

    def gallery(rows: Sequence[int]) -> tuple[list[Explained], list[Shot]]:
        with_it = [row for row in rows if shown.paths[row] in evidence]
        explained = [_explained(plain(row), evidence[shown.paths[row]], album) for row in with_it]
        return explained, [plain(row) for row in rows if row not in with_it]

    errors, unsure = worth_a_look(shown)
    # In the order of the page, since the album gives its room to whoever asks first.
    explained_errors, other_errors = gallery(errors)
    explained_unsure, other_unsure = gallery(unsure)
    return {
        "shown_errors": len(errors),
        "explained_errors": explained_errors,
        "errors": other_errors,
        "explained_unsure": explained_unsure,
        "unsure": other_unsure,
        "has_heat": any(entry.heat for entry in evidence.values()),
        "has_nearest": any(entry.nearest for entry in evidence.values()),
    }


def _explained(shot: Shot, entry: Evidence, album: Album) -> Explained:
    heat = base64.b64encode(entry.heat).decode()
    nearest = tuple(
        album.hang(near.path, f"label {near.label}", f"likeness {near.similarity:.2f}")
        for near in entry.nearest
    )
    source = f"data:image/jpeg;base64,{heat}" if heat else ""
    return Explained(shot, entry.answer, source, nearest)
