"""What a training has to say about the data, in sentences that say what to do."""

from __future__ import annotations

from tellapart.catalog.duplicates import Duplicates, find_duplicates
from tellapart.catalog.splits import find_leaks, small_classes
from tellapart.catalog.table import Catalog, Column
from tellapart.decoding import STATUSES
from tellapart.errors import Refused
from tellapart.report.data import Finding


def find_all(catalog: Catalog, splits: Column) -> tuple[Finding, ...]:
    """Leaks first, then label conflicts, copies, and remarks."""
    duplicates = find_duplicates(catalog)
    return (
        *_leaks(catalog, splits),
        *_conflicts(catalog, duplicates),
        *_copies(catalog, duplicates),
        *_rejected(catalog),
        *(Finding("remark", text) for text in (*catalog.remarks, *small_classes(catalog, splits), *_missing(splits))),
    )


def refuse_findings(findings: tuple[Finding, ...]) -> None:
    """With --strict a leak or a label conflict ends the run.

    Raises:
        Refused: there is one.
    """
    for finding in findings:
        if finding.kind in ("leak", "label_conflict"):
            raise Refused(finding.text, "Mend it, or leave --strict out.")


def _leaks(catalog: Catalog, splits: Column) -> list[Finding]:
    leaks = find_leaks(catalog, splits)
    if not leaks:
        return []
    between = sorted({" and ".join(leak.splits) for leak in leaks})
    text = (
        f"{_count(len(leaks), 'picture or group is', 'pictures or groups are')} in more than one split "
        f"({', '.join(between)}), as the source has it: the score is better than the model. "
        f"Take the copies out of one side; {_some(catalog, leaks[0].rows)} for one."
    )
    return [Finding("leak", text, tuple(catalog.paths[row] for leak in leaks for row in leak.rows))]


def _conflicts(catalog: Catalog, duplicates: Duplicates) -> list[Finding]:
    conflicts = duplicates.conflicts
    if not conflicts:
        return []
    rows = conflicts[0]
    named = " and ".join(f"{catalog.paths[row]!r} ({catalog.classes[catalog.labels[row]]})" for row in rows[:2])
    text = (
        f"{_count(len(conflicts), 'picture is', 'pictures are')} there under more than one class, {named} for one: "
        "at least one of the labels is wrong. Keep the right one."
    )
    return [Finding("label_conflict", text, tuple(catalog.paths[row] for rows in conflicts for row in rows))]


def _copies(catalog: Catalog, duplicates: Duplicates) -> list[Finding]:
    copies = duplicates.same_class
    if not copies:
        return []
    more = sum(len(rows) - 1 for rows in copies)
    text = (
        f"{_count(len(copies), 'picture has', 'pictures have')} {_count(more, 'exact copy', 'exact copies')}, "
        f"{_some(catalog, copies[0])} for one. Copies weigh more in training; delete them if that is not meant."
    )
    return [Finding("duplicate", text, tuple(catalog.paths[row] for rows in copies for row in rows))]


def _rejected(catalog: Catalog) -> list[Finding]:
    findings = []
    for status in sorted(set(catalog.statuses) - {"ok"}):
        paths = tuple(catalog.paths[catalog.statuses == status])
        text = f"{_count(len(paths), 'file is', 'files are')} {status}, {paths[0]!r} for one. {STATUSES[status]}"
        findings.append(Finding("rejected", text, paths))
    return findings


def _missing(splits: Column) -> list[str]:
    texts = []
    if not (splits == "val").any():
        texts.append(
            "There is no val: the probabilities are not calibrated, nothing is called unsure or unfamiliar, "
            "and the model file was checked on train pictures."
        )
    if not (splits == "test").any():
        texts.append("There is no test: nothing says how good this model is. Add pictures; two a class are the least.")
    return texts


def _some(catalog: Catalog, rows: tuple[int, ...]) -> str:
    return " and ".join(repr(catalog.paths[row]) for row in rows[:2])


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"
