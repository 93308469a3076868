"""What there is to say about the data, in sentences that say what to do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from tellapart.catalog.duplicates import Copies, find_copies
from tellapart.catalog.findings import Finding
from tellapart.catalog.groups import find_bursts
from tellapart.catalog.splits import find_leaks, missed_shares, small_classes
from tellapart.catalog.table import Catalog, Column
from tellapart.decoding import STATUSES
from tellapart.errors import Refused
from tellapart.options import SplitOptions

REFUSED = (
    "leak",
    "label_conflict",
)  # under --strict a training ends with these; an exploration with all of HARMFUL
HARMFUL = (*REFUSED, "large_cluster", "near_duplicate", "duplicate", "rejected")
LARGE_SHARE = 0.01  # of the images: one image that is there so often decides what is learned
LARGE_COUNT = 5  # in a small set, two copies are more than that share already


def find_all(
    catalog: Catalog, options: SplitOptions | None, *, needs_val: bool = True
) -> tuple[Finding, ...]:
    """Leaks first, then label conflicts, copies, rejected files, proposals and remarks.

    Args:
        options: that the splits were made with; None for those of an earlier run.
        needs_val: whether it is worth a remark that there is no val.
    """
    copies, splits = find_copies(catalog), catalog.splits
    remarks = catalog.remarks
    if (splits != "").any():
        missed = missed_shares(catalog, options) if options else ()
        remarks = (*remarks, *missed, *small_classes(catalog), *_missing(splits, needs_val))
    return (
        *_leaks(catalog),
        *_conflicts(catalog, [one for one in copies if one.conflict]),
        *_large(catalog, copies),
        *_near(catalog, [one for one in copies if not one.exact and not one.conflict]),
        *_exact(catalog, [one for one in copies if one.exact and not one.conflict]),
        *_rejected(catalog),
        *_bursts(catalog),
        *(Finding("remark", text) for text in remarks),
    )


def refuse_findings(findings: Iterable[Finding], kinds: Sequence[str] = REFUSED) -> None:
    """With --strict, findings of these kinds end the run.

    Raises:
        Refused: there is one.
    """
    for finding in findings:
        if finding.kind in kinds:
            raise Refused(finding.text, "Mend it, or leave --strict out.")


def _leaks(catalog: Catalog) -> list[Finding]:
    leaks = find_leaks(catalog)
    if not leaks:
        return []
    between = sorted({" and ".join(leak.splits) for leak in leaks})
    text = (
        f"{_count(len(leaks), 'image or group is', 'images or groups are')} in more than one split "
        f"({', '.join(between)}), as the source has it: the score is better than the model. "
        f"Take the copies out of one side; {_some(catalog, leaks[0].rows)} for one."
    )
    return [Finding("leak", text, _sets(catalog, (leak.rows for leak in leaks)))]


def _conflicts(catalog: Catalog, conflicts: list[Copies]) -> list[Finding]:
    if not conflicts:
        return []
    rows = conflicts[0].rows
    named = " and ".join(
        f"{catalog.paths[row]!r} ({catalog.classes[catalog.labels[row]]})" for row in rows[:2]
    )
    near = sum(not one.exact for one in conflicts)
    text = (
        f"{_count(len(conflicts), 'image is', 'images are')} there under more than one class,"
        f" {named} for one: at least one of the labels is wrong. Keep the right one."
        + (
            f" {near:,} of them not with the same bytes, but with nearly the same pixels."
            if near
            else ""
        )
    )
    return [Finding("label_conflict", text, _sets(catalog, (one.rows for one in conflicts)))]


def _large(catalog: Catalog, copies: list[Copies]) -> list[Finding]:
    least = max(LARGE_COUNT, LARGE_SHARE * int(catalog.ok.sum()))
    large = sorted((one for one in copies if len(one.rows) > least), key=lambda one: -len(one.rows))
    if not large:
        return []
    text = (
        f"{_count(len(large), 'image is', 'images are')} there so often that the copies are more"
        f" than {LARGE_SHARE:.0%} of the data, {catalog.paths[large[0].rows[0]]!r}"
        f" {len(large[0].rows):,} times. If they are indeed copies, keep one; if they only look"
        " alike, they still count as one image in every split."
    )
    return [Finding("large_cluster", text, _sets(catalog, (one.rows for one in large)))]


def _near(catalog: Catalog, copies: list[Copies]) -> list[Finding]:
    if not copies:
        return []
    text = (
        f"{_count(len(copies), 'image is', 'images are')} there more than once with nearly the same"
        " pixels (re-encoded, resized, slightly cropped or brightened),"
        f" {_some(catalog, copies[0].rows)} for one. They stay on one side of every split that is"
        " made here; delete all but the best if that is not meant."
    )
    return [Finding("near_duplicate", text, _sets(catalog, (one.rows for one in copies)))]


def _exact(catalog: Catalog, copies: list[Copies]) -> list[Finding]:
    if not copies:
        return []
    more = sum(len(one.rows) - 1 for one in copies)
    text = (
        f"{_count(len(copies), 'image has', 'images have')}"
        f" {_count(more, 'exact copy', 'exact copies')}, {_some(catalog, copies[0].rows)} for one."
        " Copies weigh more in training; delete them if that is not meant."
    )
    return [Finding("duplicate", text, _sets(catalog, (one.rows for one in copies)))]


def _rejected(catalog: Catalog) -> list[Finding]:
    findings = []
    for status in sorted(set(catalog.statuses) - {"ok"}):
        rows = np.flatnonzero(catalog.statuses == status).tolist()
        named = repr(catalog.paths[rows[0]])
        text = (
            f"{_count(len(rows), 'file is', 'files are')} {status}, {named} for one."
            f" {STATUSES[status]}"
        )
        findings.append(Finding("rejected", text, _sets(catalog, ((row,) for row in rows))))
    return findings


def _bursts(catalog: Catalog) -> list[Finding]:
    bursts = [] if (catalog.groups != "").any() else find_bursts(catalog)
    if not bursts:
        return []
    shots = sum(map(len, bursts))
    text = (
        f"{_count(len(bursts), 'row of images looks', 'rows of images look')} like capture bursts"
        f" ({shots:,} images), {_some(catalog, bursts[0])} for one. If so, keep each on one side of"
        " the split with --group-by burst: else the score may be too good."
    )
    return [Finding("burst", text, _sets(catalog, bursts))]


def _missing(splits: Column, needs_val: bool) -> list[str]:
    texts = []
    if needs_val and not (splits == "val").any():
        texts.append(
            "There is no val: the probabilities are not calibrated, nothing is called unsure or"
            " unfamiliar, and the model file was checked on train images."
        )
    if not (splits == "test").any():
        texts.append(
            "There is no test: nothing says how good this model is. Add images; two a class are the"
            " least."
        )
    return texts


def _sets(catalog: Catalog, rows: Iterable[Sequence[int]]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(catalog.paths[list(one)]) for one in rows)


def _some(catalog: Catalog, rows: Sequence[int]) -> str:
    return " and ".join(repr(catalog.paths[row]) for row in rows[:2])


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"
