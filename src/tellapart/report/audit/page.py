"""The page of an audit: what it found, and how far it can be trusted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tellapart.catalog.table import Catalog
from tellapart.evaluation.label_errors import Power
from tellapart.evaluation.shortcuts import Shortcut
from tellapart.phrases import count_of, in_words
from tellapart.report.parts.document import render_document
from tellapart.report.parts.gallery import Album, Shot
from tellapart.report.parts.wording import percent
from tellapart.runs.audit import FINDINGS, KINDS, AuditFinding

MOST_SHOWN = 60  # findings of a kind on the page; findings.jsonl holds all
FIRST_KINDS = ("shortcut", "copies", "label", "classes", "outlier", "quality", "unlabelled")


@dataclass(frozen=True)
class AuditInput:
    """Everything that the page shows; `jobs.audit.audit.Audit` says what each of them is."""

    images: Mapping[str, int]
    findings: Sequence[AuditFinding]
    power: Sequence[Power]
    expected: float | None
    stop: int
    shortcuts: Sequence[Shortcut]
    seconds: float


@dataclass(frozen=True)
class ShownFinding:
    """A finding with its thumbnails."""

    number: int
    title: str
    text: str
    shots: tuple[Shot, ...]


@dataclass(frozen=True)
class ShownKind:
    """The findings of one kind."""

    kind: str
    heading: str
    count: int
    findings: tuple[ShownFinding, ...]


def render_audit(audit: AuditInput, catalog: Catalog, created: str, title: str) -> str:
    """The page as one self-contained HTML document.

    Args:
        audit: what was found.
        catalog: of the images, which are read again for their thumbnails.
        created: the time of the page, as `wording.timestamp` words it.
        title: the name of the data.

    Raises:
        UserError: if jinja2 is not installed.
    """
    album = Album(catalog.files.read, rules=catalog.rules, repeat=True)
    kinds = [_shown(kind, audit.findings, album) for kind in FIRST_KINDS]
    shown = [kind for kind in kinds if kind.count]
    return render_document(
        "audit/page.html.jinja",
        contents=[
            ("summary", "Summary"),
            ("power", "What is found"),
            ("shortcuts", "Shortcuts"),
            *((kind.kind, kind.heading) for kind in shown if kind.kind != "shortcut"),
        ],
        title=title,
        created=created,
        lines=audit_lines(audit),
        power=[power_row(power) for power in audit.power],
        shortcuts=[shortcut_row(shortcut) for shortcut in audit.shortcuts],
        kinds=shown,
        file=FINDINGS,
        seconds=audit.seconds,
    )


def audit_lines(audit: AuditInput) -> list[str]:
    """The result in sentences, the verdict first."""
    counts = Counter(finding.kind for finding in audit.findings)
    parts = [f"{KINDS[kind].lower()}: {counts[kind]:,}" for kind in FIRST_KINDS if counts[kind]]
    total = sum(audit.images.values())
    found = "; ".join(parts) if parts else "nothing to look at"
    return [
        f"{count_of(total, 'image')} audited; {found}.",
        *_label_lines(audit),
        _shortcut_line(audit.shortcuts),
    ]


def power_row(power: Power) -> tuple[str, str, str, str]:
    """Which errors, how many were planted, and the share among the first 5 % with its interval."""
    values = power.as_json()
    kinds = {"random": "any other class", "similar": "the most similar class"}
    interval = f"{percent(values['low'], 0)} to {percent(values['high'], 0)}"
    return kinds[power.kind], f"{power.planted:,}", percent(power.share, 0), interval


def shortcut_row(shortcut: Shortcut) -> tuple[str, str, str, str, str, str]:
    """A cue, the balanced accuracies of cue, chance and model, and the verdict."""
    accuracy = shortcut.accuracy
    interval = f"{percent(accuracy.low, 0)} to {percent(accuracy.high, 0)}"
    return (
        shortcut.cue,
        percent(accuracy.value, 0),
        interval,
        percent(shortcut.chance, 0),
        percent(shortcut.model, 0),
        "shortcut" if shortcut.found else "no shortcut",
    )


def _label_lines(audit: AuditInput) -> list[str]:
    if not audit.power or audit.expected is None:
        return ["The images are too few to judge their labels."]
    words = {"random": "planted at random", "similar": "between similar classes"}
    shares = [f"{percent(power.share, 0)} of errors {words[power.kind]}" for power in audit.power]
    lines = [f"The first 5 % of the list hold {in_words(shares)}."]
    if audit.expected < 0.5:
        return [
            *lines,
            "Fewer than one wrong label is expected. The first ones are still worth a look.",
        ]
    wrong = f"{audit.expected:.0f} label{' is' if round(audit.expected) == 1 else 's are'} wrong"
    if not audit.stop:
        return [*lines, f"At most about {wrong}, too thinly spread to look for."]
    return [
        *lines,
        f"At most about {wrong}. Read the first {audit.stop:,} of the list; behind them fewer than"
        " one in 20 is expected to be wrong.",
    ]


def _shortcut_line(shortcuts: Sequence[Shortcut]) -> str:
    found = [shortcut.cue for shortcut in shortcuts if shortcut.found]
    if found:
        return f"The {in_words(found)} alone tells classes apart. Look at the shortcuts first."
    return f"No shortcut was found among {count_of(len(shortcuts), 'cue')}."


def _shown(kind: str, findings: Sequence[AuditFinding], album: Album) -> ShownKind:
    own = [finding for finding in findings if finding.kind == kind]
    first = own[:MOST_SHOWN]
    album.prepare(image.path for finding in first for image in finding.images)
    return ShownKind(kind, KINDS[kind], len(own), tuple(_with_shots(f, album) for f in first))


def _with_shots(finding: AuditFinding, album: Album) -> ShownFinding:
    shots = []
    for image in finding.images:
        words = [image.label or "no label", image.split]
        if image.proposal is not None and image.confidence is not None:
            words.append(f"looks like {image.proposal}, {percent(image.confidence, 0)}")
        shots.append(album.hang(image.path, *words))
    return ShownFinding(finding.number, finding.title, finding.text, tuple(shots))
