"""What an audit of the labels found: its summary, and the worst findings with their images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tellapart.phrases import count_of
from tellapart.report.parts.gallery import Album, Shot
from tellapart.report.parts.wording import percent

MOST_FINDINGS = 12  # with their images; the audit's own page has all
MOST_IN_FINDING = 6
KINDS: Mapping[str, tuple[str, str]] = {
    "label": ("likely label error", ""),
    "copies": ("set of copies under different labels", "sets of copies under different labels"),
    "classes": ("pair of classes that overlap", "pairs of classes that overlap"),
    "outlier": ("image unlike the rest", "images unlike the rest"),
    "quality": ("finding of image quality", "findings of image quality"),
    "shortcut": ("shortcut", ""),
    "unlabelled": ("image to label next", "images to label next"),
}


@dataclass(frozen=True)
class Audit:
    """An audit, as its files tell of it.

    Args:
        lines: the summary, a sentence each.
        counts: kind of finding → how many there are.
        findings: the worst of them, as findings.jsonl holds them.
    """

    lines: tuple[str, ...]
    counts: Mapping[str, int]
    findings: tuple[Mapping[str, Any], ...]

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        worst = [
            {"kind": finding["kind"], "title": finding["title"], "images": finding["images"]}
            for finding in self.findings
        ]
        return {"summary": list(self.lines), "counts": dict(self.counts), "worst": worst}


def audit_from(summary: Mapping[str, Any], findings: Sequence[Mapping[str, Any]]) -> Audit:
    """The audit of which audit.json and findings.jsonl tell.

    Args:
        summary: audit.json. Its `text` is the summary in sentences.
        findings: the lines of findings.jsonl, the worst first.

    Raises:
        KeyError, TypeError: a line is no finding.

    >>> audit_from({}, [{"kind": "label", "title": "x", "text": "", "images": []}]).lines
    ('The audit has 1 finding: 1 likely label error.',)
    """
    counts = Counter(str(finding["kind"]) for finding in findings)
    named = [count_of(count, *KINDS.get(kind, (kind, ""))) for kind, count in counts.items()]
    whole = count_of(len(findings), "finding")
    counted = (
        f"The audit has {whole}: {', '.join(named)}." if named else "The audit has no finding."
    )
    lines = (counted, *map(str, summary.get("text", ())))
    return Audit(lines, dict(counts), tuple(findings[:MOST_FINDINGS]))


@dataclass(frozen=True)
class ShownFinding:
    """One finding with its images."""

    title: str
    text: str
    shots: tuple[Shot, ...]


def section(audit: Audit | None, album: Album) -> dict[str, Any]:
    """What the template draws.

    Args:
        audit: what was found. None where no audit was made.
        album: the thumbnails of the page.
    """
    if audit is None:
        return {"audit": None}
    return {
        "audit": audit,
        "audit_findings": [
            ShownFinding(
                finding["title"],
                finding["text"],
                tuple(_shot(image, album) for image in finding["images"][:MOST_IN_FINDING]),
            )
            for finding in audit.findings
        ],
    }


def _shot(image: Mapping[str, Any], album: Album) -> Shot:
    label, proposal, sure = image.get("label"), image.get("proposal"), image.get("confidence")
    lines = [f"label {label}"] if label is not None else []
    if proposal is not None:
        lines.append(f"proposed {proposal}{'' if sure is None else f', {percent(sure)}'}")
    return album.hang(image["path"], *lines)
