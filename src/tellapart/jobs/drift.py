"""`drift`: are the images that a model answers now like those of its training? Needs no torch."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from tellapart.errors import UserError, needs_extra, reason_of
from tellapart.evaluation.drift import ANSWER, DECISION, MEASURES, Counts, Difference, differences
from tellapart.home import user_path
from tellapart.modelfile.predictor import Predictor, load
from tellapart.pipeline.pages import WithPage, check_page, timestamp, write_page
from tellapart.progress import Console
from tellapart.report.drift.page import drift_lines, render_drift

WORDS = (DECISION, ANSWER)
KINDS = "Give a .csv, .jsonl or .parquet: the log of `serve`, or a table of `predict`."


@dataclass(frozen=True, kw_only=True)
class Drift(WithPage):
    """How new images differ from those of the training.

    Args:
        images: how many new images there are.
        differences: what was compared.
        missing: names of what the table does not say.
        html: the page that shows it.
        page: where it was written; None where no file was asked for.
    """

    images: int
    differences: tuple[Difference, ...]
    missing: tuple[str, ...]

    @property
    def lines(self) -> list[str]:
        """The result for a terminal."""
        return drift_lines(self.images, self.differences, self.missing)

    def as_json(self) -> dict[str, Any]:
        """The JSON object that `--json` prints."""
        return {
            "images": self.images,
            "differs": [entry.name for entry in self.differences if entry.differs],
            "differences": [entry.as_json() for entry in self.differences],
            "missing": list(self.missing),
            "page": self.escaped_page,
        }


def drift(
    model: str | PathLike[str] | Predictor,
    requests: str | PathLike[str],
    *,
    out: str | PathLike[str] | None = None,
    quiet: bool = False,
) -> Drift:
    """Compare images that a model has answered with those that it was made with.

    Args:
        model: a model file, a run folder, or a loaded predictor.
        requests: the log of `serve`, or a .csv, .jsonl or .parquet with a row an image and some of
            the columns decision, answer, confidence, unfamiliarity, brightness, contrast,
            colourfulness, width and height. A table of `predict` has the first three.
        out: the HTML page to write. None writes no file; `Drift.save` writes it later.
        quiet: print nothing while working.

    Raises:
        UserError: the model has nothing to compare with, or the table cannot be read.

    >>> answers = tellapart.predict(run.model, str(photos), out="answers.csv", quiet=True).table
    >>> tellapart.drift(run.model, answers, quiet=True).images
    36
    """
    check_page(out)
    predictor = model if isinstance(model, Predictor) else load(model)
    reference = predictor.card.reference
    if reference is None:
        raise UserError(
            "The model file does not say what its training images were like.",
            "Make it anew: earlier versions do not write it.",
        )
    counts, path = Counts(reference), user_path(requests)
    with Console(quiet=quiet).track("Reading rows") as advance:
        for image in _usable(path):
            counts.add(image)
            advance()
    if not counts.images:
        raise UserError(f"{path} holds no answered image.", KINDS)
    found = differences(counts)
    missing = tuple(entry.name for entry in found if not entry.count)
    if len(missing) == len(found):
        raise UserError(
            f"{path} has no column that can be compared.",
            f"There must be one of {', '.join((*WORDS, *MEASURES))}.",
        )
    ran = {
        "images": path.name,
        "model": predictor.card.backbone,
        "images of the training": f"{reference.count:,}",
        "of them count": f"{reference.clusters:,}",
    }
    html = render_drift(path.name, timestamp(), counts.images, found, missing, ran)
    return Drift(
        images=counts.images,
        differences=tuple(found),
        missing=missing,
        html=html,
        page=write_page(out, html),
    )


def _usable(path: Path) -> Iterator[dict[str, Any]]:
    """The images of a table whose status is ok, with numbers as numbers.

    Raises:
        UserError: it cannot be read.
    """
    for row in _rows(path):
        if row.get("status", "ok") == "ok":
            yield {
                **{name: row[name] for name in WORDS if row.get(name)},
                **{name: _number(row[name], path) for name in MEASURES if _is_given(row, name)},
            }


def _is_given(row: Mapping[str, Any], name: str) -> bool:
    return row.get(name) not in (None, "")


def _number(value: Any, path: Path) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise UserError(f"{path} holds {value!r} where a number should be.", KINDS) from None


def _rows(path: Path) -> Iterable[Mapping[str, Any]]:
    """The rows of a table.

    Raises:
        UserError: it cannot be read.
    """
    if path.suffix == ".parquet":
        return _of_parquet(path)
    if path.suffix not in (".csv", ".jsonl", ".log"):
        raise UserError(f"{path} is not a table that can be read.", KINDS)
    return _of_text(path)


def _of_text(path: Path) -> Iterator[Mapping[str, Any]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            if path.suffix == ".csv":
                yield from csv.DictReader(file)
            else:
                for line in file:
                    yield from _logged(line)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({reason_of(error)}).", KINDS) from None
    except (csv.Error, ValueError) as error:  # text that is not UTF-8, or no JSON
        raise UserError(f"{path} cannot be read as a table.", KINDS) from error


def _of_parquet(path: Path) -> Iterator[Mapping[str, Any]]:
    try:
        import polars
    except ModuleNotFoundError:
        raise needs_extra("polars") from None
    try:
        names = polars.read_parquet_schema(path)
        wanted = [name for name in ("status", *WORDS, *MEASURES) if name in names]
        yield from polars.read_parquet(path, columns=wanted).iter_rows(named=True)
    except (OSError, polars.exceptions.PolarsError) as error:
        raise UserError(f"{path} cannot be read as a table.", KINDS) from error


def _logged(line: str) -> Iterable[Mapping[str, Any]]:
    """The images of a line: of a log, which may hold several, or of a table."""
    if not line.startswith("{"):  # what the server says beside its log
        return []
    entry = json.loads(line)
    answers = entry.get("answers")
    if isinstance(answers, list):
        return [{**answer, **answer.get("image", {})} for answer in answers]
    return [entry] if {"status", *WORDS} & entry.keys() and "route" not in entry else []
