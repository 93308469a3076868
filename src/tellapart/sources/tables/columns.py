"""Which column of a table holds what: by its name, else by its cells, else by asking the user."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from tellapart.errors import UserError
from tellapart.phrases import count_of, listed
from tellapart.sources.folder_names import split_named
from tellapart.sources.reading import Reading
from tellapart.sources.tables.cells import (
    are_yes_or_no,
    distinct,
    evenly,
    is_number,
    text_or_empty,
    yes_or_no,
)
from tellapart.sources.tables.column_names import (
    GROUP_LIKE_NAMES,
    GROUP_NAMES,
    LABEL_NAMES,
    PATH_NAMES,
    SPLIT_COLUMNS,
    WEAK_LABEL_NAMES,
    WEAK_PATH_NAMES,
    YES_NO_SPLITS,
    plain,
)
from tellapart.sources.tables.dialects import looks_like_an_image
from tellapart.sources.tables.sheets import Sheet

_SAMPLE = 200  # cells that show whether a column holds names of files
_MOST_LISTED = 12  # columns in one message


@dataclass(frozen=True)
class Columns:
    """The columns that are used.

    Args:
        path, label, split, group, weight: their names, or None for none. `label` is None where
            `one_hot` is used, or where no label is needed.
        one_hot: the columns of yes and no, each named as its class, that hold one yes a row.
        yes_split: the split of a yes, where `split` holds yes and no.
        remarks: what was chosen that the user might want otherwise.
    """

    path: Any = None
    label: Any = None
    split: Any = None
    group: Any = None
    weight: Any = None
    one_hot: tuple[Any, ...] = ()
    yes_split: str = ""
    remarks: list[str] = field(default_factory=list)


def find_columns(
    name: str,
    sheet: Sheet,
    reading: Reading,
    count_files: Callable[[Sequence[str]], int],
    *,
    by_cells: bool = True,
    labelled: bool = True,
) -> Columns:
    """The columns of a table that are used.

    Args:
        name: what messages call the table.
        sheet: its cells.
        reading: what the user says of its columns.
        count_files: how many of some cells name files that are there.
        by_cells: whether a column may be that of the labels by its cells alone.
        labelled: whether a column of labels is needed.

    Raises:
        UserError: one that is needed is not there, or two could be meant.
    """
    search = _Search(name, sheet, reading, count_files)
    path = search.path()
    split, yes_split = search.split()
    group, weight = search.group(), search.weight()
    label, one_hot = search.label(by_cells=by_cells) if labelled else (None, ())
    if group is None:
        search.propose_groups()
    return Columns(path, label, split, group, weight, one_hot, yes_split, search.remarks)


class _Search:
    """The search for the columns of one table; `find_columns` has its arguments.

    What was found is not found again for another purpose, so the order of the calls counts.
    """

    def __init__(
        self,
        name: str,
        sheet: Sheet,
        reading: Reading,
        count_files: Callable[[Sequence[str]], int],
    ) -> None:
        self.remarks: list[str] = []
        self._name, self._sheet, self._reading = name, sheet, reading
        self._count_files = count_files
        self._used: set[Any] = set()

    def path(self) -> Any:
        """The column of the images' paths."""
        if "path" in self._reading.columns:
            return self._use(self._chosen("path"))
        found = self._called(PATH_NAMES)
        if len(found) == 1:
            return self._use(found[0])
        if found:
            return self._use(self._of_files(found) or self._only("path", found))
        weak = sorted(
            self._called(WEAK_PATH_NAMES), key=lambda name: WEAK_PATH_NAMES.index(plain(name))
        )
        # The number of a row is called id too, so the cells are asked first.
        best = self._of_files(self._sheet.names)
        if best is not None and best not in weak and self._sheet.has_header:
            self.remarks.append(f"The paths of the images are taken from column {best!r}.")
        if best is None and not weak:
            raise self._missing("path")
        return self._use(weak[0] if best is None else best)

    def label(self, *, by_cells: bool) -> tuple[Any, tuple[Any, ...]]:
        """The column of labels, or the columns that are one class each."""
        if "label" in self._reading.columns:
            return self._use(self._chosen("label")), ()
        if found := self._unused(self._called(LABEL_NAMES)):
            return self._use(self._readable(found)), ()
        if one_hot := self._one_hot():
            return None, one_hot
        if found := self._unused(self._called(WEAK_LABEL_NAMES)):
            return self._use(self._readable(found)), ()
        if not by_cells:
            raise self._missing("label")
        return self._use(self._repeating()), ()

    def split(self) -> tuple[Any, str]:
        """The column of splits, and the split of a yes where it holds yes and no."""
        if "split" in self._reading.columns:
            return self._use(self._chosen("split")), ""
        named = self._unused(self._called(SPLIT_COLUMNS))
        if holding := [name for name in named if self._splits_in(name)]:
            return self._use(self._only("split", holding)), ""
        for name in named:
            values = sorted(distinct(self._sheet.cells(name)))
            if values:
                self.remarks.append(
                    f"Column {name!r} holds no names of splits, but {listed(values, 3)}, and is not"
                    " used as splits."
                )
            self._used.add(name)
        for name in self._unused(self._called(YES_NO_SPLITS)):
            if are_yes_or_no(self._sheet.cells(name)):
                return self._use(name), YES_NO_SPLITS[plain(name)]
        by_content = [
            name
            for name in self._free()
            if plain(name) not in LABEL_NAMES | WEAK_LABEL_NAMES
            and len(self._splits_in(name)) > 1
            and self._splits_in(name) == distinct(self._sheet.cells(name))
        ]
        if len(by_content) != 1:
            return None, ""
        self.remarks.append(f"The splits are taken from column {by_content[0]!r}.")
        return self._use(by_content[0]), ""

    def group(self) -> Any:
        """The column of groups."""
        if self._reading.group_column is not None:
            return self._named(self._reading.group_column, "to group by", "--group-by column:NAME")
        if "group" in self._reading.columns:
            return self._use(self._chosen("group"))
        found = self._unused(self._called(GROUP_NAMES))
        return self._use(self._only("group", found)) if found else None

    def weight(self) -> Any:
        """The column of weights."""
        if self._reading.weight_column is None:
            return None
        setting = "--set training.weight_column=NAME"
        return self._use(self._named(self._reading.weight_column, "of weights", setting))

    def propose_groups(self) -> None:
        """A remark on a column whose equal cells may belong together."""
        for name in self._unused(self._called(GROUP_LIKE_NAMES)):
            values = len(distinct(self._sheet.cells(name)))
            if 1 < values < self._sheet.count:
                self.remarks.append(
                    f"Column {name!r} has {values:,} values for"
                    f" {count_of(self._sheet.count, 'row')}. If the images of one"
                    f" {name} must stay in one split, add --group-by column:{_quoted(name)}."
                )
                return

    def _use(self, name: Any) -> Any:
        self._used.add(name)
        return name

    def _unused(self, names: Sequence[Any]) -> list[Any]:
        return [name for name in names if name not in self._used]

    def _called(self, among: Collection[str]) -> list[Any]:
        found = [name for name in self._sheet.names if plain(name) in among]
        if len(found) < 2:
            return found
        # A column without any cell is a leftover beside another one.
        filled = [name for name in found if distinct(self._sheet.cells(name))]
        return filled or found

    def _free(self) -> list[Any]:
        """The columns that were not used and may be labels: no numbers of rows, nor groups."""
        return [
            name
            for name in self._unused(self._sheet.names)
            if plain(name) not in GROUP_LIKE_NAMES and not plain(name).startswith("unnamed")
        ]

    def _splits_in(self, name: Any) -> set[str]:
        """The cells that name splits."""
        return {text for text in distinct(self._sheet.cells(name)) if split_named(text)}

    def _of_files(self, among: Sequence[Any]) -> Any:
        """The column most of whose cells are files, or look like them. None means that there is
        none, or that two do.
        """
        scores: dict[Any, tuple[int, int]] = {}
        for name in among:
            sample = [text_or_empty(cell) for cell in evenly(self._sheet.cells(name), _SAMPLE)]
            there = self._count_files(sample)
            looking = sum(map(looks_like_an_image, sample))
            if max(there, looking) * 2 > len(sample):
                scores[name] = (there, looking)
        best = [name for name, score in scores.items() if score == max(scores.values())]
        return best[0] if len(best) == 1 else None

    def _readable(self, found: Sequence[Any]) -> Any:
        """The column of labels. Of two that say the same it is the one in words."""
        if len(found) == 1:
            return found[0]
        columns = [list(map(text_or_empty, self._sheet.cells(name))) for name in found]
        for column in columns[1:]:
            pairs = set(zip(columns[0], column, strict=True))
            if not len(pairs) == len(set(columns[0])) == len(set(column)):
                return self._only("label", found)
        in_words = [
            name
            for name, column in zip(found, columns, strict=True)
            if not all(map(is_number, set(column)))
        ]
        chosen = (in_words or found)[0]
        other = next(name for name in found if name != chosen)
        self.remarks.append(
            f"The columns {listed(found)} say the same. The labels are taken from {chosen!r}. For"
            f" the other, add --columns label={_quoted(other)}."
        )
        return chosen

    def _one_hot(self) -> tuple[Any, ...]:
        """The columns of yes and no that hold one yes in most rows. () means that there are none.

        Raises:
            UserError: many rows hold several, and there is no other column for the label.
        """
        found = [name for name in self._free() if are_yes_or_no(self._sheet.cells(name))]
        if len(found) < 2:
            return ()
        counts = [0] * self._sheet.count
        for name in found:
            answers = map(yes_or_no, self._sheet.cells(name))
            counts = [count + bool(yes) for count, yes in zip(counts, answers, strict=True)]
        if counts.count(1) * 2 > len(counts):
            return tuple(found)
        several = sum(count > 1 for count in counts)
        if several and not self._called(WEAK_LABEL_NAMES) and len(found) > 2:
            raise UserError(
                f"{self._name} has {count_of(len(found), 'column')} of yes and no, and"
                f" {count_of(several, 'row')} with more than one yes.",
                "Each image needs one class: keep the rows with one yes, or write the class that"
                " counts into a column 'label'.",
            )
        return ()

    def _repeating(self) -> Any:
        """The one column whose cells repeat as labels do."""
        counts = {name: len(distinct(self._sheet.cells(name))) for name in self._free()}
        found = [name for name, count in counts.items() if 1 < count <= self._sheet.count / 2]
        in_words = [name for name in found if not all(map(is_number, self._sheet.cells(name)))]
        chosen = in_words or found
        if len(chosen) != 1:
            raise self._missing("label")
        if not self._sheet.has_header:
            self.remarks.append(
                f"{self._name} has no header. Its {chosen[0]} is taken as that of the labels, with"
                f" {count_of(counts[chosen[0]], 'class', 'classes')}."
            )
            return chosen[0]
        self.remarks.append(
            f"The labels are taken from column {chosen[0]!r}, which has"
            f" {count_of(counts[chosen[0]], 'value')}. For another, add --columns label=NAME."
        )
        return chosen[0]

    def _only(self, want: str, found: Sequence[Any]) -> Any:
        if len(found) == 1:
            return found[0]
        raise UserError(
            f"{self._name} has {len(found)} columns for {want}: {self._examples(found)}.",
            f"Say which one counts: --columns {want}={_quoted(found[0])}, or keep only that one.",
        )

    def _missing(self, want: str) -> UserError:
        settings = {"path": "path=NAME,label=NAME", "label": "label=NAME"}[want]
        return UserError(
            f"{self._name} has no column for {want}; its columns are"
            f" {self._examples(self._sheet.names)}.",
            f"Say which one it is: --columns {settings}, or name it {want!r} in the table."
            + " For labels that are in the paths, add --label-by folder." * (want == "label"),
        )

    def _chosen(self, want: str) -> Any:
        return self._named(self._reading.columns[want], f"for {want}", f"--columns {want}=NAME")

    def _named(self, wanted: str, purpose: str, setting: str) -> Any:
        """The column that the user named: as it is written, else in any case."""
        if wanted in self._sheet.names:
            return wanted
        same = [name for name in self._sheet.names if text_or_empty(name) == wanted.strip()]
        found = same or (self._called([plain(wanted)]) if plain(wanted) else [])
        if len(found) > 1:
            raise UserError(
                f"{self._name} has {len(found)} columns for {wanted}: {', '.join(map(str, found))}.",
                "Write the name exactly as the table does.",
            )
        if not found:
            names = ", ".join(map(str, self._sheet.names))
            raise UserError(
                f"{self._name} has no column {wanted!r} {purpose}; its columns are {names}.",
                f"Name one of them: {setting}.",
            )
        return found[0]

    def _examples(self, names: Sequence[Any]) -> str:
        """Columns with the first two different cells of each."""
        texts = []
        for name in names[:_MOST_LISTED]:
            cells = dict.fromkeys(map(text_or_empty, self._sheet.cells(name)[:_SAMPLE]))
            shown = [repr(_shortened(cell)) for cell in cells if cell][:2]
            texts.append(f"{name} ({', '.join(shown) or 'empty'})")
        if len(names) > _MOST_LISTED:
            texts.append(f"{len(names) - _MOST_LISTED} more")
        return ", ".join(texts)


def _shortened(cell: str) -> str:
    return cell if len(cell) <= 40 else f"{cell[:20]}…{cell[-19:]}"


def _quoted(name: object) -> str:
    """The name of a column as a shell takes it."""
    text = str(name)
    return text if text.replace("_", "").replace("-", "").isalnum() else f"'{text}'"
