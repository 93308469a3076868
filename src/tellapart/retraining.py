"""`review --retrain`: a run trained again with fixes, and what these gained on the same test images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np

from tellapart.catalog.fixes import read_fixes
from tellapart.catalog.names import escape
from tellapart.errors import UserError
from tellapart.evaluation.metrics import Score
from tellapart.evaluation.paired import Difference, aligned, compare_all
from tellapart.evaluation.predictions import Predictions
from tellapart.home import user_path
from tellapart.jobs.train import train
from tellapart.phrases import count_of
from tellapart.pipeline.run import Run
from tellapart.pipeline.run_images import source_of
from tellapart.runs.folder import FIXES
from tellapart.runs.history import past_run
from tellapart.sources.source import Source


@dataclass(frozen=True, kw_only=True)
class Retrained:
    """A run trained again with fixes, beside the run before.

    Args:
        before: the run without the fixes.
        after: the run with them.
        reported: the accuracy of the run before on its own test labels.
        on_all: both runs on all test images that are left, by the fixed labels.
        on_untouched: both runs on the test images whose labels nobody changed. None for fewer than
            two.
        relabelled: how many test images have another label now.
        dropped: how many test images were left out.
    """

    before: Run
    after: Run
    reported: Score
    on_all: Difference
    on_untouched: Difference | None
    relabelled: int
    dropped: int

    @property
    def lines(self) -> list[str]:
        """The facts for a terminal."""
        fixed = f"{count_of(self.relabelled, 'label')} changed and"
        lines = [
            f"before, on the labels as they were: accuracy {self.reported}",
            f"fixed in test: {fixed} {count_of(self.dropped, 'image')} left out",
            f"before, on the fixed labels: {self.on_all.name} {self.on_all.first}",
            f"after, on the fixed labels: {self.on_all.name} {self.on_all.second}",
            f"what the fixes gained: {_gain(self.on_all)}",
        ]
        if self.relabelled and self.on_untouched:
            lines.append(
                f"on the {self.on_untouched.difference.count:,} test images whose labels nobody"
                f" changed: {_gain(self.on_untouched)}"
            )
        return [*lines, f"run       {self.after.path}", f"report    {self.after.report}"]

    def as_json(self) -> dict[str, Any]:
        """The JSON object that `--json` prints."""
        return {
            "before": escape(str(self.before.path)),
            "run": escape(str(self.after.path)),
            "report": escape(str(self.after.report)),
            "reported": self.reported.as_json(),
            "fixed_in_test": {"relabelled": self.relabelled, "dropped": self.dropped},
            "all": {"metric": self.on_all.name, **self.on_all.as_json()},
            "untouched": self.on_untouched
            and {"metric": self.on_untouched.name, **self.on_untouched.as_json()},
        }


def retrain(
    run: str | PathLike[str],
    *,
    fixes: str | PathLike[str] | None = None,
    data: Source | None = None,
    out: str | PathLike[str] | None = None,
    quiet: bool = False,
) -> Retrained:
    """Train a run again with fixes, and compare both runs on the same test images.

    Recipe, seed and splits are those of the run, so that the fixes are all that differs.

    Args:
        run: the folder of a finished run.
        fixes: the patch. Default: the one that `review` wrote for the run.
        data: where the data of the training is. Default: where the run says it is.
        out: the folder that holds runs. Default: the one that the run lies in.
        quiet: print nothing.

    Raises:
        UserError: there is no such patch or run, it has no test images, or its data is not there.
    """
    before = Run.open(run)
    patch = before.path / "audit" / FIXES if fixes is None else user_path(fixes)
    read_fixes(patch)
    if "cv.folds" in past_run(before.path).settings:
        raise UserError(
            f"{before.path} is a cross-validation, which is not trained again.",
            f"Make another one: tellapart cv DATA --splits {before.path} --fixes {patch}",
        )
    source = source_of(before.path, data, "All of it is trained on again.")
    answers = before.predictions()
    if not len(answers):
        raise UserError(f"{before.path} has no test images.", "Nothing can show what fixes gain.")
    after = train(
        source,
        recipe=str(before.path / "recipe.yaml"),
        out=before.path.parent if out is None else out,
        splits=before.path,
        set={"data.fixes": str(patch.absolute())},
        quiet=quiet,
    )
    return _compared(before, after)


def _compared(before: Run, after: Run) -> Retrained:
    old, new = before.predictions(), after.predictions()
    rows = {path: row for row, path in enumerate(old.paths)}
    common = np.array([path in rows for path in new.paths], bool)
    new = new.rows(common)
    names = tuple(sorted({*old.classes, *new.classes}))
    second = _widened(new, names)
    kept = old.rows(np.array([rows[path] for path in new.paths], np.int64))
    first = _widened(kept, names)
    changed = first.labels != second.labels
    first = Predictions(
        first.probs,
        second.labels,
        first.paths,
        names,
        clusters=second.clusters,
        answers=first.answers,
    )
    if len(first) < 2:
        raise UserError("Fewer than two test images are left.", "Keep more of them.")
    untouched = np.flatnonzero(~changed)
    return Retrained(
        before=before,
        after=after,
        reported=before.metrics.accuracy,
        on_all=_difference(first, second),
        on_untouched=_difference(first.rows(untouched), second.rows(untouched))
        if len(untouched) > 1
        else None,
        relabelled=int(changed.sum()),
        dropped=len(old) - len(new),
    )


def _difference(first: Predictions, second: Predictions) -> Difference:
    (pair,) = compare_all([aligned(first, second), second], ("before", "after")).pairs
    return pair.main


def _widened(predictions: Predictions, names: Sequence[str]) -> Predictions:
    """The same predictions over more classes, to which the model gives nothing."""
    place = {name: column for column, name in enumerate(names)}
    columns = np.array([place[name] for name in predictions.classes], np.int64)
    probs = np.zeros((len(predictions), len(names)), np.float32)
    probs[:, columns] = predictions.probs
    return Predictions(
        probs,
        columns[predictions.labels],
        predictions.paths,
        tuple(names),
        clusters=predictions.clusters,
        answers=columns[predictions.answers],
    )


def _gain(found: Difference) -> str:
    score = found.difference
    value, low, high = (100 * share for share in (score.value, score.low, score.high))
    return (
        f"{value:+.1f} points of {found.name.replace('_', ' ')} (95 % interval {low:+.1f} to"
        f" {high:+.1f}, p {found.p:.2g})"
    )
