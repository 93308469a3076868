"""`explore --check`: one image walked through the whole pipeline, each step shown."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.catalog.names import escape
from tellapart.catalog.table import Catalog, text_column
from tellapart.decoders.rules import DecodeRules, rules_of
from tellapart.decoding import NOTES, STATUSES, Decoded, decode
from tellapart.errors import UserError, choose
from tellapart.export.compose import EMBEDDING, PIXELS, PREPROCESSED, compose_features, cut_at
from tellapart.extensions import Extensions
from tellapart.modelfile.predictor import Answer, load
from tellapart.modelfile.preprocessing import Preprocessing
from tellapart.modelfile.session import Session
from tellapart.pipeline.data import read_catalog, with_fixes
from tellapart.pipeline.pages import WithPage, check_page, timestamp, write_page
from tellapart.pipeline.probe import LoadedBackbone
from tellapart.progress import Console
from tellapart.recipe import Recipe
from tellapart.recipe_files import load_recipe
from tellapart.report.check.page import Step, render_steps, step_lines
from tellapart.sources.source import Source, name_of

MOST_CLASSES = 5  # of the answer


@dataclass(frozen=True, kw_only=True)
class Check(WithPage):
    """One image's way from its file to the network's numbers.

    Args:
        image: its path in the data.
        steps: in order.
        html: the page that shows them.
        page: where it was written; None where no file was asked for.
    """

    image: str
    steps: tuple[Step, ...]

    def lines(self) -> list[str]:
        """The steps for a terminal."""
        return step_lines(self.steps)

    def as_json(self) -> dict[str, Any]:
        """The JSON object that `--json` prints."""
        steps = [{"name": step.name, "text": step.text, **step.facts} for step in self.steps]
        return {
            "image": self.image,
            "steps": steps,
            "page": self.escaped_page,
        }


def check(
    data: Source,
    *,
    image: str | None = None,
    model: str | PathLike[str] | None = None,
    out: str | PathLike[str] | None = None,
    recipe: str | Recipe = "probe",
    set: Mapping[str, Any] | None = None,
    quiet: bool = False,
) -> Check:
    """Walk one image from its file to the network's numbers, and to the answer if a model is given.

    Args:
        data: the images, in any form that `train` takes.
        image: its path within the data. Default: the first image that can be used.
        model: a model file or run folder. Default: the recipe's backbone, without a head.
        out: the HTML page to write. None writes no file; `Check.save` writes it later.
        recipe: the recipe whose preprocessing and backbone are shown.
        set: recipe keys and their values.
        quiet: print nothing.

    Returns:
        The steps, and the page that shows them.

    Raises:
        UserError: no such source, image or model; or the image cannot be used, with the reason.

    >>> [step.name for step in tellapart.check(photos, quiet=True).steps]
    ['File', 'Decoded', 'Resized', 'Normalised', 'Embedding']
    """
    console = Console(quiet=quiet)
    options = load_recipe(recipe, set)
    check_page(out)
    catalog = read_catalog(data, name_of(data), options, console)
    predictor = load(model) if model else None
    rules = predictor.card.decoding if predictor else rules_of(options.decoding)
    row, content, decoded = _image(catalog, image, rules)
    catalog, row = _fixed(catalog, row, content, options), 0
    pixels = decoded.pixels
    assert pixels is not None

    if predictor:
        preprocessing, graph = predictor.card.preprocessing, predictor.graph
    else:
        with console.step("Preparing the network"):
            network = LoadedBackbone(options, console, Extensions(), catalog).exported()
        preprocessing = network.preprocessing
        graph = compose_features(network.graph, preprocessing)
    steps = [
        _file_step(catalog, row, content, decoded),
        _decoded_step(decoded, pixels),
        *_preprocessing_steps(preprocessing, pixels, graph),
        _embedding_step(graph, pixels),
    ]
    if predictor:
        steps.append(_answer_step(catalog, row, predictor.predict_one(pixels)))
    html = render_steps(catalog.paths[row], timestamp(), steps)
    page = write_page(out, html)
    return Check(image=catalog.paths[row], steps=tuple(steps), html=html, page=page)


def _image(catalog: Catalog, wanted: str | None, rules: DecodeRules) -> tuple[int, bytes, Decoded]:
    """The row, bytes and pixels of the image that is meant."""
    if wanted is not None:
        paths = catalog.paths.tolist()
        rows = [paths.index(choose("image", escape(wanted), paths))]
    else:
        rows = list(range(len(catalog)))
    decoded = Decoded("missing")
    for row in rows:
        content = catalog.files.read(catalog.paths[row])
        decoded = content if isinstance(content, Decoded) else decode(content, rules=rules)
        if decoded.pixels is not None and isinstance(content, bytes):
            return row, content, decoded
    which = (
        wanted if wanted is not None else f"None of the {len(rows):,} images can be used; the last"
    )
    raise UserError(f"{which} is {decoded.status}. {decoded.detail}", STATUSES[decoded.status])


def _fixed(catalog: Catalog, row: int, content: bytes, options: Recipe) -> Catalog:
    """The one image that is shown, as the decisions of `data.fixes` correct its label."""
    shown = catalog.rows(np.arange(len(catalog)) == row)
    digest = hashlib.sha256(content).hexdigest()
    fixed = with_fixes(shown.replace(digests=text_column([digest])), options)
    if not len(fixed):
        raise UserError(
            f"{shown.paths[0]} is left out by {options.data.fixes}.",
            "Name another image, or leave --fixes out.",
        )
    return fixed


def _file_step(catalog: Catalog, row: int, content: bytes, decoded: Decoded) -> Step:
    label = int(catalog.labels[row])
    facts = {
        "path": catalog.paths[row],
        "bytes": f"{len(content):,}",
        "format": decoded.format,
        "SHA-256": hashlib.sha256(content).hexdigest(),
        "class": (
            f"{catalog.classes[label]} (column {label} of {len(catalog.classes)})"
            if label >= 0
            else ""
        ),
        "split": catalog.given_splits[row] or "to be cut",
        "group": catalog.groups[row],
    }
    stated = {name: value for name, value in facts.items() if value}
    return Step(
        "File", f"{catalog.source}. The content says what it is, not the name.", stated, None
    )


def _decoded_step(decoded: Decoded, pixels: NDArray[np.uint8]) -> Step:
    notes = " ".join(f"{note}: {NOTES[note]}" for note in decoded.notes)
    text = "RGB, upright by its EXIF data, transparency on white, 16 bits scaled to 8. " + notes
    facts = _numbers(pixels) | ({"taken": decoded.taken} if decoded.taken else {})
    return Step("Decoded", text.strip(), facts, pixels)


def _preprocessing_steps(
    preprocessing: Preprocessing, pixels: NDArray[np.uint8], graph: bytes
) -> list[Step]:
    resized = preprocessing.resized(pixels)
    height, width = pixels.shape[:2]
    enlarged = min(height, width) < preprocessing.size_px
    (tensor,) = Session(cut_at(graph, PIXELS, [PREPROCESSED])).run(pixels[None], [PREPROCESSED])
    std = np.array(preprocessing.std, np.float32)[:, None, None]
    levels = float((np.abs(tensor[0] - preprocessing.normalised(resized)) * std).max() * 255)
    small = (
        f" The image is smaller than {preprocessing.size_px} px on a side, so it was enlarged."
        if enlarged
        else ""
    )
    shown = (
        ((tensor[0] - tensor.min()) / max(float(np.ptp(tensor)), 1e-9) * 255)
        .astype(np.uint8)
        .transpose(1, 2, 0)
    )
    return [
        Step("Resized", f"{str(preprocessing).capitalize()}.{small}", _numbers(resized), resized),
        Step(
            "Normalised",
            "As the network takes it, by the graph that is shipped; from 0 to 255 again to be"
            f" seen. Pillow and the graph differ by {levels:.1f} of 255 levels at most; the gate"
            " allows what changes no answer.",
            {
                "mean": _listed(preprocessing.mean),
                "std": _listed(preprocessing.std),
                **_numbers(tensor[0], axis=0),
            },
            shown,
        ),
    ]


def _embedding_step(graph: bytes, pixels: NDArray[np.uint8]) -> Step:
    (embedding,) = Session(cut_at(graph, PIXELS, [EMBEDDING])).run(pixels[None], [EMBEDDING])
    values = embedding[0]
    facts = {
        "shape": f"({len(values):,},) {values.dtype}",
        "least, mean, most": f"{values.min():.3f}, {values.mean():.3f}, {values.max():.3f}",
        "length": f"{np.linalg.norm(values):.2f}",
        "zeros": f"{(values == 0).mean():.0%}",
    }
    text = "What the backbone says of the image: the head sees these numbers and nothing else."
    return Step("Embedding", text, facts, None)


def _answer_step(catalog: Catalog, row: int, answer: Answer) -> Step:
    label = int(catalog.labels[row])
    best = answer.top(MOST_CLASSES)
    probabilities = {name: f"{probability:.4f}" for name, probability in best}
    right = "" if label < 0 else f" The label says {catalog.classes[label]!r}."
    text = f"{answer.answer!r}, {answer.confidence:.1%} sure, {answer.decision}.{right}"
    return Step("Answer", text, probabilities, bars=tuple(best))


def _numbers(values: NDArray[Any], axis: int = 2) -> dict[str, str]:
    """Shape, type, and range of each channel."""
    channels = np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1).astype(np.float64)
    digits = 0 if values.dtype == np.uint8 else 3
    return {
        "shape": f"{values.shape} {values.dtype}",
        **{
            name: (
                f"{channel.min():.{digits}f} to {channel.max():.{digits}f}, mean"
                f" {channel.mean():.{max(digits, 1)}f}"
            )
            for name, channel in zip(("red", "green", "blue"), channels, strict=True)
        },
    }


def _listed(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.4g}" for value in values)
