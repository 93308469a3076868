"""The words of the pages: numbers as text, the verdict of a report, and what weakens it."""

from __future__ import annotations

import math
import time
import unicodedata
from collections.abc import Mapping, Sequence

import numpy as np

from tellapart.catalog.table import Catalog
from tellapart.evaluation.calibration_check import CalibrationCheck
from tellapart.evaluation.left_out import LeftOut
from tellapart.evaluation.metrics import TRUSTED_COUNT, Metrics, Score
from tellapart.evaluation.predictions import Predictions
from tellapart.evaluation.threshold import CERTAINTY, Threshold
from tellapart.phrases import count_of, in_groups

# Below so many test images, groups counted once, one moves the score by more than a percent.
SMALL_TEST = 100

# Metric → title and meaning.
METRICS: Mapping[str, tuple[str, str]] = {
    "accuracy": ("accuracy", "share of correct predictions"),
    "balanced_accuracy": ("balanced accuracy", "mean recall of the classes"),
    "macro_f1": ("macro F1", "mean F1 of the classes"),
    "top5_accuracy": ("top 5", "label among the five likeliest"),
    "log_loss": ("log loss", "penalises confident errors; 0 is best"),
    "brier": ("Brier score", "squared error of the probabilities, 0 to 2; 0 is best"),
    "ece": ("calibration error", "gap between confidence and accuracy; 0 is best"),
}

# Overrides reverse the text around them ("gpj.exe" reads as "exe.jpg"). Isolates and marks do no
# harm inside <bdi>.
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
    """A fraction as a percentage. It rounds to 0 or 100 only what is exactly 0 or 1.

    >>> percent(0.9917), percent(0.5), percent(0.99999), percent(1), percent(float("nan"))
    ('99.2\u202f%', '50.0\u202f%', '99.9\u202f%', '100.0\u202f%', '–')
    """
    if not math.isfinite(value):
        return "–"
    least = 10.0**-digits
    shown = round(100 * value, digits)
    if 0 < value < 1:
        shown = min(max(shown, least), 100 - least)
    return f"{shown:.{digits}f}\u202f%"


def interval(score: Score) -> str:
    """The 95 % interval of a fraction.

    >>> interval(Score(0.9, 0.85, 0.94, 100))
    '85.0 to 94.0\u202f%'
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
    metrics: Metrics | None,
    majority: str,
    val: Predictions | None,
    leaks: bool = False,
    out_of_fold: Predictions | None = None,
) -> str:
    """The whole report in one sentence or two.

    Args:
        metrics: the scores on the test split, or None.
        majority: the largest class of train, which the baseline always answers.
        val: the predictions that stand in where there is no test split, or None.
        leaks: whether test images were trained on. They are then not called unseen.
        out_of_fold: predictions for train images by heads that were not fitted on them, or None.
            They stand in better than val.
    """
    if metrics is None:
        return _untested_verdict(val, out_of_fold)
    accuracy = metrics.accuracy
    tested = in_groups(accuracy.count, accuracy.clusters, "test image")
    unseen = " it has never seen," if accuracy.count == accuracy.clusters else ", none seen before,"
    start = f"On {tested}," if leaks else f"On {tested}{unseen}"
    correct = f"{percent(metrics.accuracy.value)} of the time"
    baseline = f"; {always}" if (always := baseline_line(metrics, majority)) else ""
    if metrics.balanced_first:
        return (
            f"{start} the model has a balanced accuracy of"
            f" {percent(metrics.balanced_accuracy.value)}"
            f" ({interval_in_words(metrics.balanced_accuracy)}). The classes are uneven, so this"
            f" score counts every class equally. Over all images it is correct {correct}{baseline}."
        )
    interval_text = interval_in_words(metrics.accuracy)
    return f"{start} the model is correct {correct} ({interval_text}){baseline}."


def _untested_verdict(val: Predictions | None, out_of_fold: Predictions | None) -> str:
    if out_of_fold is not None and len(out_of_fold):
        return (
            f"There is no test split. On {images_in_groups(out_of_fold)}, each predicted by a"
            " head that was not fitted on it, the model is correct"
            f" {percent(float(out_of_fold.correct.mean()))} of the time. The settings of the head"
            " were chosen on these images, so expect a little less."
        )
    if val is None or not len(val):
        return "No images were held out, so the accuracy on new images is not known."
    return (
        "There is no test split, so the accuracy on new images is not known. On the"
        f" {images_in_groups(val)} of the validation split it is correct"
        f" {percent(float(val.correct.mean()))} of the time. The model was chosen on these images,"
        " so expect less."
    )


def baseline_line(metrics: Metrics, majority: str) -> str:
    """What a constant answer scores, without a full stop; "" where the baseline is not known.

    The baseline is the largest class of train. Where another class is more frequent in the test
    split, that constant answer scores higher, and is given as well.
    """
    if metrics.majority_baseline is None:
        return ""
    value = percent(metrics.majority_baseline.value)
    name, share = best_constant(metrics)
    if share <= metrics.majority_baseline.value:
        return f"always answering ‘{majority}’ would be correct {value} of the time"
    return (
        f"always answering ‘{majority}’ would be correct {value} of the time, always ‘{name}’"
        f" {percent(share)}"
    )


def best_constant(metrics: Metrics) -> tuple[str, float]:
    """The most frequent class of the test split, and its share of the images."""
    largest = max(metrics.per_class, key=lambda scores: scores.count)
    return largest.name, largest.count / max(metrics.accuracy.count, 1)


def interval_in_words(score: Score) -> str:
    """The interval with its name, or why there is none."""
    known = math.isfinite(score.low) and math.isfinite(score.high)
    return f"95\u202f% interval {interval(score)}" if known else "too few images for an interval"


def images_in_groups(predictions: Predictions, noun: str = "image") -> str:
    """How many images were predicted, and how many groups they are where these differ.

    Args:
        predictions: predictions of any number of images.
        noun: the noun of one image.
    """
    return in_groups(len(predictions), predictions.num_clusters, noun)


def few_words(score: Score, noun: str) -> str:
    """The least that a class must have, in images, or in groups where images share some.

    >>> few_words(Score(0.9, 0.8, 1.0, 20), "image"), few_words(Score(0.9, 0.8, 1.0, 20, 5), "image")
    ('30 images', '30 groups of images')
    """
    least = f"{TRUSTED_COUNT} groups of" if score.clusters < score.count else f"{TRUSTED_COUNT}"
    return f"{least} {noun}s"


def caveats(
    catalog: Catalog,
    metrics: Metrics | None,
    majority: str,
    calibrated: bool,
    findings: Mapping[str, int],
    check: CalibrationCheck | None = None,
) -> list[str]:
    """What a reader should know before relying on the verdict, the most serious first.

    Args:
        catalog: the data, for the files that could not be used.
        metrics: the scores on the test split, or None.
        majority: the largest class of train.
        calibrated: whether there were images to calibrate with.
        findings: the number of findings of each kind.
        check: of the confidences on the test split, or None.
    """
    lines = [] if metrics is None else _score_caveats(metrics, majority)
    if calibrated and check is not None and not check.passed:
        lines.append(
            "The confidences do not match the accuracy on the test split:"
            f" {calibration_check_line(check)}"
        )
    if not calibrated:
        lines.append(
            "There is no validation split, so the probabilities are not calibrated and there is no"
            " threshold below which the model says “unsure”."
        )
    if leaks := findings.get("leak", 0):
        found = f"{leaks:,} images, or near copies of them, are"
        if leaks == 1:
            found = "One image, or a near copy of it, is"
        lines.append(f"{found} in more than one split, so the score may overstate the model.")
    if conflicts := findings.get("label_conflict", 0):
        found = f"{conflicts:,} images appear" if conflicts > 1 else "One image appears"
        lines.append(f"{found} in more than one class: at least one label of each is wrong.")
    if rejected := int(np.count_nonzero(~catalog.ok)):
        verb = "was" if rejected == 1 else "were"
        lines.append(
            f"{rejected:,} of {len(catalog):,} files {verb} not used. “The data” lists them with"
            " the reason."
        )
    return lines


def calibration_check_line(check: CalibrationCheck) -> str:
    """The calibration errors beside those that chance alone makes."""
    return (
        f"The calibration error is {decimal(check.ece)} in bins and {decimal(check.ks)} without bins."
        f" If every confidence were true, images like these would give at most"
        f" {decimal(check.ece_by_chance)} and {decimal(check.ks_by_chance)} in 19 of 20 tests."
    )


def _score_caveats(metrics: Metrics, majority: str) -> list[str]:
    """What weakens the score itself: the baseline, a small test split, small classes."""
    lines, clusters = [], metrics.accuracy.clusters
    baseline = metrics.majority_baseline
    if baseline is not None:
        name, share = best_constant(metrics)
        best, constant = max((baseline.value, majority), (share, name))
        if metrics.accuracy.low <= best:
            lines.append(
                "The interval reaches down to the baseline: these images do not show that the model"
                f" is better than always answering ‘{constant}’."
            )
    if clusters < SMALL_TEST:
        tested = in_groups(metrics.accuracy.count, clusters, "image")
        wanted = "images" if clusters == metrics.accuracy.count else "images of other groups"
        lines.append(
            f"The test split is small ({tested}), so the interval is wide. More test {wanted}"
            " narrow it."
        )
    if few := [scores.name for scores in metrics.per_class if not scores.trusted]:
        all_few = len(few) == len(metrics.per_class)
        have = "has" if all_few or len(few) == 1 else "have"
        classes = (
            "Every class" if all_few else f"{len(few):,} of {len(metrics.per_class):,} classes"
        )
        lines.append(
            f"{classes} {have} fewer than {few_words(metrics.accuracy, 'test image')}"
            f" ({named(few)}): treat the numbers of such a class as hints."
        )
    return lines


def all_clear_line(metrics: Metrics, calibrated_on: str) -> str:
    """What stands in place of caveats, where there are none.

    Args:
        metrics: the scores on the test split.
        calibrated_on: the images of the calibration, with their noun.
    """
    tested = in_groups(metrics.accuracy.count, metrics.accuracy.clusters, "test image")
    return (
        f"No warnings: {tested}, all files readable, calibrated on {calibrated_on}, and the"
        " confidences match the accuracy as far as chance allows."
    )


def calibration_line(
    val: Predictions | None, out_of_fold: Predictions | None, temperature: float
) -> str:
    """How the probabilities were calibrated."""
    sources = []
    if out_of_fold is not None and len(out_of_fold):
        sources.append(
            f"the out-of-fold predictions of {images_in_groups(out_of_fold, 'train image')}"
        )
    if val is not None and len(val):
        sources.append(f"{images_in_groups(val)} of the validation split")
    if not sources:
        return "The probabilities are not calibrated: there was no validation split."
    return f"Calibrated on {' and '.join(sources)}, temperature {temperature:.3g}."


def abstention_line(
    threshold: Threshold | None, has_costs: bool, num_classes: int, unfamiliar: bool
) -> str:
    """What the curve of abstention shows, and where the model stands on it.

    Args:
        threshold: from which confidence on the model answers, or None.
        has_costs: whether costs of mistakes decide instead.
        num_classes: the number of classes.
        unfamiliar: whether the model says "unfamiliar" too.
    """
    curve = (
        "Moving left, the model abstains on more low-confidence images, and the rest of its"
        " predictions get more accurate."
    )
    if has_costs:
        return f"{curve} The model answers where that costs less than giving no answer."
    if threshold is None:
        return f"{curve} No threshold was chosen, so the model never abstains."
    if num_classes * threshold.confidence <= 1:  # the likeliest of C classes always has 1 / C
        below = "No prediction can fall below it, so the model never says “unsure”."
    else:
        below = "Below it the model says “unsure”."
    strange = " To images unlike its training images it says “unfamiliar”." if unfamiliar else ""
    dot = f"The dot is the shipped threshold, {percent(threshold.confidence)}."
    return f"{curve} {dot} {below}{strange} {promise_line(threshold)}"


def familiar_line(asked: float, promised: float) -> str:
    """How often a new image of the same kinds is called unfamiliar.

    Args:
        asked: the chance that it counts as familiar, as the recipe has it.
        promised: the chance that the held-out images can promise.

    >>> familiar_line(0.99, 30 / 31).split(". ")[1].split(",")[0]
    'Fewer than 99 images or groups were held out'
    """
    line = (
        "A new image of the same kinds is called “unfamiliar” with a chance of at most"
        f" {percent(1 - promised)}."
    )
    if promised >= asked - 1e-9:
        return line
    if asked == 1:
        return f"{line} No number of images can promise 0 %."
    needed = math.ceil(asked / (1 - asked) - 1e-6)
    return (
        f"{line} Fewer than {needed:,} images or groups were held out, too few to promise"
        f" {percent(1 - asked)}."
    )


def left_out_line(left_out: LeftOut) -> str:
    """How well the model would notice a class that it was never shown.

    >>> left_out_line(LeftOut({"cat": 0.9, "dog": 0.7}, True)).split(". ")[-1]
    'With two classes one is left to know, so the embedding alone was measured.'
    """
    worst, best = left_out.worst, left_out.best
    chances = left_out.by_class
    if len(chances) > 1:
        spread = f"from {percent(chances[worst], 0)} for ‘{worst}’ to {percent(chances[best], 0)} for ‘{best}’"
    else:
        spread = f"measured for ‘{worst}’ alone"
    alone = (
        " With two classes one is left to know, so the embedding alone was measured."
        if left_out.by_residual
        else ""
    )
    return (
        "Each class was left out once, and a probe of the others was asked. An image of the class"
        f" looked less familiar than one of the others with a chance of {percent(left_out.mean, 0)},"
        f" {spread}. 50 % is chance, 100 % is always.{alone}"
    )


def promise_line(threshold: Threshold) -> str:
    """What the threshold promises, or what it would take to promise it.

    >>> promise_line(Threshold(0.5, 0.95, False, 40, 0.0, 59)).split(".")[0]
    'No accuracy is promised'
    """
    target = percent(threshold.target, 0)
    errors = count_of(math.ceil(threshold.errors - 1e-9), "error")
    if threshold.promised:
        return (
            f"With {percent(CERTAINTY, 0)} certainty, at least {target} of the answers on new images"
            f" like these are correct: {threshold.answered:,} images or groups that the model was"
            f" not fitted on were answered, with {errors}."
        )
    start = f"No accuracy is promised. The threshold is a confidence of its own, {target}."
    if threshold.needed is None:
        return (
            f"{start} At no confidence do these answers reach an accuracy of {target}, so more images"
            " alone would not prove it."
        )
    return (
        f"{start} To prove that {target} of the answers are correct, it would take about"
        f" {threshold.needed:,} images or groups like these to calibrate with."
    )


def metric_title(name: str) -> str:
    """The title of a metric at the start of a line.

    >>> metric_title("macro_f1"), metric_title("brier")
    ('Macro F1', 'Brier score')
    """
    title = METRICS[name][0]
    return title[0].upper() + title[1:]


def decimal(value: float) -> str:
    """A score that is no percentage.

    >>> decimal(0.04712), decimal(float("nan"))
    ('0.047', '–')
    """
    return f"{value:.3f}" if math.isfinite(value) else "–"
