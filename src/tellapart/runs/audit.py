"""What an audit leaves behind: its findings, its summary and its page, in a folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tellapart.writing import write_whole

FINDINGS, SUMMARY, PAGE = "findings.jsonl", "audit.json", "audit.html"

# What a kind of finding is called on pages and in tables.
KINDS: Mapping[str, str] = {
    "label": "Likely label errors",
    "copies": "Copies with different labels",
    "shortcut": "Shortcuts",
    "classes": "Classes that overlap",
    "outlier": "Images unlike the rest",
    "quality": "Poor images",
    "unlabelled": "Images to label next",
}


@dataclass(frozen=True, kw_only=True)
class AuditImage:
    """An image of a finding.

    Args:
        path: its catalog path.
        digest: SHA-256 of its content.
        label: its class, or None where it has none.
        split: "train", "val", "test", or "unlabelled".
        proposal: the class that it looks like, if that is another one.
        confidence: the probability of the proposal, or of the answer, in [0, 1].
    """

    path: str
    digest: str
    label: str | None
    split: str
    proposal: str | None = None
    confidence: float | None = None


@dataclass(frozen=True, kw_only=True)
class AuditFinding:
    """Something to look at.

    Args:
        kind: a key of `KINDS`.
        title: what it is, in a few words.
        text: what it is, and what to do.
        score: in [0, 1], higher is worse.
        images: that it is about.
        number: its place in the list, from 1. 0 means that it is in no list yet.
    """

    kind: str
    title: str
    text: str
    score: float
    images: tuple[AuditImage, ...] = ()
    number: int = 0


def numbered(findings: Sequence[AuditFinding]) -> tuple[AuditFinding, ...]:
    """The findings in one list, the worst first.

    >>> findings = [AuditFinding(kind="label", title=t, text="", score=s) for t, s in (("a", 0.1), ("b", 0.9))]
    >>> [(finding.number, finding.title) for finding in numbered(findings)]
    [(1, 'b'), (2, 'a')]
    """
    ordered = sorted(findings, key=lambda finding: -finding.score)
    return tuple(replace(finding, number=place) for place, finding in enumerate(ordered, 1))


def write_audit(
    folder: Path, findings: Sequence[AuditFinding], summary: Mapping[str, Any], html: str
) -> None:
    """Write the three files of an audit into a folder, each whole."""
    lines = [json.dumps(_plain(finding), ensure_ascii=False) for finding in findings]
    write_whole(folder / FINDINGS, "".join(f"{line}\n" for line in lines))
    write_whole(folder / SUMMARY, json.dumps(summary, ensure_ascii=False, indent=2) + "\n")
    write_whole(folder / PAGE, html)


def _plain(finding: AuditFinding) -> dict[str, Any]:
    values = asdict(finding)
    names = ("number", "kind", "title", "text", "score", "images")
    return {name: values[name] for name in names}
