"""The page of an audit: what it found, and how far it can be trusted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tellapart.catalog.table import Catalog
from tellapart.evaluation.label_errors import LEAST_EXPECTED, Power
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
    between: tuple[float, float] | None
    stop: int
    held: float
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
    """Which errors, how many images got them, and the share among the first 5 %, with interval."""
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
    if not audit.power or audit.expected is None or audit.between is None:
        return ["The images are too few to judge their labels."]
    words = {"random": "planted at random", "similar": "between similar classes"}
    shares = [f"{percent(power.share, 0)} of errors {words[power.kind]}" for power in audit.power]
    found = f"The first 5 % of the list hold {in_words(shares)}."
    low, high = (round(end) for end in audit.between)
    if audit.expected < LEAST_EXPECTED:
        most = f", and at most {high:,}" if high else ""
        return [
            found,
            f"Most likely no label is wrong{most}. The first ones are still worth a look.",
        ]
    number = round(audit.expected)
    verb = "is" if number == 1 else "are"
    wrong = f"About {count_of(number, 'label')} {verb} wrong, between {low:,} and {high:,}"
    if not audit.stop:
        return [found, f"{wrong}, too thinly spread to look for."]
    return [
        found,
        f"{wrong}. Read the list up to place {audit.stop:,}, which holds about {audit.held:,.0f} of"
        " them. Behind it fewer than one in 20 is expected to be wrong.",
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
