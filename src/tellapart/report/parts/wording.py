"""What the report says in words: numbers as text, the verdict, and what weakens it."""

from __future__ import annotations

import math
import time
import unicodedata
from collections.abc import Mapping, Sequence

import numpy as np

from tellapart.catalog.table import Catalog
from tellapart.evaluation.metrics import TRUSTED_COUNT, Metrics, Score
from tellapart.evaluation.predictions import Predictions

SMALL_TEST = 100  # below, one image moves the score by more than a percent

# Overrides reverse the text around them ("gpj.exe" reads as "exe.jpg"); isolates and marks are
# invariant inside <bdi>.
_OVERRIDES = frozenset("\u202a\u202b\u202c\u202d\u202e\u2028\u2029")


def visible(text: str) -> str:
    r"""The text with every character that would hide or reverse it written out.

    >>> print(visible("a\nb" + chr(0x202E) + "gpj.exe"))
    a\nb\u202egpj.exe
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        (
            character.encode("unicode_escape").decode()
            if character in _OVERRIDES or unicodedata.category(character) in ("Cc", "Cs")
            else character
        )
        for character in text
    )


def percent(value: float, digits: int = 1) -> str:
    """A fraction as a percentage that never rounds to a certainty it has not.

    >>> percent(0.9917), percent(0.5), percent(0.99999), percent(1), percent(float("nan"))
    ('99.2\u202f%', '50\u202f%', '99.9\u202f%', '100\u202f%', '–')
    """
    if not math.isfinite(value):
        return "–"
    least = 10.0**-digits
    shown = round(100 * value, digits)
    if 0 < value < 1:
        shown = min(max(shown, least), 100 - least)
    return f"{shown:.{digits}f}".removesuffix("." + "0" * digits) + "\u202f%"


def interval(score: Score) -> str:
    """The 95 % interval of a fraction.

    >>> interval(Score(0.9, 0.85, 0.94, 100))
    '85 to 94\u202f%'
    """
    low, high = percent(score.low), percent(score.high)
    return "–" if "–" in (low, high) else f"{low[:-2]} to {high}"


def number(value: str | int | float) -> str:
    """A fact as text: thousands separated, four significant digits.

    >>> number(16934912), number(0.123456), number("Apache-2.0")
    ('16,934,912', '0.1235', 'Apache-2.0')
    """
    if isinstance(value, str | bool):
        return str(value)
    return f"{value:,d}" if isinstance(value, int) else f"{value:,.4g}"


def timestamp() -> str:
    """The local date and time, as every page shows when it was made: "30 November 2026, 03:12"."""
    return time.strftime("%d %B %Y, %H:%M")


def images(count: int) -> str:
    """A count with its noun.

    >>> images(1), images(2000)
    ('1 image', '2,000 images')
    """
    return f"{count:,} image" + ("s" if count != 1 else "")


def named(names: Sequence[str], most: int = 3) -> str:
    """Some of the names, and how many more.

    >>> named(["ant", "bee", "cat", "dog"])
    '‘ant’, ‘bee’, ‘cat’ and 1 more'
    """
    shown = [f"‘{name}’" for name in names[:most]]
    if len(names) > most:
        return f"{', '.join(shown)} and {len(names) - most:,} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def verdict(
    metrics: Metrics | None, majority: str, val: Predictions | None, leaks: bool = False
) -> str:
    """The whole report in one sentence or two.

    Args:
        metrics: of the test split, or None.
        majority: the largest training class, which the baseline always answers.
        val: predictions that stand in where there is no test, or None.
        leaks: whether it was trained on some of the test images; then they are not called unseen.
    """
    if metrics is None:
        if val is None or not len(val):
            return (
                "Nothing was held out, so how often this model is right on new images is not known."
            )
        return (
            "There is no test split, so how often this model is right on new images is not known."
            f" On the {images(len(val))} it was chosen with, it is right"
            f" {percent(float(val.correct.mean()))} of the time; expect less."
        )
    right = f"it is right {percent(metrics.accuracy.value)} of the time"
    baseline = metrics.majority_baseline
    always = (
        ""
        if baseline is None
        else f"always answering ‘{majority}’ would be right {percent(baseline.value)}"
    )
    noun = "image" if metrics.accuracy.count == 1 else "images"
    seen = f"On {metrics.accuracy.count:,} test {noun}{'' if leaks else ' it has never seen'}, "
    if metrics.balanced_first:
        return (
            f"{seen}it recognises {percent(metrics.balanced_accuracy.value)} of a class on average"
            f" ({interval_in_words(metrics.balanced_accuracy)}). The classes are uneven, so this"
            " counts every class the same; over all images"
            f" {right}{', where ' + always if always else ''}."
        )
    return (
        f"{seen}{right} ({interval_in_words(metrics.accuracy)}){'; ' + always if always else ''}."
    )


def interval_in_words(score: Score) -> str:
    """The interval with its name, or why there is none."""
    known = math.isfinite(score.low) and math.isfinite(score.high)
    return f"95\u202f% interval {interval(score)}" if known else "too few images for an interval"


def caveats(
    catalog: Catalog,
    metrics: Metrics | None,
    majority: str,
    calibrated: bool,
    findings: Mapping[str, int],
) -> list[str]:
    """What a reader should know before relying on the verdict, the most serious first.

    Args:
        catalog: the data, for the files that could not be used.
        metrics: of the test split, or None.
        majority: the largest training class.
        calibrated: whether there was a val split to calibrate with.
        findings: kind of finding → how often.
    """
    said = []
    if metrics is not None:
        baseline = metrics.majority_baseline
        if baseline is not None and metrics.accuracy.low <= baseline.value:
            said.append(
                "The interval reaches down to the baseline: these images do not show that the"
                f" model is better than always answering ‘{majority}’."
            )
        if (count := metrics.accuracy.count) < SMALL_TEST:
            said.append(
                f"The test is small ({images(count)}), so the interval is wide. More test images"
                " narrow it."
            )
        if few := [one.name for one in metrics.per_class if not one.trusted]:
            some = (
                f"{len(few):,} of {len(metrics.per_class):,} classes"
                f" {'has' if len(few) == 1 else 'have'}"
            )
            who = "Every class has" if len(few) == len(metrics.per_class) else some
            said.append(
                f"{who} fewer than {TRUSTED_COUNT} test images ({named(few)}): the numbers of such"
                " a class alone are hints, not measurements."
            )
    if not calibrated:
        said.append(
            "There was no validation split, so the probabilities are not calibrated and there is no"
            " threshold below which the model says “I don’t know”."
        )
    if leaks := findings.get("leak", 0):
        one = (
            "One image, or a near copy of it, is"
            if leaks == 1
            else f"{leaks:,} images, or near copies, are"
        )
        said.append(f"{one} on both sides of a split, so the score may flatter the model.")
    if conflicts := findings.get("label_conflict", 0):
        one = "One image appears" if conflicts == 1 else f"{conflicts:,} images appear"
        said.append(f"{one} under more than one class; nobody can be right about both.")
    if rejected := int(np.count_nonzero(~catalog.ok)):
        verb = "was" if rejected == 1 else "were"
        said.append(
            f"{rejected:,} of {len(catalog):,} files {verb} not used; “The data” says which, and"
            " why."
        )
    return said


def calibration_line(val: Predictions | None, temperature: float) -> str:
    """How the probabilities were calibrated."""
    if val is None:
        return (
            "The probabilities are as the network gave them: there was no validation split to"
            " calibrate with."
        )
    return (
        f"Calibrated on {images(len(val))} of the validation split, temperature {temperature:.3g}."
    )


def abstention_line(threshold: float | None, unfamiliar: bool) -> str:
    """What the curve shows, and where the model stands on it."""
    curve = "The fewer doubtful images it answers (left), the more of its answers are right."
    if threshold is None:
        return f"{curve} No threshold was chosen, so it always answers."
    strange = ", and “unfamiliar” to what is unlike its training images" if unfamiliar else ""
    return (
        f"{curve} The dot is the model file: below {percent(threshold)} sure it says"
        f" “unsure”{strange}."
    )


def decimal(value: float) -> str:
    """A score that is no percentage.

    >>> decimal(0.04712), decimal(float("nan"))
    ('0.047', '–')
    """
    return f"{value:.3f}" if math.isfinite(value) else "–"
