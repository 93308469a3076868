"""The differences between runs in words: which is better, by how much, and with what evidence."""

from __future__ import annotations

from collections.abc import Sequence

from tellapart.evaluation.comparison import p_in_words
from tellapart.evaluation.metrics import is_trusted
from tellapart.evaluation.paired import Difference, Pair, Paired
from tellapart.phrases import in_groups
from tellapart.report.parts.wording import METRICS, few_words, named, percent

# A test set that has 80 % power for this difference in accuracy is called large enough.
PLAIN_POINTS = 0.03


def verdicts(paired: Paired, split: str) -> list[str]:
    """Which run is better, by how much, and with what evidence. With more than two, the best run
    comes first, then every other run against the first.
    """
    if len(paired.pairs) == 1:
        return pair_verdict(paired.pairs[0], split)
    return [
        _best(paired),
        *(" ".join(pair_verdict(pair, split)) for pair in paired.pairs if not pair.places[0]),
    ]


def pair_verdict(pair: Pair, split: str) -> list[str]:
    """Two runs against each other, in sentences. They also say when the images are too few."""
    main, (a, b) = pair.main, pair.names
    metric, count, clusters = METRICS[main.name][0], main.difference.count, main.difference.clusters
    images = f"on the same {in_groups(count, clusters, f'{split} image')}"
    tested = in_groups(count, clusters, "image")
    if main.found and main.gain < 0:
        scores = f"{metric} {percent(main.first.value)} against {percent(main.second.value)}"
        return [f"{a} is better than {b}: {scores}, {_evidence(main, -1)}, {images}."]
    scores = f"{metric} {percent(main.second.value)} against {percent(main.first.value)}"
    scores = f"{scores}, {_evidence(main)}, {images}"
    if main.found:
        return [f"{b} is better than {a}: {scores}."]
    least = f"{100 * main.smallest_found:.1f} points or more"
    if main.smallest_found <= PLAIN_POINTS:
        return [
            f"No difference between {a} and {b} was found: {b} has {scores}.",
            f"With {tested}, the test has 80\u202f% power for differences of {least}.",
        ]
    lines = [
        f"The images are too few to tell {a} from {b}: {b} has {scores}.",
        f"With {tested}, the test has 80\u202f% power only for differences of {least}.",
    ]
    if main.images_needed < 100 * count:
        lines.append(f"A difference of the observed size takes about {_needed(main)} to confirm.")
    return lines


def difference_text(difference: Difference) -> str:
    """A difference with its interval: percentage points for shares, plain numbers for losses.

    >>> from tellapart.evaluation.metrics import Score
    >>> score, difference = Score(0.5, 0.4, 0.6, 9), Score(0.01, -0.02, 0.04, 9)
    >>> difference_text(Difference("ece", score, score, difference, 1.0, 1.0, "bootstrap", True))
    '+0.010 (−0.020 to +0.040)'
    """
    value, bounds = difference_words(difference)
    return f"{value} ({bounds})"


def difference_words(difference: Difference) -> tuple[str, str]:
    """The two parts of `difference_text`: the difference, and its interval."""
    scale, digits, unit = (1, 3, "") if difference.is_loss else (100, 1, " points")
    value, low, high = (
        f"{scale * number:+.{digits}f}".replace("-", "−")
        for number in (
            difference.difference.value,
            difference.difference.low,
            difference.difference.high,
        )
    )
    return f"{value}{unit}", f"{low} to {high}"


def weak_classes(paired: Paired) -> list[str]:
    """A warning that names the classes with few images. Empty if there are none."""
    few = [
        difference.name
        for difference in paired.pairs[0].classes
        if not is_trusted(difference.difference.clusters)
    ]
    if not few:
        return []
    has = "has" if len(few) == 1 else "have"
    return [
        f"{named(few)} {has} fewer than {few_words(paired.pairs[0].main.difference, 'image')}: treat"
        " the numbers of such a class as hints."
    ]


def sure(difference: Difference, pair: Pair) -> str:
    """The result of the test, in words."""
    if not difference.found:
        return f"no evidence of a difference, {_p(difference)}"
    return f"{pair.names[1] if difference.gain > 0 else pair.names[0]} is better, {_p(difference)}"


def _p(difference: Difference) -> str:
    """The p value. It says so where it is corrected, because the interval beside it never is."""
    corrected = " (Holm-corrected)" if difference.p != difference.p_alone else ""
    return f"{p_in_words(difference.p)}{corrected}"


def _best(paired: Paired) -> str:
    """The run with the highest score, the runs that it beats, and those that it may not beat."""
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
    metric = METRICS[main][0]
    lines = [f"{letters[place]} has the highest {metric}, {percent(scores[place])}."]
    if beaten:
        lines.append(f"It is better than {_and(beaten)}.")
    if near:
        lines.append(f"These images do not show that it is better than {_and(near)}.")
    return " ".join(lines)


def _evidence(difference: Difference, sign: int = 1) -> str:
    """The difference with its interval and p value. -1 turns it round: first less second."""
    low, value, high = sorted(
        100 * sign * number
        for number in (
            difference.difference.low,
            difference.difference.value,
            difference.difference.high,
        )
    )
    points = f"{value:+.1f} points (95\u202f% interval {low:+.1f} to {high:+.1f})".replace("-", "−")
    return f"{points}, {_p(difference)}"


def _and(letters: Sequence[str]) -> str:
    return " and ".join([", ".join(letters[:-1]), letters[-1]] if len(letters) > 1 else letters)


def _needed(difference: Difference) -> str:
    """How many images a difference of the observed size takes, and in how many groups."""
    score = difference.difference
    images = f"{_rounded(difference.images_needed)} images"
    if score.clusters == score.count:
        return images
    groups = difference.images_needed * score.clusters / score.count
    return f"{images} in {_rounded(groups)} groups"


def _rounded(count: float) -> str:
    """A count with two digits that mean something.

    >>> _rounded(12345.6)
    '12,000'
    """
    return f"{int(float(f'{count:.2g}')):,}"
