"""Whether the labels of a table can be classes, and what they are called then.

1.0, 0.0              the classes "0" and "1"
nan, null             no label
20.37, 20.74, ...     a measurement, which is refused
scab, rust, scab|rust a combination of two others, which is told or refused
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from tellapart.errors import UserError
from tellapart.phrases import count_of, listed
from tellapart.sources.tables.cells import is_number

# Other programs write these for a cell without content. No class is called so.
_NOTHING = frozenset({"nan", "null", "<na>", "#n/a", "nat", "#value!", "#ref!"})
# These may stand for nothing, but may be classes too.
_PERHAPS_NOTHING = frozenset({"na", "n/a", "none", "nil", "?", "-"})

_MOST_LEFT_OUT = 0.1  # the share of rows without a label that may be left out
_FEWEST_JUDGED = 10  # labels below which nothing is said of how many differ
_MOST_DIFFERENT = 0.8  # the share of labels of their own from which there are no classes
_JOINS = re.compile(r"\s*[|;,]\s*")


def is_none(text: str) -> bool:
    """Whether a label is empty, or what another program writes for none.

    >>> is_none("NaN"), is_none("none")
    (True, False)
    """
    return not text or text.lower() in _NOTHING


def few_missing(name: str, rows: Sequence[str], texts: Sequence[str]) -> list[str]:
    """A remark on the rows without a label, which are left out. [] means that all have one.

    Args:
        name: what messages call the table.
        rows: what messages call each of its rows without a label.
        texts: the labels of all rows.

    Raises:
        UserError: they are too many to be an oversight.
    """
    missing = len(rows)
    if not missing:
        return []
    words = sorted({text for text in texts if text and is_none(text)})
    reading = f" ({listed(words)} counts as none)" if words else ""
    if missing > _MOST_LEFT_OUT * len(texts):
        many = f", and so it is in {missing:,} of {len(texts):,} rows" if missing > 1 else ""
        raise UserError(
            f"{rows[0]}: label is missing{many}{reading}.", "Fill it in, or take the row out."
        )
    return [
        f"{count_of(missing, 'row')} of {name} without a label"
        f" {'is' if missing == 1 else 'are'} left out{reading}, the first being {rows[0]}."
    ]


def whole_numbers(labels: Sequence[str]) -> list[str]:
    """Labels without ".0", if all of them are whole numbers.

    >>> whole_numbers(["1.0", "0"]), whole_numbers(["1.0", "0.5"]), whole_numbers(["007", "7"])
    (['1', '0'], ['1.0', '0.5'], ['007', '7'])
    """
    if not any("." in label for label in set(labels)):
        return list(labels)
    names = {label: re.fullmatch(r"([+-]?[0-9]+)(\.0*)?", label) for label in set(labels)}
    if not all(names.values()):
        return list(labels)
    return [match[1] for label in labels if (match := names[label])]


def class_names(labels: Iterable[str]) -> list[str]:
    """The classes of some labels: numbers in their order, else by name.

    >>> class_names(["10", "9", "10"]), class_names(["b", "10", "9"])
    (['9', '10'], ['10', '9', 'b'])
    """
    found = sorted(set(labels))
    if all(re.fullmatch(r"[+-]?[0-9]{1,18}", label) for label in found):
        return sorted(found, key=int)
    return found


def check_labels(name: str, column: str | None, labels: Sequence[str]) -> list[str]:
    """Remarks on labels that are odd, but can be classes.

    Args:
        name: what messages call the table.
        column: the name of their column. None means that they are in no column.
        labels: one an image.

    Raises:
        UserError: they are measurements, identifiers, or most are combinations of others.
    """
    counts = Counter(labels)
    place = f"Column {column!r} of {name}" if column is not None else name
    _refuse_different(place, counts)
    return [*_combined(place, counts), *_perhaps_nothing(counts)]


def _refuse_different(place: str, counts: Counter[str]) -> None:
    """Refuse measurements, and labels nearly all of which differ."""
    total, different = counts.total(), len(counts)
    if different < _FEWEST_JUDGED:
        return
    numbers = all(map(is_number, counts))
    measured = numbers and not all(float(label).is_integer() for label in counts)
    if not measured and different <= _MOST_DIFFERENT * total:
        return
    kind = "a measurement" if numbers else "an identifier"
    raise UserError(
        f"{place} looks like {kind}, not like classes: {total:,} images have {different:,}"
        f" different labels, such as {listed(list(counts), 2)}.",
        "Give the classes, for a table by --columns label=NAME"
        + (", or put the numbers into ranges, one a class." if numbers else "."),
    )


def _combined(place: str, counts: Counter[str]) -> list[str]:
    """A remark on classes that are combinations of others."""
    combined = _combinations(counts)
    if not combined:
        return []
    images = sum(counts[label] for label in combined)
    text = (
        f"{place} has {count_of(len(counts), 'label')}, {len(combined):,} of which"
        f" {'combines' if len(combined) == 1 else 'combine'} others, such as {combined[0]!r}, on"
        f" {count_of(images, 'image')}"
    )
    if images * 2 > counts.total():
        raise UserError(
            f"{text} of {counts.total():,}.",
            "An image has one class here: keep the rows with one label, or write the label that"
            " counts.",
        )
    return [f"{text}. Each combination is a class of its own."]


def _combinations(counts: Counter[str]) -> list[str]:
    """The labels that consist of others: "cat|dog" where "cat" is a label or a part of another
    combination, "scab rust" where both are labels.
    """
    pieces = {label: _pieces(label) for label in counts}
    # How many labels a word is a part of. Alone it counts too.
    uses = Counter(piece for label in counts for piece in {*pieces[label], label})
    combined = [
        label
        for label in counts
        if pieces[label] and all(uses[piece] > 1 for piece in pieces[label])
    ]
    for label in counts:
        words = label.split()
        if len(words) > 1 and not pieces[label] and all(word in counts for word in words):
            combined.append(label)
    return combined


def _pieces(label: str) -> list[str]:
    """The parts of a label between separators. [] means that there is one only."""
    pieces = [piece.strip() for piece in _JOINS.split(label)]
    return pieces if len(pieces) > 1 and all(pieces) else []


def _perhaps_nothing(counts: Counter[str]) -> list[str]:
    return [
        f"The class {label!r} has {count_of(counts[label], 'image')}. If it means that the label is"
        " missing, empty these cells."
        for label in counts
        if label.lower() in _PERHAPS_NOTHING
    ]
