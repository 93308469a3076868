"""What has been run: run folders, finished or not, read into rows. Needs neither torch nor the
model files.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from tellapart.catalog.names import escape
from tellapart.errors import Refused, UserError, needs_extra
from tellapart.evaluation.metrics import Score, proportion
from tellapart.recipe import flat_items
from tellapart.runs.folder import PART, RunFolder

Row = Mapping[str, float]
State = Literal["finished", "resumable", "unfinished"]

MARKS = ("recipe.yaml", "run.json", "metrics.json")  # any of these makes a folder a run's
STUDY = "study.json"  # makes a folder a search's, whose last run lies in its folder BEST
BEST = "best"
_STAMP = re.compile(r"\d{8}-\d{6}")


@dataclass(frozen=True, kw_only=True)
class PastRun:
    """One run, as its folder tells of it.

    Args:
        path: the folder.
        name: of the folder, from where it was looked for, escaped.
        recipe, backbone, seed: as the recipe has them; "" and None where it does not say.
        state: finished; resumable, which `train --resume` goes on with; or unfinished and to be
            trained anew.
        accuracy: of the test split; None where nothing was tested.
        val_accuracy: of the val split, which the run was chosen with; None without one.
        seconds: the whole training; None while it is unfinished.
        splits: the hash of its splits; "" where it is not known.
        date: when it began, "2026-11-22 05:40:47".
        settings: every key of the recipe, dotted, in its order; of a cross-validation also
            cv.folds, cv.repeats and cv.model, "refit" or "ensemble".
    """

    path: Path
    name: str
    recipe: str
    backbone: str
    seed: int | None
    state: State
    accuracy: Score | None
    val_accuracy: Score | None
    seconds: float | None
    splits: str
    date: str
    settings: Mapping[str, Any] = field(default_factory=dict)


def past_runs(folder: Path) -> tuple[list[PastRun], dict[str, str]]:
    """The runs that lie in a folder, by name, and what cannot be read: name → why.

    Of a search its last run is listed, as SEARCH/best/RUN. What else lies in runs is not.

    Args:
        folder: that holds runs, or a run itself; or a search, for all its trials.

    Raises:
        UserError: no such folder.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder.", "Name the folder that holds the runs.")
    runs, damaged = [], {}
    for name, path in _run_folders(folder).items():
        try:
            runs.append(replace(past_run(path), name=escape(name)))
        except UserError as error:
            damaged[escape(name)] = error.message
    return runs, damaged


def _run_folders(folder: Path) -> dict[str, Path]:
    """By name: their path within the folder."""
    if _is_run(folder):
        return {folder.resolve().name: folder}
    if (folder / STUDY).is_file():
        places = [*folder.glob("*/*")]
    else:
        studies = [about.parent for about in folder.glob(f"*/{STUDY}")]
        places = [*folder.iterdir(), *(run for study in studies for run in study.glob(f"{BEST}/*"))]
    return {path.relative_to(folder).as_posix(): path for path in sorted(places) if _is_run(path)}


def past_run(path: Path) -> PastRun:
    """One run.

    Raises:
        UserError: it is no run folder.
        Refused: a file of it is gone or damaged.
    """
    if not _is_run(path):
        best = next(path.glob(f"{BEST}/*"), None) if (path / STUDY).is_file() else None
        hint = (
            f"Its last run is {best}."
            if best
            else "Give the folder of a run, for example runs/20261121-101500-x."
        )
        raise UserError(f"{path} is no run folder.", hint)
    run = RunFolder(path)
    metrics, settings = run.read_json("metrics.json") if run.finished else {}, read_settings(path)
    try:
        settings |= _cross_validation(metrics)
        seed = metrics.get("seed", settings.get("seed"))
        return PastRun(
            path=path,
            name=escape(path.resolve().name),
            recipe=str(settings.get("name", "")),
            backbone=str(settings.get("backbone.name", "")),
            seed=seed if isinstance(seed, int) else None,
            state=(
                "finished" if run.finished else "resumable" if run.has("run.json") else "unfinished"
            ),
            accuracy=_score(metrics.get("test")),
            val_accuracy=_val_accuracy(run),
            seconds=(
                None
                if (seconds := metrics.get("seconds", {}).get("all")) is None
                else float(seconds)
            ),
            splits=str(metrics.get("splits", {}).get("hash", "")),
            date=_date(path),
            settings=settings,
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        raise Refused(
            f"{path / 'metrics.json'} is gone or damaged.", "Put a good copy there."
        ) from None


def _cross_validation(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """What a finished cross-validation was asked for, dotted as a recipe's keys; nothing for a
    plain training.
    """
    folds = metrics.get("folds")
    if not folds:
        return {}
    return {
        "cv.folds": folds["folds"],
        "cv.repeats": folds["repeats"],
        "cv.model": folds["model"]["by"],
    }


def read_settings(path: Path) -> dict[str, Any]:
    """Every key of a run's recipe, dotted, with its plain value. The run of another version may
    have other keys.

    Raises:
        Refused: recipe.yaml is gone or damaged.
    """
    try:
        import yaml
    except ImportError:
        raise needs_extra("pyyaml", "train") from None
    loader = getattr(
        yaml, "CSafeLoader", yaml.SafeLoader
    )  # ten times as fast, where it was compiled
    file = path / "recipe.yaml"
    try:
        values = loader(file.read_bytes()).get_single_data()
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        values = None
    if not isinstance(values, Mapping):
        raise Refused(f"{file} is gone or damaged.", "Put a good copy there.")
    return dict(flat_items(values))


def read_history(path: Path) -> list[dict[str, float]]:
    """The rows of history.csv, an epoch each; what is no number in them is left out. Empty where
    there is none.

    Raises:
        Refused: it is damaged.
    """
    file = path / "history.csv"
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError):
        raise Refused(f"{file} is damaged.", "Put a good copy there.") from None
    rows = [
        {name: number for name, cell in row.items() if (number := _number(cell)) is not None}
        for row in _csv(text)
    ]
    if any("epoch" not in row for row in rows):
        raise Refused(f"{file} is damaged.", "Put a good copy there.")
    return rows


def read_digests(path: Path) -> dict[str, str]:
    """The content hash of every image that a run uses: path → SHA-256.

    Raises:
        Refused: splits.parquet is gone or damaged.
    """
    import polars

    file = path / "splits.parquet"
    try:
        return dict(polars.read_parquet(file, columns=["path", "sha256"]).rows())
    except (OSError, polars.exceptions.PolarsError) as error:
        raise Refused(
            f"{file} is gone or damaged ({type(error).__name__}).", "Put a good copy there."
        ) from None


def differing_settings(runs: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """The keys in which settings differ → the value of each; None where one does not have the key.

    >>> differing_settings([{"seed": 0, "lr": 0.1}, {"seed": 1, "lr": 0.1}])
    {'seed': [0, 1]}
    """
    keys = dict.fromkeys(key for settings in runs for key in settings)
    values = {key: [settings.get(key) for settings in runs] for key in keys}
    return {
        key: list_
        for key, list_ in values.items()
        if len({json.dumps(one, default=str) for one in list_}) > 1
    }


def _is_run(path: Path) -> bool:
    hidden = path.name.startswith(".") and path.name.endswith(PART)
    return path.is_dir() and not hidden and any((path / mark).is_file() for mark in MARKS)


def _score(test: Mapping[str, Any] | None) -> Score | None:
    """The accuracy that metrics.json holds; None where no image was tested."""
    if not test or not test["accuracy"]["count"]:
        return None
    block = test["accuracy"]
    value, low, high = (float(block[name]) for name in ("value", "low", "high"))
    return Score(value, low, high, int(block["count"]), int(block.get("clusters", 0)))


def _val_accuracy(run: RunFolder) -> Score | None:
    """Of the shipped model, or, of a run that is not finished, after its last epoch. None without
    polars: the other columns of a list of runs need no tables.
    """
    try:
        import polars
    except ImportError:
        return None
    try:
        if run.has("predictions-val.parquet"):
            answers = polars.read_parquet(
                run.path / "predictions-val.parquet", columns=["label", "answer"]
            )
            right, count = int((answers["label"] == answers["answer"]).sum()), len(answers)
        else:
            rows = read_history(run.path)
            share = rows[-1].get("val_accuracy") if rows else None
            if share is None:
                return None
            splits = polars.read_parquet(run.path / "splits.parquet", columns=["split"])["split"]
            count = int((splits == "val").sum())
            right = min(round(share * count), count)
    except (OSError, polars.exceptions.PolarsError) as error:
        raise Refused(
            f"What {run.path} says of val is gone or damaged ({type(error).__name__}).",
            "Put a good copy there.",
        ) from None
    return proportion(right, count) if count else None


def _date(path: Path) -> str:
    """When a run began: its folder says it; one that was renamed, when it was last written to."""
    stamp = _STAMP.match(path.resolve().name)
    try:
        moment = time.strptime(stamp[0] if stamp else "", "%Y%m%d-%H%M%S")
    except ValueError:
        moment = time.localtime(path.stat().st_mtime)
    return time.strftime("%Y-%m-%d %H:%M:%S", moment)


def _csv(text: str) -> list[dict[str, Any]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def _number(cell: object) -> float | None:
    try:
        number = float(str(cell))
    except ValueError:
        return None
    return number if math.isfinite(number) else None
