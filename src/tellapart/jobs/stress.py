"""`stress`: how a model answers its test images when they are blurred, dark, small or turned.

Needs no torch.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.corruptions import CORRUPTIONS, Corruption, reduced
from tellapart.decoding import encode_thumbnail
from tellapart.errors import UserError
from tellapart.evaluation.predictions import Predictions
from tellapart.evaluation.stress import StressCurve, corrected, stress_point
from tellapart.home import user_path
from tellapart.keyed import keyed_numbers
from tellapart.modelfile.predictor import Outputs, Predictor, load
from tellapart.pipeline.pages import WithPage, check_page, timestamp, write_page
from tellapart.pipeline.run_images import RunData
from tellapart.progress import Console
from tellapart.report.parts.gallery import SIDE_PX, Shot
from tellapart.report.stress.page import render_stress, stress_lines, stress_rows
from tellapart.runs.folder import RunFolder
from tellapart.runs.saved_predictions import read_predictions
from tellapart.sources.source import Source
from tellapart.threads import map_ahead

# Each change at each strength, and first the image as it is.
STEPS = [(None, 0.0), *((kind, strength) for kind in CORRUPTIONS for strength in kind.strengths)]


@dataclass(frozen=True, kw_only=True)
class Stress(WithPage):
    """How a model answers changed images.

    Args:
        curves: one a change.
        images: paths of the test images that were changed.
        missing: how many others were chosen, and are gone or no longer what they were.
        tested: how many test images there are.
        seed: decided which images were taken, and what is random in a change.
        html: the page that shows it.
        page: where it was written.
    """

    curves: tuple[StressCurve, ...]
    images: tuple[str, ...]
    missing: int
    tested: int
    seed: int

    @property
    def lines(self) -> list[str]:
        """The result in sentences."""
        return stress_lines(len(self.images), self.curves)

    @property
    def rows(self) -> tuple[list[str], list[list[str]]]:
        """Heads and rows of the table for a terminal."""
        return stress_rows(self.curves)

    def as_json(self) -> dict[str, Any]:
        """The JSON object of `--json` and of stress.json."""
        return {
            "target": self.curves[0].target,
            "breaks": {curve.name: curve.breaks_at for curve in self.curves if curve.breaks_at},
            "changes": [curve.as_json() for curve in self.curves],
            "images": len(self.images),
            "missing": self.missing,
            "of": self.tested,
            "paths": list(self.images),
            "seed": self.seed,
            "page": self.escaped_page,
        }


def stress(
    run: str | PathLike[str],
    data: Source | None = None,
    *,
    images: int = 200,
    seed: int = 0,
    out: str | PathLike[str] | None = None,
    quiet: bool = False,
) -> Stress:
    """Answer test images of a run under nine changes, each at five strengths.

    The result is written into the run folder as stress.json, which the report shows.

    Args:
        run: the folder of a finished run.
        data: where the data of the training is now. None means where the run says it is.
        images: how many test images to take at most, chosen by their keys.
        seed: of that choice, and of what is random in a change.
        out: the HTML page to write. None means stress.html in the run folder.
        quiet: print nothing.

    Raises:
        UserError: no finished run, no test images, or the data is not where it was.
        Refused: none of the images is what it was, or a file of the run is damaged.

    >>> found = tellapart.stress(run.path, photos, images=2, quiet=True)
    >>> len(found.images), [curve.name for curve in found.curves][:3]
    (2, ['blur', 'noise', 'JPEG'])
    """
    folder, console = user_path(run), Console(quiet=quiet)
    page = user_path(out) if out is not None else folder / "stress.html"
    check_page(page)
    test = _test_predictions(folder, images)
    predictor = load(folder)
    read = RunData(folder, data, predictor.card.decoding)
    order = np.argsort(keyed_numbers(seed, "stress images", test.paths), kind="stable")[:images]
    chosen = test.rows(np.sort(order))
    console.say(
        f"{folder.name}: changing {len(chosen):,} of {len(test):,} test images, {len(STEPS) - 1}"
        " times each"
    )
    answer = partial(_answers, predictor, read, seed)
    with console.track("Answering changed images", len(chosen)) as advance:
        outputs = []
        for found in map_ahead(answer, chosen.paths):
            outputs.append(found)
            advance()
    kept = [place for place, found in enumerate(outputs) if found is not None]
    if not kept:
        raise read.gone(len(chosen))
    used = chosen.rows(np.array(kept))
    curves = _curves(predictor, used, [found for found in outputs if found], _target(folder))
    result = Stress(
        curves=curves,
        images=used.paths,
        missing=len(chosen) - len(used),
        tested=len(test),
        seed=seed,
        html=render_stress(
            folder.name,
            timestamp(),
            curves,
            _shots(predictor, read, used, seed),
            stress_lines(len(used), curves),
            _facts(predictor, used, len(test), len(chosen) - len(used), seed),
        ),
        page=page,
    )
    write_page(page, result.html)
    RunFolder(folder).write_json("stress.json", result.as_json())
    return result


def _test_predictions(folder: Path, images: int) -> Predictions:
    """The kept answers to the test images.

    Raises:
        UserError: no finished run, no test images, or fewer than one is wanted.
    """
    if images < 1:
        raise UserError(f"--images must be at least 1, got {images}.", "200 is the default.")
    file = folder / "predictions-test.parquet"
    if not file.is_file():
        raise UserError(
            f"{folder} is no finished run.",
            "Give the folder of one, for example runs/20261121-101500-photos.",
        )
    test = read_predictions(file)
    if not len(test):
        raise UserError(
            f"{folder} has no test images, and others cannot tell how good the model is.",
            "Train with test images: --set split.test=0.2",
        )
    return test


def _target(folder: Path) -> float | None:
    """The accuracy that answers should have; None where costs decide, or none was asked for."""
    calibration = RunFolder(folder).read_json("metrics.json").get("calibration") or {}
    threshold = calibration.get("threshold") or {}
    target = threshold.get("target")
    return None if target is None else float(target)


def _answers(predictor: Predictor, read: RunData, seed: int, path: str) -> list[Outputs] | None:
    """The outputs for one image at each of STEPS. None where the image is gone or changed."""
    pixels = read.pixels(path)
    if pixels is None:
        return None
    size_px = predictor.card.preprocessing.size_px
    small = reduced(pixels, size_px)
    return [
        predictor.outputs(
            pixels if kind is None else _changed(small, kind, strength, seed, path, size_px)
        )
        for kind, strength in STEPS
    ]


def _changed(
    small: NDArray[np.uint8], kind: Corruption, strength: float, seed: int, path: str, size_px: int
) -> NDArray[np.uint8]:
    key = int(keyed_numbers(seed, f"stress {kind.name}", [path])[0])
    return kind.apply(small, strength, key, size_px)


def _curves(
    predictor: Predictor,
    used: Predictions,
    outputs: list[list[Outputs]],
    target: float | None,
) -> tuple[StressCurve, ...]:
    """One curve a change; `outputs` has a list of STEPS for each image."""
    rule, steps = predictor.card.rule, []
    for place in range(len(STEPS)):
        probs = np.stack([found[place].probs for found in outputs])
        unfamiliarity = np.array([found[place].unfamiliarity for found in outputs], np.float32)
        steps.append(
            Predictions(
                probs,
                used.labels,
                used.paths,
                used.classes,
                unfamiliarity if predictor.card.detects_unfamiliar else None,
                used.clusters,
                rule.answers(probs),
            )
        )
    names = [kind.in_words(strength) if kind else "none" for kind, strength in STEPS]
    unchanged, *points = corrected(
        [
            stress_point(name, answers, steps[0], rule, target)
            for name, answers in zip(names, steps, strict=True)
        ]
    )
    following = iter(points)
    return tuple(
        StressCurve(
            kind.name,
            kind.meaning,
            (unchanged, *(next(following) for _ in kind.strengths)),
            target,
        )
        for kind in CORRUPTIONS
    )


def _shots(
    predictor: Predictor, read: RunData, used: Predictions, seed: int
) -> dict[str, list[Shot]]:
    """One image at each strength of each change: the first that is answered rightly."""
    right = np.flatnonzero(used.correct)
    path = used.paths[int(right[0]) if len(right) else 0]
    pixels = read.pixels(path)
    if pixels is None:  # it has gone since it was answered
        return {}
    small = reduced(pixels, predictor.card.preprocessing.size_px)
    return {
        kind.name: [
            _shot(predictor, small, kind, strength, seed, path) for strength in kind.strengths
        ]
        for kind in CORRUPTIONS
    }


def _shot(
    predictor: Predictor,
    small: NDArray[np.uint8],
    kind: Corruption,
    strength: float,
    seed: int,
    path: str,
) -> Shot:
    changed = _changed(small, kind, strength, seed, path, predictor.card.preprocessing.size_px)
    outputs = predictor.outputs(changed)
    rule, names = predictor.card.rule, predictor.classes
    best = int(rule.answers(outputs.probs[None])[0])
    unfamiliarity = np.array([outputs.unfamiliarity], np.float32)
    decision = str(predictor.decisions(outputs.probs[None], unfamiliarity)[0])
    lines = (kind.in_words(strength), f"{names[best]} {100 * outputs.probs[best]:.0f} %", decision)
    jpeg = base64.b64encode(encode_thumbnail(changed, SIDE_PX)).decode()
    return Shot(path, lines, source=f"data:image/jpeg;base64,{jpeg}")


def _facts(
    predictor: Predictor, used: Predictions, tested: int, missing: int, seed: int
) -> dict[str, str]:
    gone = {"gone or changed": f"{missing:,}"} if missing else {}
    return {
        "model": predictor.card.backbone,
        "test images": f"{tested:,}",
        "of them changed": f"{len(used):,}, chosen by their keys",
        **gone,
        "seed": str(seed),
    }
