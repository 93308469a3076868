"""The page of drift: what of the new images is not as it was in the training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tellapart.evaluation.drift import ANSWER, DECISION, LEAST_IMAGES, Difference, Share
from tellapart.phrases import count_of
from tellapart.report.parts.document import render_document

TITLES = {
    DECISION: "Decisions",
    ANSWER: "Answers",
    "confidence": "Confidence",
    "unfamiliarity": "Unfamiliarity",
    "brightness": "Brightness",
    "contrast": "Contrast",
    "colourfulness": "Colourfulness",
    "width": "Width in pixels",
    "height": "Height in pixels",
}


@dataclass(frozen=True)
class ShownShare:
    """A row of the table."""

    name: str
    before: str
    now: str
    count: int


@dataclass(frozen=True)
class ShownDifference:
    """One thing that was compared, in words."""

    title: str
    verdict: str
    rows: tuple[ShownShare, ...]


def render_drift(
    title: str,
    created: str,
    images: int,
    found: Sequence[Difference],
    missing: Sequence[str],
    ran: Mapping[str, str],
) -> str:
    """The page as one self-contained HTML document.

    Args:
        title: the name of the model.
        created: the time of the page, as `wording.timestamp` words it.
        images: how many new images there are.
        found: what was compared.
        missing: names of what the table of images does not say.
        ran: facts, name → value.

    Raises:
        UserError: if jinja2 is not installed.
    """
    return render_document(
        "drift/page.html.jinja",
        contents=[
            ("summary", "Summary"),
            ("differences", "What was compared"),
            ("run", "What was run"),
        ],
        title=title,
        created=created,
        lines=drift_lines(images, found, missing),
        shown=[_shown(entry) for entry in found if entry.count],
        ran=ran,
    )


def drift_lines(images: int, found: Sequence[Difference], missing: Sequence[str]) -> list[str]:
    """The result in sentences.

    >>> drift_lines(12, [], ["width"])[0]
    '12 images are too few to tell: 30 are needed.'
    """
    lines = []
    different = [entry for entry in found if entry.differs]
    if images < LEAST_IMAGES:
        are = "is" if images == 1 else "are"
        lines.append(
            f"{count_of(images, 'image')} {are} too few to tell: {LEAST_IMAGES} are needed."
        )
    elif not different:
        lines.append(
            f"{count_of(images, 'image')} were compared with those of the training. No difference"
            " was found that chance does not explain."
        )
    else:
        names = ", ".join(TITLES.get(entry.name, entry.name).lower() for entry in different)
        lines.append(f"{count_of(images, 'image')} differ from those of the training in: {names}.")
    for entry in different:
        widest = max(entry.shares, key=lambda share: abs(share.now - share.before))
        label = _label(entry, widest)
        lines.append(
            f"{TITLES.get(entry.name, entry.name)}: {label} {_percent(widest, now=True)},"
            f" in the training {_percent(widest, now=False)}."
        )
    if missing:
        lines.append(f"Not compared, as the table does not say it: {', '.join(missing)}.")
    return lines


def _shown(entry: Difference) -> ShownDifference:
    verdict = (
        f"too few images to tell ({entry.count:,})"
        if entry.p is None
        else f"{'differs' if entry.differs else 'no difference found'}, p = {entry.p:.2g}"
    )
    rows = tuple(
        ShownShare(
            _label(entry, share), _percent(share, now=False), _percent(share, now=True), share.count
        )
        for share in entry.shares
    )
    return ShownDifference(TITLES.get(entry.name, entry.name), verdict, rows)


def _label(entry: Difference, share: Share) -> str:
    if entry.name in (DECISION, ANSWER):
        return share.name
    return f"among the {share.name} of the training"


def _percent(share: Share, *, now: bool) -> str:
    value, (low, high) = (
        (share.now, share.now_interval) if now else (share.before, share.before_interval)
    )
    return f"{100 * value:.1f} % ({100 * low:.1f} to {100 * high:.1f})"
