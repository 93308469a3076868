"""Which images belong together: one patient, one camera, one burst. A group never crosses a split.

column:NAME     a column of the table
folder          the folder that an image lies in
folder:N        the N-th folder of its path, from the top
name:REGEX      what a regular expression finds in the file name: its capture called `group`, else
                its first capture, else all that it matches
burst           the bursts that `find_bursts` proposes

The folder of an image's class is no group, and nor is a name that the expression does not match.
Equal names are one group wherever they stand: a patient can have images of several classes.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise

import numpy as np

from tellapart.catalog.names import escape, folder_at, unescape
from tellapart.catalog.table import Catalog, Column, text_column
from tellapart.errors import UserError
from tellapart.phrases import count_of

# Cameras shoot a burst within tenths of a second, and most write whole seconds. Somebody who takes
# the same thing again needs a second or two; to walk on to the next thing takes longer.
BURST_GAP_SECONDS = 3

# The fewest and the most images of a burst that only its numbers show. Three numbers in a row are
# seldom chance, and a session or a numbered data set runs on for longer than ten.
NUMBERED_BURST = (3, 10)


def group(catalog: Catalog, group_by: str | None) -> Catalog:
    """The scanned catalog with its column `groups` filled, and a remark with the numbers.

    Args:
        catalog: scanned.
        group_by: one of the forms above, as in `SplitOptions`. None leaves the groups as they are.

    Raises:
        UserError: no image gets a group, or all get the same one.
    """
    if group_by is None:
        return catalog
    form, _, value = group_by.partition(":")
    groups = text_column(_FORMS[form](catalog, value))
    remarks = [*catalog.remarks]
    stated = 0 if form == "column" else len({*catalog.groups[catalog.ok], ""} - {""})
    if stated:
        remarks.append(
            f"The source states {count_of(stated, 'group')} too; --group-by {group_by} is used"
            " instead."
        )
    remarks += _summary(catalog, groups, group_by)
    return catalog.replace(groups=groups, remarks=tuple(remarks))


def find_bursts(catalog: Catalog) -> list[tuple[int, ...]]:
    """The rows of each likely capture burst of two or more different images. They are proposals,
    for the user to accept.

    Images with a capture time are a burst if one camera took each at most BURST_GAP_SECONDS after
    the one before. Neither size nor label nor folder need agree, as crops of one photograph keep
    its time. Midnight to the second is a date without a time, or a clock that was never set, and
    counts as unknown.

    Without times, running numbers are weak evidence: of 400 cats picked from a numbered data set at
    random, 164 follow the one before. So they count only under four conditions:

    - a camera gave the names (DCF: four capitals, digits or "_", then four digits: IMG_0012.JPG);
    - the images lie in one folder, and are of one size;
    - the run is as long as NUMBERED_BURST allows;
    - on either side of it, more numbers are missing than the longest run has.
    """
    found = [*_timed(catalog), *_numbered(catalog)]
    return sorted(rows for rows in found if _images(catalog, rows) > 1)


def _by_column(catalog: Catalog, _: str) -> Iterable[str]:
    return iter(catalog.groups)  # read with the table


def _by_folder(catalog: Catalog, number: str) -> Iterable[str]:
    classes = [*catalog.classes, ""]  # label -1 takes the last
    for path, label in zip(catalog.paths.tolist(), catalog.labels.tolist(), strict=True):
        folder = folder_at(path, number)
        yield "" if folder == classes[label] else folder


def _by_name(catalog: Catalog, expression: str) -> Iterable[str]:
    pattern = re.compile(expression)
    capture = "group" if "group" in pattern.groupindex else min(pattern.groups, 1)
    for path in catalog.paths.tolist():
        found = pattern.search(unescape(path.rpartition("/")[2]))
        yield escape(found[capture] or "") if found else ""


def _by_burst(catalog: Catalog, _: str) -> Iterable[str]:
    groups = [""] * len(catalog)
    for rows in find_bursts(catalog):
        for row in rows:
            groups[row] = f"burst of {catalog.paths[rows[0]]}"
    return groups


_FORMS: dict[str, Callable[[Catalog, str], Iterable[str]]] = {
    "column": _by_column,
    "folder": _by_folder,
    "name": _by_name,
    "burst": _by_burst,
}

_HINTS = {
    "column": (
        "It takes a table that has this column, filled in. For a folder there are folder,"
        " name:REGEX and burst."
    ),
    "folder": (
        "It takes the folder that an image lies in (folder:N takes the N-th from the top), unless"
        " that is the folder of the class."
    ),
    "name": (
        "The expression is searched in the file name without its folders. Upper and lower case"
        " differ."
    ),
}


def _summary(catalog: Catalog, groups: Column, group_by: str) -> list[str]:
    """A sentence on the groups of the usable images, in numbers.

    Raises:
        UserError: the grouping gives no group, or only one.
    """
    used = groups[catalog.ok].tolist()
    sizes = Counter(used)
    loose = sizes.pop("", 0)
    if not used:
        return []
    images = count_of(len(used), "image")
    if not sizes and group_by == "burst":
        timed = int((catalog.ok & (catalog.taken != "")).sum())
        return [f"No capture bursts were found: {timed:,} of {images} say when they were taken."]
    if not sizes:
        raise UserError(
            f"--group-by {group_by} gives none of {images} a group, for example"
            f" {catalog.paths[catalog.ok][0]!r}.",
            _HINTS[group_by.partition(":")[0]],
        )
    largest, most = sizes.most_common(1)[0]
    if most == len(used):
        raise UserError(
            f"--group-by {group_by} puts all {images} into one group, {largest!r}, and a group"
            " stays whole: nothing could be divided.",
            "Group by what tells them apart, or leave --group-by out.",
        )
    pairs = set(zip(used, catalog.labels[catalog.ok].tolist(), strict=True))
    classes_of = Counter(name for name, _ in pairs if name)
    mixed = sum(count > 1 for count in classes_of.values())
    grouped, number = count_of(len(used) - loose, "image"), count_of(len(sizes), "group")
    text = f"Grouped by {group_by}: {grouped} in {number}"
    if most > 1:
        text += f", the largest, {largest!r}, of {most:,}"
    else:
        text += ", each alone, so nothing is kept together"
    if mixed:
        text += f"; {mixed:,} of more than one class"
    if loose:
        text += f"; {count_of(loose, 'image')} without a group"
    return [f"{text}."]


def _timed(catalog: Catalog) -> Iterator[tuple[int, ...]]:
    rows, moments, cameras = [], [], []
    numbers: dict[str, int] = {}
    for row in np.flatnonzero(catalog.ok & (catalog.taken != "")).tolist():
        moment, _, camera = catalog.taken[row].partition("|")
        if not moment.endswith("T00:00:00"):
            rows.append(row)
            moments.append(moment)
            cameras.append(numbers.setdefault(camera, len(numbers)))
    times, makers = np.array(moments, "datetime64[ms]"), np.array(cameras, np.int64)
    order = np.lexsort((times, makers))
    late = np.diff(times[order]) > np.timedelta64(BURST_GAP_SECONDS, "s")
    starts = np.flatnonzero(late | (np.diff(makers[order]) > 0)) + 1
    in_time = np.array(rows, np.int64)[order]
    for start, end in pairwise([0, *starts.tolist(), len(rows)]):
        if end - start > 1:
            yield tuple(sorted(in_time[start:end].tolist()))


def _numbered(catalog: Catalog) -> Iterator[tuple[int, ...]]:
    named_by_camera = re.compile(
        r"(.*/)?((?=[0-9]{0,3}[A-Z_])[A-Z0-9_]{4})([0-9]{4})(\.[A-Za-z]+)", re.DOTALL
    )
    series = defaultdict(list)
    for row in np.flatnonzero(catalog.ok & (catalog.taken == "")).tolist():
        if name := named_by_camera.fullmatch(catalog.paths[row]):
            series[name[1], name[2], name[4]].append((int(name[3]), row))
    fewest, most = NUMBERED_BURST
    for pairs in series.values():
        numbers, rows = zip(*sorted(pairs), strict=True)
        # Nothing is before the first and after the last. These are plain numbers: most series are
        # far too short for an array to be faster.
        steps = [after - number for number, after in pairwise([-most - 1, *numbers, 10_000 + most])]
        for start, end in pairwise(place for place, step in enumerate(steps) if step > 1):
            run = sorted(rows[start:end])
            apart = fewest <= len(run) <= most < min(steps[start], steps[end])
            if apart and len(set(zip(catalog.widths[run], catalog.heights[run], strict=True))) == 1:
                yield tuple(run)


def _images(catalog: Catalog, rows: Sequence[int]) -> int:
    """How many different images some rows show: copies of one image are no burst."""
    return len(
        set({catalog.digests[row]: int(catalog.copies[row]) for row in reversed(rows)}.values())
    )
