"""What there is to say about the data, in sentences that say what to do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from tellapart.catalog.duplicates import Copies, find_copies
from tellapart.catalog.edited_names import find_edited_names
from tellapart.catalog.findings import Finding
from tellapart.catalog.groups import find_bursts
from tellapart.catalog.split_findings import find_leaks, missed_shares, small_classes
from tellapart.catalog.table import Catalog
from tellapart.decoding import STATUSES
from tellapart.errors import Refused
from tellapart.options import SplitOptions
from tellapart.phrases import count_of

REFUSED = (
    "leak",
    "label_conflict",
)  # under --strict a training ends with these; an exploration with all of HARMFUL
HARMFUL = (*REFUSED, "large_cluster", "near_duplicate", "duplicate", "rejected", "low_contrast")
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
    copies, remarks = find_copies(catalog), catalog.remarks
    if (catalog.splits != "").any():
        missed = missed_shares(catalog, options) if options else ()
        remarks = (*remarks, *missed, *small_classes(catalog), *_missing(catalog, needs_val))
    conflicts = [cluster for cluster in copies if cluster.conflict]
    consistent = [cluster for cluster in copies if not cluster.conflict]
    return (
        *_leaks(catalog),
        *_conflicts(catalog, conflicts),
        *_large(catalog, copies),
        *_near(catalog, [cluster for cluster in consistent if not cluster.exact]),
        *_exact(catalog, [cluster for cluster in consistent if cluster.exact]),
        *_rejected(catalog),
        *_low_contrast(catalog),
        *_bursts(catalog),
        *_edited_names(catalog),
        *(Finding("remark", text) for text in remarks),
    )


def refuse_findings(findings: Iterable[Finding], kinds: Sequence[str] = REFUSED) -> None:
    """With --strict, findings of these kinds end the run.

    Raises:
        Refused: there is one.
    """
    for finding in findings:
        if finding.kind in kinds:
            raise Refused(finding.text, "Fix it, or drop --strict.")


def _leaks(catalog: Catalog) -> list[Finding]:
    leaks = find_leaks(catalog)
    if not leaks:
        return []
    between = sorted({" and ".join(leak.splits) for leak in leaks})
    text = (
        f"{count_of(len(leaks), 'image or group is', 'images or groups are')} in more than one"
        f" split ({', '.join(between)}), for example {_example(catalog, leaks[0].rows)}. The data"
        " set comes that way, and the score overstates the model. Remove the copies from one side."
    )
    return [Finding("leak", text, _sets(catalog, (leak.rows for leak in leaks)))]


def _conflicts(catalog: Catalog, conflicts: list[Copies]) -> list[Finding]:
    if not conflicts:
        return []
    named = " and ".join(
        f"{catalog.paths[row]!r} ({catalog.classes[catalog.labels[row]]})"
        for row in conflicts[0].rows[:2]
    )
    text = (
        f"{count_of(len(conflicts), 'image appears', 'images appear')} in more than one class, for"
        f" example {named}. At least one label is wrong: keep the right one."
    )
    if near := sum(not cluster.exact for cluster in conflicts):
        differ = "differs" if near == 1 else "differ"
        text += (
            f" Of these, {near:,} {differ} in the bytes, with nearly the same pixels. Where these"
            " are different shots of one scene, use --copies exact."
        )
    return [Finding("label_conflict", text, _clusters(catalog, conflicts))]


def _large(catalog: Catalog, copies: list[Copies]) -> list[Finding]:
    least = max(LARGE_COUNT, LARGE_SHARE * int(catalog.ok.sum()))
    large = [cluster for cluster in copies if len(cluster.rows) > least]
    large.sort(key=lambda cluster: -len(cluster.rows))
    if not large:
        return []
    text = (
        f"{count_of(len(large), 'image is', 'images are')} there so often that the copies are more"
        f" than {LARGE_SHARE:.0%} of the data: {catalog.paths[large[0].rows[0]]!r} is there"
        f" {len(large[0].rows):,} times. If they are copies, keep one. If they only look alike,"
        " as shots of a fixed camera do, they still count as one image in every split. Use --copies"
        " exact to divide them, or --group-by to say which belong together."
    )
    return [Finding("large_cluster", text, _clusters(catalog, large))]


def _near(catalog: Catalog, copies: list[Copies]) -> list[Finding]:
    if not copies:
        return []
    text = (
        f"{count_of(len(copies), 'image is', 'images are')} there more than once with nearly the"
        " same pixels (re-encoded, resized, slightly cropped, brightened, mirrored or turned), for"
        " example"
        f" {_example(catalog, copies[0].rows)}. They stay on one side of every split that is made"
        " here. Delete all but the best unless you want them."
    )
    return [Finding("near_duplicate", text, _clusters(catalog, copies))]


def _exact(catalog: Catalog, copies: list[Copies]) -> list[Finding]:
    if not copies:
        return []
    more = sum(len(cluster.rows) - 1 for cluster in copies)
    text = (
        f"{count_of(len(copies), 'image has', 'images have')}"
        f" {count_of(more, 'exact copy', 'exact copies')}, for example"
        f" {_example(catalog, copies[0].rows)}. Copies weigh more in training. Delete them unless"
        " you want that."
    )
    return [Finding("duplicate", text, _clusters(catalog, copies))]


def _rejected(catalog: Catalog) -> list[Finding]:
    rejected = np.flatnonzero(catalog.statuses != "ok").tolist()
    reasons: dict[tuple[str, str], list[int]] = {}
    for row in rejected:
        status = str(catalog.statuses[row])
        # Files of one kind that is not read have one way out. Others are told by their status.
        detail = str(catalog.details[row]) if status == "unsupported" else ""
        reasons.setdefault((status, detail), []).append(row)
    findings = []
    for (status, detail), rows in sorted(reasons.items()):
        text = (
            f"{count_of(len(rows), 'file is', 'files are')} {status}, for example"
            f" {catalog.paths[rows[0]]!r}. {detail or STATUSES[status]}"
        )
        findings.append(Finding("rejected", text, _sets(catalog, ((row,) for row in rows))))
    return findings


def _low_contrast(catalog: Catalog) -> list[Finding]:
    rows = [
        row
        for row in np.flatnonzero(catalog.ok).tolist()
        if "low_contrast" in catalog.notes[row].split(";")
    ]
    if not rows:
        return []
    text = (
        f"{count_of(len(rows), 'image has', 'images have')} almost no contrast once read, for"
        f" example {catalog.paths[rows[0]]!r}. A model learns nothing from an empty image: look at"
        " them."
    )
    # Images of 8 bits have no other range that could be set.
    if any("16_bit_scaled" in catalog.notes[row].split(";") for row in rows):
        text += (
            " Some hold more than 8 bits. If these use a part of their range only, set it with --set"
            " decoding.value_range=LOW,HIGH."
        )
    return [Finding("low_contrast", text, _sets(catalog, ((row,) for row in rows)))]


def _bursts(catalog: Catalog) -> list[Finding]:
    bursts = [] if (catalog.groups != "").any() else find_bursts(catalog)
    if not bursts:
        return []
    shots = sum(map(len, bursts))
    text = (
        f"{count_of(len(bursts), 'series of images looks', 'series of images look')} like capture"
        f" bursts ({shots:,} images), for example {_example(catalog, bursts[0])}. If they are, keep"
        " each on one side of the split with --group-by burst. Otherwise the score may be too good."
    )
    return [Finding("burst", text, _sets(catalog, bursts))]


def _edited_names(catalog: Catalog) -> list[Finding]:
    names = None if (catalog.groups != "").any() else find_edited_names(catalog)
    if names is None:
        return []
    images = count_of(sum(map(len, names.sets)), "image looks", "images look")
    text = (
        f"{images} like edited copies of each other by their names, for example"
        f" {_example(catalog, names.sets[0])}. If they are, keep them on one side of the split with"
        f" --group-by 'name:{names.pattern}'. Otherwise the score may be too good."
    )
    return [Finding("edited_name", text, _sets(catalog, names.sets))]


def _missing(catalog: Catalog, needs_val: bool) -> list[str]:
    texts = []
    if needs_val and not len(catalog.split("val")):
        texts.append(
            "There is no val: the probabilities are not calibrated, nothing is called unsure or"
            " unfamiliar, and the model file was checked on train images."
        )
    if not len(catalog.split("test")):
        texts.append(
            "There is no test: nothing says how good this model is. Add images, at least two of"
            " each class, or set split.test above 0."
        )
    return texts


def _clusters(catalog: Catalog, copies: Iterable[Copies]) -> tuple[tuple[str, ...], ...]:
    return _sets(catalog, (cluster.rows for cluster in copies))


def _sets(catalog: Catalog, rows: Iterable[Sequence[int]]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(catalog.paths[list(members)]) for members in rows)


def _example(catalog: Catalog, rows: Sequence[int]) -> str:
    return " and ".join(repr(catalog.paths[row]) for row in rows[:2])
