"""The findings of an audit, as a stream of images to decide on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tellapart.errors import UserError, reason_of

_AGAIN = "Run tellapart audit again."


@dataclass(frozen=True)
class Finding:
    """What an audit found, without its images.

    Args:
        number: its place in the audit, from 1.
        kind: "label", "copies", "outlier" or another kind of audit.
        title: a few words.
        text: what it is and what to do.
        score: higher is worse.
    """

    number: int
    kind: str
    title: str
    text: str
    score: float


@dataclass(frozen=True)
class Item:
    """One image of one finding.

    Args:
        finding: the place of its finding in the stream, from 0.
        path: where the image is in the data.
        digest: SHA-256 of its file.
        label: its label at the audit. None for an image without one.
        split: the split that it lies in, or "".
        proposal: the label that the audit proposes, if any.
        confidence: of the proposal, in [0, 1].
    """

    finding: int
    path: str
    digest: str
    label: str | None
    split: str
    proposal: str | None
    confidence: float | None


@dataclass(frozen=True)
class Stream:
    """Findings, worst first, and their images in the same order."""

    findings: tuple[Finding, ...]
    items: tuple[Item, ...]

    @property
    def names(self) -> set[str]:
        """All labels and proposals."""
        found = {name for item in self.items for name in (item.label, item.proposal)}
        return {name for name in found if name is not None}

    def as_json(self, classes: Sequence[str]) -> dict[str, Any]:
        """Findings and items as lists of plain values. Labels are places among the classes, and
        items of one image share its number.
        """
        places: dict[str | None, int] = {name: place for place, name in enumerate(classes)}
        numbers = {
            digest: number
            for number, digest in enumerate(dict.fromkeys(item.digest for item in self.items))
        }
        return {
            "classes": list(classes),
            "findings": [[entry.kind, entry.title, entry.text] for entry in self.findings],
            "items": [
                [
                    item.finding,
                    numbers[item.digest],
                    item.path,
                    places.get(item.label, -1),
                    places.get(item.proposal, -1),
                    item.confidence,
                    item.split,
                ]
                for item in self.items
            ],
        }


def read_stream(file: Path) -> Stream:
    """The findings in a file of `tellapart audit`.

    Raises:
        UserError: the file cannot be read, or a line is no finding; with the line's number.
    """
    try:
        lines = file.read_bytes().decode().split("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = reason_of(error) if isinstance(error, OSError) else "it is no UTF-8 text"
        raise UserError(f"The findings in {file} cannot be read ({reason}).", _AGAIN) from None
    findings: list[Finding] = []
    items: list[Item] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
            # An image that could not be read has no digest, and nobody can decide on it.
            known = [image for image in values["images"] if image["digest"]]
            items += [_item(len(findings), image) for image in known]
            findings.append(
                Finding(
                    number=int(values["number"]),
                    kind=str(values["kind"]),
                    title=str(values["title"]),
                    text=str(values["text"]),
                    score=float(values["score"]),
                )
            )
        except (KeyError, TypeError, ValueError, RecursionError):
            raise UserError(f"{file}, line {number} is no finding.", _AGAIN) from None
    return Stream(tuple(findings), tuple(items))


def _item(finding: int, image: dict[str, Any]) -> Item:
    confidence = image.get("confidence")
    digest = image["digest"]
    if not isinstance(digest, str) or len(digest) != 64:
        raise ValueError("a digest has 64 digits")
    return Item(
        finding=finding,
        path=str(image["path"]),
        digest=digest,
        label=_text(image.get("label")),
        split=str(image.get("split") or ""),
        proposal=_text(image.get("proposal")),
        confidence=None if confidence is None else float(confidence),
    )


def _text(value: object) -> str | None:
    return None if value is None else str(value)
