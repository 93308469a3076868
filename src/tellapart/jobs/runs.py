"""`runs`: which trainings there are, as their folders tell it. Needs no torch."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from os import PathLike
from pathlib import Path
from typing import Any

from tellapart.catalog.names import escape
from tellapart.errors import UserError, choose
from tellapart.evaluation.metrics import Score
from tellapart.home import user_path
from tellapart.progress import duration
from tellapart.runs.history import PastRun, differing_settings, past_runs
from tellapart.tables import check_table_name, write_table

# What a table of runs holds of each, and what kind of value that is.
COLUMNS: Mapping[str, type] = {
    "run": str,
    "recipe": str,
    "backbone": str,
    "state": str,
    "accuracy": float,
    "accuracy_low": float,
    "accuracy_high": float,
    "test_images": int,
    "val_accuracy": float,
    "val_accuracy_low": float,
    "val_accuracy_high": float,
    "val_images": int,
    "seconds": float,
    "splits": str,
    "seed": int,
    "date": str,
}
_BEST_FIRST = ("accuracy", "val_accuracy", "date")  # the largest value is what one looks for
_SHOWN_ALREADY = ("name", "backbone.name", "seed")  # recipe keys that are columns of their own
_FILTER = re.compile(r"\s*([\w.]+)\s*(<=|>=|!=|==?|<|>)\s*((?![<>=]).*?)\s*", re.DOTALL)
SHOWN_HASH = 8  # characters of a hash that the table shows, and that a filter takes for all of it
_TESTS: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
}


@dataclass(frozen=True)
class RunList:
    """The runs that were asked for.

    Args:
        folder: where they lie.
        runs: in the order that was asked for.
        settings: recipe keys in which they differ → the value of each run; empty where nobody
            asked.
        damaged: folders that cannot be read: name → why.
        left_out: runs that the filters leave out.
    """

    folder: Path
    runs: tuple[PastRun, ...]
    settings: Mapping[str, Sequence[Any]]
    damaged: Mapping[str, str]
    left_out: int

    @property
    def heads(self) -> list[str]:
        """The heads of a table for a person."""
        test, val = "test accuracy (95 %, images)", "val accuracy (95 %, images)"
        return [
            "run",
            "recipe",
            "backbone",
            "state",
            test,
            val,
            "time",
            "splits",
            "seed",
            "date",
            *self.settings,
        ]

    @property
    def essential(self) -> list[str]:
        """The heads of the columns that a narrow terminal shows."""
        unfinished = any(run.state != "finished" for run in self.runs)
        return ["run", "recipe", *["state"] * unfinished, self.heads[4], "time"]

    @property
    def cells(self) -> list[list[str]]:
        """That table: a row a run."""
        return [
            [*_cells(run), *(_text(values[place]) for values in self.settings.values())]
            for place, run in enumerate(self.runs)
        ]

    @property
    def lines(self) -> list[str]:
        """What the table does not say."""
        lines = [f"damaged: {name}: {why}" for name, why in self.damaged.items()]
        if self.left_out:
            lines.append(
                f"{self.left_out:,} more {'run does' if self.left_out == 1 else 'runs do'} not"
                " match."
            )
        if not (self.runs or self.left_out or self.damaged):
            lines.append(f"There are no runs in {self.folder}.")
        return lines

    def as_json(self) -> dict[str, Any]:
        """What `--json` prints."""
        return {
            "runs": [
                {
                    "run": escape(str(run.path)),
                    "recipe": run.recipe,
                    "backbone": run.backbone,
                    "state": run.state,
                    "test": {"accuracy": run.accuracy.as_json()} if run.accuracy else None,
                    "val": {"accuracy": run.val_accuracy.as_json()} if run.val_accuracy else None,
                    "seconds": run.seconds,
                    "splits": run.splits,
                    "seed": run.seed,
                    "date": run.date,
                    **(
                        {"settings": {key: of[place] for key, of in self.settings.items()}}
                        if self.settings
                        else {}
                    ),
                }
                for place, run in enumerate(self.runs)
            ],
            "damaged": [{"run": name, "problem": why} for name, why in self.damaged.items()],
        }


def list_runs(
    folder: str | PathLike[str] = "runs",
    *,
    sort: str | None = None,
    descending: bool | None = None,
    where: Sequence[str] = (),
    settings: bool = False,
    out: str | PathLike[str] | None = None,
) -> RunList:
    """The runs in a folder. What cannot be read is named and stops nothing.

    Of what `tune` made, the network that it found is listed; folds and trials inside runs stay
    there.

    Args:
        folder: the folder that holds runs, or a study's, for its trials.
        sort: a column of `COLUMNS` or a recipe key. Default: the date, the newest run first. Runs
            without a value come last.
        descending: the largest first. Default: true for accuracies and dates.
        where: only runs for which all of these hold: "recipe=finetune", "accuracy>0.9",
            "training.lr<=1e-3", "run=*photos*" (* for any text). A run without the value does not
            match.
        settings: add every recipe key in which the runs differ.
        out: a table to write too: .csv, .jsonl or .parquet.

    Raises:
        UserError: no such folder, an unknown column or key, or text that is no filter.

    >>> listed = tellapart.list_runs(run.path.parent, where=["recipe=probe"])
    >>> listed.runs[0].state
    'finished'
    """
    place = user_path(folder)
    if out:
        check_table_name(user_path(out))
    found, damaged = past_runs(place)
    known = {*COLUMNS, *(key for run in found for key in run.settings)}
    tests = [_filter(text, known if found else None) for text in where]
    kept = [run for run in found if all(test(run) for test in tests)]
    key = sort or "date"
    if found:
        choose("column", key, known)
    kept = _sorted(kept, key, key in _BEST_FIRST if descending is None else descending)
    differing = differing_settings([run.settings for run in kept]) if settings else {}
    differing = {key: values for key, values in differing.items() if key not in _SHOWN_ALREADY}
    listed = RunList(place, tuple(kept), differing, damaged, len(found) - len(kept))
    if out:
        write_table(user_path(out), _rows(listed), {**COLUMNS, **dict.fromkeys(differing, str)})
    return listed


def _filter(text: str, known: set[str] | None) -> Callable[[PastRun], bool]:
    """What says whether a run matches."""
    match = _FILTER.fullmatch(text)
    if match is None:
        raise UserError(
            f"{text!r} is no filter.", "Write one like recipe=finetune or 'accuracy>0.9'."
        )
    key, sign, wanted = match.groups()
    if known is not None:
        choose("column", key, known)
    if key == "splits" and len(wanted) == SHOWN_HASH:
        wanted += "*"
    number = _number(wanted)
    if number is None and sign in ("<", "<=", ">", ">=") and key != "date":
        raise UserError(
            f"{text!r} compares with what is no number.", f"Write one like '{key}{sign}0.9'."
        )

    def matches(run: PastRun) -> bool:
        value = _value(run, key)
        if value is None:
            return False
        if number is not None and isinstance(value, int | float) and not isinstance(value, bool):
            return _TESTS[sign](value, number)
        if sign in ("=", "==", "!="):
            return fnmatchcase(_text(value).lower(), wanted.lower()) == (sign != "!=")
        return isinstance(value, str) and _TESTS[sign](value, wanted)

    return matches


def _sorted(runs: Sequence[PastRun], key: str, descending: bool) -> list[PastRun]:
    known = [run for run in runs if _value(run, key) is not None]
    known.sort(key=lambda run: _order(_value(run, key)), reverse=descending)
    return known + [run for run in runs if _value(run, key) is None]


def _order(value: Any) -> tuple[int, float, str]:
    """Numbers before text: a key may hold either."""
    return (0, float(value), "") if isinstance(value, int | float) else (1, 0.0, _text(value))


def _value(run: PastRun, key: str) -> Any:
    """A column or a recipe key; None where the run has none."""
    return _row(run)[key] if key in COLUMNS else run.settings.get(key)


def _row(run: PastRun) -> dict[str, Any]:
    test, val = _bounds(run.accuracy), _bounds(run.val_accuracy)
    values = [
        run.name,
        run.recipe,
        run.backbone,
        run.state,
        *test,
        *val,
        run.seconds,
        run.splits,
        run.seed,
        run.date,
    ]
    return dict(zip(COLUMNS, values, strict=True))


def _bounds(score: Score | None) -> tuple[float | int | None, ...]:
    return (None,) * 4 if score is None else (score.value, score.low, score.high, score.count)


def _rows(listed: RunList) -> list[dict[str, Any]]:
    return [
        _row(run) | {key: _text(values[place]) for key, values in listed.settings.items()}
        for place, run in enumerate(listed.runs)
    ]


def _cells(run: PastRun) -> list[str]:
    scores = (
        "" if score is None else str(score).replace(" images", "")
        for score in (run.accuracy, run.val_accuracy)
    )
    seconds = "" if run.seconds is None else duration(run.seconds)
    seed = "" if run.seed is None else str(run.seed)
    recipe = (
        f"{run.recipe}, {run.settings['cv.folds']} folds"
        if "cv.folds" in run.settings
        else run.recipe
    )
    return [
        run.name,
        recipe,
        run.backbone,
        run.state,
        *scores,
        seconds,
        run.splits[:SHOWN_HASH],
        seed,
        run.date,
    ]


def _text(value: Any) -> str:
    """A setting as `--set` takes it; "" where a run has no such key."""
    if isinstance(value, list):
        return ",".join(map(_text, value))
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
