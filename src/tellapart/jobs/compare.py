"""`compare`: runs that were tested on the same images: which is better, by how much, how sure.
Needs no torch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from string import ascii_uppercase
from typing import TYPE_CHECKING, Any

from tellapart.catalog.names import escape
from tellapart.decoding import Decoded
from tellapart.errors import Refused, UserError, choose
from tellapart.evaluation.paired import Pair, Paired, aligned, compare_all
from tellapart.evaluation.predictions import Predictions
from tellapart.home import user_path
from tellapart.pipeline.pages import WithPage, check_page, timestamp, write_page
from tellapart.pipeline.request import as_source, how_to_go_on
from tellapart.progress import Console, duration
from tellapart.report.compare.differences import verdicts
from tellapart.report.compare.page import (
    ComparedRun,
    ComparisonInput,
    comparison_lines,
    disagreement_rows,
    render_comparison,
)
from tellapart.report.parts.wording import images_in_groups
from tellapart.runs.data_place import data_of, is_there
from tellapart.runs.folder import RunFolder
from tellapart.runs.history import PastRun, differing_settings, past_run, read_digests, read_history
from tellapart.runs.saved_predictions import read_predictions
from tellapart.sources.source import Source, read_source

if TYPE_CHECKING:
    from tellapart.pipeline.run import Run

MOST_RUNS = 9  # more lines than these look alike in one image
MOST_PATHS = 100  # of one kind of disagreement, in JSON
SPLITS = ("test", "val")


@dataclass(frozen=True, kw_only=True)
class RunComparison(WithPage):
    """What came out of a comparison of runs.

    Args:
        runs: in the order in which they were given.
        letters: what each is called on the page and in lines.
        split: of the images, "test" or "val".
        seed: of the resamples.
        predictions: of each run, of the same images in the same order.
        paired: the metrics of each, and every two compared.
        settings: recipe keys in which the runs differ → the value of each.
        lines: the page's own words, for a terminal.
        html: the page.
        page: where it was written; None where no file was asked for.
    """

    runs: tuple[PastRun, ...]
    letters: tuple[str, ...]
    split: str
    seed: int
    predictions: tuple[Predictions, ...]
    paired: Paired
    settings: Mapping[str, Sequence[Any]]
    lines: tuple[str, ...]

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """Every two of the runs, those with the first before the others."""
        return self.paired.pairs

    def as_json(self) -> dict[str, Any]:
        """The JSON object that `--json` prints."""
        facts: dict[str, Any] = {"split": self.split, "seed": self.seed}
        return {
            "metrics": [entry for pair in self.pairs for entry in pair.metrics_as_json(**facts)],
            "classes": [entry for pair in self.pairs for entry in pair.classes_as_json(**facts)],
            "disagreements": [self._disagreement(pair) for pair in self.pairs],
            "verdict": verdicts(self.paired, self.split),
            "settings": {key: list(values) for key, values in self.settings.items()},
            "runs": [
                {"name": letter, "run": escape(str(run.path)), **facts, "scores": metrics.as_json()}
                for letter, run, metrics in zip(
                    self.letters, self.runs, self.paired.metrics, strict=True
                )
            ],
            "count": len(self.predictions[0]),
            **facts,
            "page": self.escaped_page,
        }

    def _disagreement(self, pair: Pair) -> dict[str, Any]:
        first, second = (self.predictions[place] for place in pair.places)
        kinds = zip(
            ("only_first", "only_second"), disagreement_rows(pair, first, second), strict=True
        )
        paths = {
            kind: {"count": len(rows), "paths": [first.paths[row] for row in rows[:MOST_PATHS]]}
            for kind, rows in kinds
        }
        return {"names": list(pair.names), **paths}


def compare_runs(
    runs: Sequence[str | PathLike[str] | Run],
    *,
    out: str | PathLike[str] | None = None,
    data: str | PathLike[str] | None = None,
    split: str = "test",
    seed: int = 0,
    quiet: bool = False,
) -> RunComparison:
    """Compare finished runs by their answers to the same images.

    Args:
        runs: two or more run folders, or `Run`s. Each is compared with the first, and with each
            other.
        out: the HTML page to write. None writes no file; `RunComparison.save` writes it later.
        data: where the images are, to show those on which the runs disagree. Default: where a run
            says they are.
        split: "test", or "val", on which the runs were chosen.
        seed: the seed of the bootstrap.
        quiet: print nothing.

    Returns:
        The differences with their intervals and p-values, and the page that shows them.

    Raises:
        UserError: no such run, one that is not finished, or too few runs.
        Refused: the runs were not tested on the same images: others, other contents, classes or
            labels.

    >>> comparison = tellapart.compare_runs([run, other_run], quiet=True)
    >>> comparison.letters, comparison.split
    (('A', 'B'), 'test')
    """
    console = Console(quiet=quiet)
    choose("split", split, SPLITS)
    check_page(out)
    past = [past_run(path) for path in _distinct(runs)]
    predictions, digests = _same_images(past, split)
    images = images_in_groups(predictions[0], f"{split} image")
    console.say(f"Comparing {len(past)} runs on {images}")
    letters = tuple(ascii_uppercase[: len(past)])
    with console.step("Measuring the differences"):
        paired = compare_all(predictions, letters, seed=seed)
    settings = differing_settings([run.settings for run in past])
    read, remarks = _reader(
        past, data, {path: digests.get(path, "") for path in predictions[0].paths}
    )
    given = ComparisonInput(
        title=" and ".join(dict.fromkeys(run.name for run in past)),
        created=timestamp(),
        split=split,
        seed=seed,
        runs=tuple(
            _compared(*run, settings, place)
            for place, run in enumerate(zip(past, letters, predictions, strict=True))
        ),
        paired=paired,
        remarks=(*_remarks(past), *remarks),
        read=read,
    )
    lines = tuple(comparison_lines(given))
    with console.step("Writing the page"):
        html = render_comparison(given)
    return RunComparison(
        runs=tuple(past),
        letters=letters,
        split=split,
        seed=seed,
        predictions=tuple(predictions),
        paired=paired,
        settings=settings,
        lines=lines,
        html=html,
        page=write_page(out, html),
    )


def _distinct(runs: Sequence[str | PathLike[str] | Run]) -> list[Path]:
    paths = [user_path(run) if isinstance(run, str | PathLike) else run.path for run in runs]
    if not 2 <= len(paths) <= MOST_RUNS:
        raise UserError(
            f"2 to {MOST_RUNS} runs can be compared, got {len(paths)}.", "Name their folders."
        )
    seen: dict[Path, Path] = {}
    for path in paths:
        if path.resolve() in seen:
            raise UserError(f"{path} was given twice.", "Name each run once.")
        seen[path.resolve()] = path
    return paths


def _same_images(runs: Sequence[PastRun], split: str) -> tuple[list[Predictions], dict[str, str]]:
    """The predictions of each run, in the order of the first's, and the content hash of each
    image.
    """
    answers, contents = [], []
    for run in runs:
        if run.state != "finished":
            begun = run.state == "resumable"
            hint = (
                f"Go on with it: {how_to_go_on(RunFolder(run.path))}" if begun else "Train it anew."
            )
            raise UserError(f"{run.path} is not finished.", hint)
        answers.append(read_predictions(run.path / f"predictions-{split}.parquet"))
        contents.append(read_digests(run.path))
        if len(answers[-1]) < 2:
            least = "no images" if not len(answers[-1]) else "only one image"
            other = (
                "Add --split val to compare by val." if split == "test" else "Compare runs by test."
            )
            raise Refused(f"{run.path} has {least} in {split}: nothing can be compared.", other)
    for run, predictions, digests in zip(runs[1:], answers[1:], contents[1:], strict=True):
        if differences := _unlike((answers[0], contents[0]), (predictions, digests)):
            raise Refused(
                f"{runs[0].name} and {run.name} do not have the same {split} images:"
                f" {', '.join(differences)}.",
                f"Train both with the same splits: tellapart train DATA --splits {runs[0].path}",
            )
    return [answers[0], *(aligned(others, answers[0]) for others in answers[1:])], contents[0]


def _unlike(
    run: tuple[Predictions, Mapping[str, str]], other: tuple[Predictions, Mapping[str, str]]
) -> list[str]:
    """What tells two sets of images apart: for each kind of difference a count and an example."""
    first, second = (
        {path: p.classes[label] for path, label in zip(p.paths, p.labels, strict=True)}
        for p, _ in (run, other)
    )
    shared = first.keys() & second.keys()
    kinds = {
        ("image is only in the first", "images are only in the first"): (
            first.keys() - second.keys()
        ),
        ("image is only in the second", "images are only in the second"): (
            second.keys() - first.keys()
        ),
        ("image has other content", "images have other content"): {
            path for path in shared if run[1].get(path) != other[1].get(path)
        },
        ("image has another class", "images have another class"): {
            path for path in shared if first[path] != second[path]
        },
        ("class is only in one", "classes are only in one"): (
            set(run[0].classes) ^ set(other[0].classes)
        ),
    }
    return [
        f"{len(found):,} {single if len(found) == 1 else several} ({min(found)!r})"
        for (single, several), found in kinds.items()
        if found
    ]


def _remarks(runs: Sequence[PastRun]) -> list[str]:
    if len({run.splits for run in runs}) == 1:
        return []
    return ["The runs share these images, but not those that they were trained and chosen with."]


def _reader(
    runs: Sequence[PastRun], data: str | PathLike[str] | None, digests: Mapping[str, str]
) -> tuple[Callable[[str], bytes | Decoded] | None, list[str]]:
    """What reads an image of the comparison, and what there is to say of that; None where none are
    at hand.

    Args:
        digests: path → SHA-256 of each image of the comparison.
    """
    if data is not None:
        return _checked(as_source(data), digests)
    for run in runs:
        source = data_of(run.path)
        if source is not None and is_there(source):
            try:
                return _checked(source, digests)
            except UserError as error:
                return None, [f"The images cannot be shown: {error.message}"]
    return None, []


def _checked(
    source: Source, digests: Mapping[str, str]
) -> tuple[Callable[[str], bytes | Decoded], list[str]]:
    """What reads images of a source, where one that is not what it was is not shown; and how many
    are not in it.
    """
    catalog = read_source(source)
    files, missing = catalog.files, len(digests.keys() - set(catalog.paths.tolist()))

    def read(path: str) -> bytes | Decoded:
        content = files.read(path)
        if isinstance(content, bytes) and hashlib.sha256(content).hexdigest() != digests[path]:
            return Decoded("changed")
        return content

    where = f"{missing:,} of {len(digests):,} images are not in {escape(str(source))}"
    return read, [f"{where}: the page names them and cannot show them."] if missing else []


def _compared(
    run: PastRun,
    letter: str,
    predictions: Predictions,
    settings: Mapping[str, Sequence[Any]],
    place: int,
) -> ComparedRun:
    return ComparedRun(
        letter=letter,
        name=run.name,
        facts={
            "Recipe": run.recipe,
            "Backbone": run.backbone,
            "Seed": "" if run.seed is None else str(run.seed),
            "Time": "" if run.seconds is None else duration(run.seconds),
            "Splits": run.splits[:8],
        },
        settings={key: _text(values[place]) for key, values in settings.items()},
        history=read_history(run.path),
        predictions=predictions,
    )


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    return "" if value is None else str(value)
