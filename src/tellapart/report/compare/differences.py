"""What is said of the differences between runs: which is better, by how much, and how sure that
is.
"""

from __future__ import annotations

from collections.abc import Sequence

from tellapart.evaluation.comparison import p_in_words
from tellapart.evaluation.metrics import is_trusted
from tellapart.evaluation.paired import Difference, Pair, Paired
from tellapart.report.parts.wording import named, percent

PLAIN_POINTS = (
    0.03  # a difference that a test set should be able to show; one that cannot is called too small
)

# What each metric is called, and what it is.
TITLES = {
    "accuracy": ("accuracy", "right answers"),
    "balanced_accuracy": ("balanced accuracy", "every class counts the same"),
    "macro_f1": ("macro F1", "recall and precision in one"),
    "top5_accuracy": ("top 5", "the label among five answers"),
    "log_loss": ("log loss", "surprise at the truth; 0 is best"),
    "brier": ("Brier score", "distance from the truth, 0 to 2; 0 is best"),
    "ece": ("calibration error", "gap between confidence and accuracy; 0 is best"),
}


def verdicts(paired: Paired, split: str) -> list[str]:
    """Which is better, by how much and how sure: of two a sentence or two; of more, the best
    first.
    """
    if len(paired.pairs) == 1:
        return pair_verdict(paired.pairs[0], split)
    return [
        _best(paired),
        *(" ".join(pair_verdict(pair, split)) for pair in paired.pairs if not pair.places[0]),
    ]


def pair_verdict(pair: Pair, split: str) -> list[str]:
    """What there is to say of two runs, a sentence each; plainly so where the images are too few to
    tell.
    """
    one, (a, b) = pair.main, pair.names
    metric, count = TITLES[one.name][0], one.difference.count
    scores = (
        f"{metric} {percent(one.second.value)} against {percent(one.first.value)}, {_between(one)}"
    )
    on = f"on the same {count:,} {split} images"
    if one.found:
        better, other = (b, a) if one.gain > 0 else (a, b)
        if one.gain < 0:
            scores = (
                f"{metric} {percent(one.first.value)} against {percent(one.second.value)},"
                f" {_between(one, -1)}"
            )
        return [f"{better} is better than {other}: {scores}, {on}."]
    least = f"about {100 * one.smallest_found:.1f} points"
    if one.smallest_found <= PLAIN_POINTS:
        return [
            f"No difference between {a} and {b} was found: {b} has {scores}, {on}.",
            f"A true difference of {least} would have been found 4 times of 5.",
        ]
    few = [
        f"The images are too few to tell {a} from {b}: {b} has {scores}, {on}.",
        f"So few find only a difference of {least} or more, 4 times of 5.",
    ]
    if one.images_needed < 100 * count:
        few.append(
            f"To be sure of a difference of this size takes about {_rounded(one.images_needed)}"
            " such images."
        )
    return few


def difference_text(one: Difference) -> str:
    """A difference with its interval, in points of a percent or as it is.

    >>> from tellapart.evaluation.metrics import Score
    >>> score, difference = Score(0.5, 0.4, 0.6, 9), Score(0.01, -0.02, 0.04, 9)
    >>> difference_text(Difference("ece", score, score, difference, 1.0, 1.0, "bootstrap", True))
    '+0.010 (−0.020 to +0.040)'
    """
    value, bounds = difference_words(one)
    return f"{value} ({bounds})"


def difference_words(one: Difference) -> tuple[str, str]:
    """A difference, and its interval: in points of a percent, or as they are for what is no
    percentage.
    """
    scale, digits, unit = (1, 3, "") if one.is_loss else (100, 1, " points")
    value, low, high = (
        f"{scale * number:+.{digits}f}".replace("-", "−")
        for number in (one.difference.value, one.difference.low, one.difference.high)
    )
    return f"{value}{unit}", f"{low} to {high}"


def weak_classes(paired: Paired) -> list[str]:
    """A warning of the classes whose numbers mean little; none where there are none."""
    few = [one.name for one in paired.pairs[0].classes if not is_trusted(one.difference.count)]
    if not few:
        return []
    has = "has" if len(few) == 1 else "have"
    return [
        f"{named(few)} {has} too few images: what is said of such a class alone is a hint, not a"
        " measurement."
    ]


def sure(one: Difference, pair: Pair) -> str:
    """What the test says, in words."""
    if not one.found:
        return f"could be chance, {p_in_words(one.p)}"
    return f"{pair.names[1] if one.gain > 0 else pair.names[0]} is better, {p_in_words(one.p)}"


def _best(paired: Paired) -> str:
    """The highest of several, which others it surely beats, and from which it cannot be told
    apart.
    """
    main = paired.pairs[0].main.name
    scores = [getattr(metrics, main).value for metrics in paired.metrics]
    place = max(range(len(scores)), key=scores.__getitem__)
    letters = [
        paired.pairs[0].names[0],
        *(pair.names[1] for pair in paired.pairs if not pair.places[0]),
    ]
    beaten: list[str] = []
    near: list[str] = []
    for pair in paired.pairs:
        if place in pair.places:
            other = letters[pair.places[0] if pair.places[1] == place else pair.places[1]]
            (beaten if pair.main.found else near).append(other)
    metric = TITLES[main][0]
    said = [f"{letters[place]} has the highest {metric}, {percent(scores[place])}."]
    if beaten:
        said.append(f"It is better than {_and(beaten)}.")
    if near:
        said.append(f"That it is better than {_and(near)} these images do not show.")
    return " ".join(said)


def _between(one: Difference, sign: int = 1) -> str:
    low, value, high = sorted(
        100 * sign * number
        for number in (one.difference.low, one.difference.value, one.difference.high)
    )
    points = f"{value:+.1f} points (95\u202f% interval {low:+.1f} to {high:+.1f})".replace("-", "−")
    return f"{points}, {p_in_words(one.p)}"


def _and(letters: Sequence[str]) -> str:
    return " and ".join([", ".join(letters[:-1]), letters[-1]] if len(letters) > 1 else letters)


def _rounded(count: float) -> str:
    """A count with two digits that mean something.

    >>> _rounded(12345.6)
    '12,000'
    """
    return f"{int(float(f'{count:.2g}')):,}"
