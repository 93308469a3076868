"""The page of `explore`: a catalog, what is wrong with it, and what a training would make of it.

ExplorationInput ─▶ words, tables, figures, thumbnails ─▶ template ─▶ one string
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tellapart.catalog.duplicates import clusters
from tellapart.catalog.findings import Finding
from tellapart.catalog.table import Catalog
from tellapart.evaluation.intervals import wilson
from tellapart.evaluation.metrics import BALANCED_RATIO, TRUSTED_COUNT, is_trusted
from tellapart.phrases import count_of, in_groups
from tellapart.report.explore.file_table import MOST_ROWS, file_rows
from tellapart.report.explore.light import appearance_lines, extremes, measures
from tellapart.report.explore.shapes import shapes
from tellapart.report.explore.shortcuts import MIN_IMAGES, MOST_SHORTCUTS, Shortcut, shortcuts
from tellapart.report.parts import data_section
from tellapart.report.parts.document import render_document
from tellapart.report.parts.gallery import Album, Shot
from tellapart.report.parts.wording import named, percent

__all__ = ["ExplorationInput", "render_exploration", "summary_lines"]

MOST_SAMPLED_CLASSES = 40
MOST_SAMPLES = 120  # in all
MOST_POINTS = 12  # in the list at the top
MOST_OF_KIND = 5  # of one kind of finding there

# The words of the verdict after the number of findings, for one and for several. Findings of other
# kinds do not change the verdict.
_SERIOUS: Mapping[str, tuple[str, str]] = {
    "leak": ("image is in more than one split", "images are in more than one split"),
    "label_conflict": ("image is in more than one class", "images are in more than one class"),
    "large_cluster": ("image appears very many times", "images appear very many times"),
}


@dataclass(frozen=True)
class ExplorationInput:
    """Everything that an exploration shows.

    Args:
        title: the title of the page, for example the name of the data.
        created: the time of the page, as `wording.timestamp` words it.
        catalog: the data, scanned, with the splits that training would use. All splits are ""
            where the images cannot be divided.
        findings: what is worth knowing about the data, the worst of each kind first.
        appearance: (N, 3) float32: brightness 0 to 255, contrast (standard deviation) 0 to 128,
            colourfulness 0 to about 128; NaN where there is none.
        seconds: the time of the scan.
        input_px: the side of the network's square input; 0 where it is not known.
    """

    title: str
    created: str
    catalog: Catalog
    findings: tuple[Finding, ...]
    appearance: NDArray[np.float32]
    seconds: float
    input_px: int = 224

    def __post_init__(self) -> None:
        if self.appearance.shape != (len(self.catalog), 3):
            raise ValueError(
                f"appearance must be ({len(self.catalog)}, 3), got {self.appearance.shape}"
            )

    @property
    def usable(self) -> int:
        """Images with status ok."""
        return int(np.count_nonzero(self.catalog.ok))


@dataclass(frozen=True)
class Point:
    """One thing to know before training. `place` is a kind of finding, or a section of the page."""

    heading: str
    text: str
    place: str


@dataclass(frozen=True)
class ClassSample:
    """Some images of one class."""

    name: str
    count: int
    shots: tuple[Shot, ...]


def render_exploration(exploration: ExplorationInput) -> str:
    """The exploration as one HTML document. An image that can no longer be read is only named.

    Raises:
        UserError: if jinja2 is not installed.
    """
    catalog, findings = exploration.catalog, exploration.findings
    album = Album(catalog.files.read, rules=catalog.rules, repeat=True)
    hints = shortcuts(catalog, exploration.appearance)
    split_counts = data_section.split_counts(catalog)
    # Images get their thumbnails in the order of these three until the album is full.
    groups = data_section.finding_groups(
        [finding for finding in findings if finding.kind != "rejected"],
        album,
        data_section.captions(catalog),
    )
    ends = extremes(catalog, exploration.appearance, album)
    samples = _samples(catalog, album)
    sections = [
        ("verdict", "Verdict", True),
        ("recognised", "The data", True),
        ("balance", "Classes and balance", True),
        ("shapes", "Sizes and shapes", True),
        ("light", "Light and colour", True),
        ("shortcuts", "Shortcuts", True),
        ("statuses", "Every file", True),
        ("findings", "Findings", bool(groups)),
        ("samples", "Samples", bool(samples)),
        ("table", "The table", len(catalog) > 0),
    ]
    points = _points(exploration, hints)
    found = {finding.text for finding in findings}
    return render_document(
        "explore/page.html.jinja",
        contents=[(anchor, name) for anchor, name, there in sections if there],
        title=exploration.title,
        created=exploration.created,
        seconds=exploration.seconds,
        verdict=_verdict(exploration),
        points=points[:MOST_POINTS],
        anchors={group.kind: group.anchor for group in groups},
        more_points=max(len(points) - MOST_POINTS, 0),
        catalog=catalog,
        remarks=[remark for remark in catalog.remarks if remark not in found],
        tiles_of_data=data_section.tiles(catalog, split_counts),
        split_counts=split_counts,
        balance_lines=_balance_lines(exploration),
        balance_rows=data_section.balance_rows(catalog),
        shapes=shapes(catalog, exploration.input_px),
        appearance_lines=appearance_lines(catalog, exploration.appearance),
        measures=measures(catalog, exploration.appearance),
        extremes=ends,
        shortcuts=hints[:MOST_SHORTCUTS],
        shortcut_images=MIN_IMAGES,
        more_shortcuts=max(len(hints) - MOST_SHORTCUTS, 0),
        status_rows=data_section.status_rows(catalog),
        note_rows=data_section.note_rows(catalog),
        finding_groups=groups,
        samples=samples,
        file_rows=file_rows(catalog, exploration.appearance),
        most_rows=MOST_ROWS,
    )


def summary_lines(exploration: ExplorationInput) -> list[str]:
    """The sentences of the page for the terminal, the verdict first."""
    points = _points(exploration, shortcuts(exploration.catalog, exploration.appearance))[
        :MOST_POINTS
    ]
    pointed = {point.text for point in points}
    return [
        _verdict(exploration),
        *(f"{point.heading}: {point.text}" for point in points),
        *(line for line in _balance_lines(exploration) if line not in pointed),
        *shapes(exploration.catalog, exploration.input_px).lines,
        *appearance_lines(exploration.catalog, exploration.appearance),
    ]


def _verdict(exploration: ExplorationInput) -> str:
    """The whole exploration in a sentence or two."""
    catalog, usable = exploration.catalog, exploration.usable
    if not usable:
        return "There are no usable images here."
    filled = int(np.count_nonzero(catalog.counts()))
    classes = count_of(filled, "class", "classes")
    if usable == len(catalog):
        start = f"{count_of(usable, 'image')} in {classes}; every file can be used."
    else:
        start = f"{usable:,} of {len(catalog):,} files can be used, in {classes}."
    if filled < 2:
        return f"{start} Training needs at least two classes."
    counts = data_section.finding_counts(exploration.findings)
    serious = [
        f"{counts[kind]:,} {singular if counts[kind] == 1 else plural}"
        for kind, (singular, plural) in _SERIOUS.items()
        if kind in counts
    ]
    fix = f" Fix this first: {', '.join(serious)}." if serious else ""
    if not (catalog.splits != "").any():
        return (
            f"{start} Training would stop here, because the images cannot be divided into splits."
            f"{fix}"
        )
    return start + (fix or " Nothing stands in the way of training.")


def _points(exploration: ExplorationInput, hints: Sequence[Shortcut]) -> list[Point]:
    """What to fix and to know before training: findings, shortcuts and small classes, the worst
    first.
    """
    counts = data_section.finding_counts(exploration.findings)
    points = [
        Point(
            data_section.KINDS.get(kind, (kind, ""))[0],
            finding.text,
            "statuses" if kind == "rejected" else kind,
        )
        for kind in counts
        for finding in [finding for finding in exploration.findings if finding.kind == kind][
            :MOST_OF_KIND
        ]
    ]
    worst = sum(
        point.heading in {data_section.KINDS[kind][0] for kind in _SERIOUS} for point in points
    )
    if hints:
        more = f" There are {len(hints) - 1:,} more like it." if len(hints) > 2 else ""
        more = " There is 1 more like it." if len(hints) == 2 else more
        points.insert(worst, Point("A possible shortcut", f"{hints[0].text}{more}", "shortcuts"))
    if line := _small_classes_line(exploration):
        points.append(Point("Small classes", line, "balance"))
    return points


def _balance_lines(exploration: ExplorationInput) -> list[str]:
    """The balance of the classes, and its consequences."""
    catalog = exploration.catalog
    counts = catalog.counts()
    if np.count_nonzero(counts) < 2:
        return []
    rows = data_section.balance_rows(catalog)
    lines = [data_section.balance_line(rows)]
    most, least = int(counts.argmax()), int(counts[counts > 0].min())
    same = (
        "giving the same answer"
        if counts[most] == least
        else f"answering ‘{catalog.classes[most]}’"
    )
    share = percent(counts[most] / counts.sum())
    always = f"Always {same} would be correct {share} of the time"
    if counts.max() > BALANCED_RATIO * least:
        lines.append(
            f"{always}, so accuracy would mostly reflect the large classes. Balanced accuracy, which"
            " counts every class equally, will be shown first."
        )
    else:
        lines.append(
            f"{always}; a model has to beat that. The classes are even enough for plain accuracy."
        )
    test = data_section.split_counts(catalog)["test"]
    if test:
        groups = len(np.unique(clusters(catalog)[catalog.ok & (catalog.splits == "test")]))
        low, high = wilson(0.9 * groups, groups)
        alike = ", if the images of a group are all alike" if groups < test else ""
        lines.append(
            f"On {in_groups(test, groups, 'test image')}, an accuracy of 90\u202f% would"
            f" have a 95\u202f% interval from {percent(low)} to {percent(high)}{alike}."
        )
    elif exploration.usable:
        lines.append("There would be no test split, so nothing would show how good a model is.")
    return [*lines, line] if (line := _small_classes_line(exploration)) else lines


def _small_classes_line(exploration: ExplorationInput) -> str:
    catalog = exploration.catalog
    test, counts = _test_groups(catalog), catalog.counts()
    few = [
        name
        for name, groups, all_ in zip(catalog.classes, test, counts, strict=True)
        if all_ and not is_trusted(groups)
    ]
    if not few or not test.any():
        return ""
    filled = int(np.count_nonzero(counts))
    classes = "Every class" if len(few) == filled else f"{len(few):,} of {filled:,} classes"
    have = "has" if len(few) in (1, filled) else "have"
    needed = int(np.ceil(TRUSTED_COUNT * counts[test > 0].sum() / test.sum()))
    grouped = test.sum() < catalog.counts(catalog.ok & (catalog.splits == "test")).sum()
    least = f"{TRUSTED_COUNT} groups of test images" if grouped else f"{TRUSTED_COUNT} test images"
    return (
        f"{classes} {have} fewer than {least} ({named(few)}): treat the numbers"
        f" of such a class as hints. With this split, that many take about {needed:,} images of a"
        " class."
    )


def _test_groups(catalog: Catalog) -> NDArray[np.int64]:
    """(C,) the test images of each class; copies and the images of a group count once."""
    rows = np.flatnonzero(catalog.ok & (catalog.splits == "test") & (catalog.labels >= 0))
    pairs = np.unique(np.stack([catalog.labels[rows], clusters(catalog)[rows]]), axis=1)
    return np.bincount(pairs[0], minlength=len(catalog.classes))


def _samples(catalog: Catalog, album: Album) -> list[ClassSample]:
    """Images of each class, evenly spread over its files. With very many classes, an even sample of
    the classes.
    """
    counts = catalog.counts()
    chosen = data_section.spread(np.flatnonzero(counts), MOST_SAMPLED_CLASSES)
    # Whole rows of six, or half a row.
    each = next((each for each in (12, 6) if each * len(chosen) <= MOST_SAMPLES), 3)
    samples = {
        label: [
            str(catalog.paths[row])
            for row in data_section.spread(
                np.flatnonzero(catalog.ok & (catalog.labels == label)), each
            )
        ]
        for label in chosen
    }
    album.prepare(path for paths in samples.values() for path in paths)
    return [
        ClassSample(catalog.classes[label], int(counts[label]), tuple(map(album.hang, paths)))
        for label, paths in samples.items()
    ]
