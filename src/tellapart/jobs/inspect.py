"""`inspect`: what a model file says of itself, and how fast it is here. Needs no torch and no onnx."""

from __future__ import annotations

import hashlib
import io
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tellapart.modelfile.card import ModelCard
from tellapart.modelfile.predictor import Predictor, load
from tellapart.modelfile.session import Session
from tellapart.phrases import count_of

WIDTH, HEIGHT = 640, 480  # of the image that is timed
RUNS = 15  # of which the median is told
WARM_UP = 2  # runs before: the first one allocates
MOST_CLASSES = 20  # in one line


@dataclass(frozen=True)
class Latency:
    """How long one answer takes on one thread of this machine, in milliseconds.

    Args:
        graph: the median from pixels to answer. Decoding is not in it.
        with_decoding: the median from the bytes of a JPEG to the answer.
        width: of the image.
        height: of the image.
        runs: how many of each were timed.
    """

    graph: float
    with_decoding: float
    width: int = WIDTH
    height: int = HEIGHT
    runs: int = RUNS

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "graph_ms": round(self.graph, 3),
            "with_decoding_ms": round(self.with_decoding, 3),
            "width": self.width,
            "height": self.height,
            "runs": self.runs,
            "threads": 1,
        }


@dataclass(frozen=True)
class Inspection:
    """What a model file says of itself.

    Args:
        card: its metadata.
        bytes: its size.
        digest: its SHA-256.
        outputs: the names of its outputs.
        latency: as measured here. None where it was not measured.

    >>> inspection = tellapart.inspect_model(run.model, measure=False)
    >>> inspection.card.classes, inspection.card.precision
    (('brick', 'leaf', 'sky'), 'int8')
    """

    card: ModelCard
    bytes: int
    digest: str
    outputs: tuple[str, ...]
    latency: Latency | None

    def as_json(self) -> dict[str, Any]:
        """The JSON object that `--json` prints."""
        card = self.card
        return {
            "classes": list(card.classes),
            "train_counts": list(card.train_counts),
            "backbone": card.backbone,
            "precision": card.precision,
            "preprocessing": card.preprocessing.as_json(),
            "decoding": card.decoding.as_json(),
            "calibration": {"temperature": card.temperature, "count": card.calibration_count},
            "rule": card.rule.as_json(),
            "detects_unfamiliar": card.detects_unfamiliar,
            "prediction_sets": card.sets is not None,
            "remembered_images": card.seen is not None,
            "licences": dict(card.licences),
            "digests": {**card.digests, "file": self.digest},
            "versions": dict(card.versions),
            "exported": None if card.exported is None else dict(card.exported),
            "outputs": list(self.outputs),
            "bytes": self.bytes,
            "latency": self.latency and self.latency.as_json(),
        }

    @property
    def lines(self) -> tuple[str, ...]:
        """The same for a terminal, a label and its text in each line."""
        card = self.card
        rows = {
            "classes": _classes(card),
            "trained on": count_of(sum(card.train_counts), "image"),
            "network": f"{card.backbone}, {card.precision}",
            "input": str(card.preprocessing),
            "outputs": ", ".join(self.outputs),
            "calibrated": _calibration(card),
            "answers": _rule(card),
            "unfamiliar": _unfamiliarity(card),
            "sets": _sets(card),
            "size": f"{self.bytes / 1e6:.2f} MB ({self.bytes:,} bytes)",
            **({"speed": _speed(self.latency)} if self.latency else {}),
            **_exported(card.exported),
            **{f"SHA-256 of the {name}": digest for name, digest in self._digests.items()},
            "versions": ", ".join(f"{name} {version}" for name, version in card.versions.items()),
            **_licences(card.licences),
        }
        return tuple(f"{name}: {text}" for name, text in rows.items())

    @property
    def licence_texts(self) -> tuple[str, ...]:
        """The texts of licences that ask for a copy of their text, as far as the file holds them."""
        return tuple(filter(_is_long, self.card.licences.values()))

    @property
    def _digests(self) -> dict[str, str]:
        return {"file": self.digest, **self.card.digests}

    def __str__(self) -> str:
        return "\n".join(self.lines)


def inspect_model(model: str | PathLike[str] | Predictor, *, measure: bool = True) -> Inspection:
    """Read what a model file says of itself, and measure how fast it answers here.

    Args:
        model: a model file, a run folder, or a loaded predictor.
        measure: whether to measure the latency, which takes under a second for most networks.

    Raises:
        UserError: there is no such file, it is damaged, or it is not a tellapart model file.

    >>> inspection = tellapart.inspect_model(run.path)
    >>> inspection.latency.width, inspection.latency.height, inspection.latency.runs
    (640, 480, 15)
    """
    predictor = model if isinstance(model, Predictor) else load(model)
    return Inspection(
        card=predictor.card,
        bytes=len(predictor.graph),
        digest=hashlib.sha256(predictor.graph).hexdigest(),
        outputs=tuple(Session(predictor.graph).outputs),
        latency=_measured(predictor) if measure else None,
    )


def _measured(predictor: Predictor) -> Latency:
    pixels = _timed_image()
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=90)
    data = file.getvalue()
    graph, whole = [], []
    for _ in range(WARM_UP + RUNS):  # in turn, so that a busy moment slows both
        graph.append(_ms(lambda: predictor.outputs(pixels)))
        whole.append(_ms(lambda: predictor.predict_one(data, lone=False)))
    return Latency(statistics.median(graph[WARM_UP:]), statistics.median(whole[WARM_UP:]))


def _ms(call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - begin)


def _timed_image() -> NDArray[np.uint8]:
    """(H, W, 3) soft colours with some grain, so that its JPEG is as large as a photo's."""
    down, across = np.mgrid[:HEIGHT, :WIDTH]
    soft = np.stack([down * 255 / HEIGHT, across * 255 / WIDTH, (down + across) % 256], axis=2)
    grain = np.random.default_rng(0).normal(0, 8, soft.shape)
    return np.clip(soft + grain, 0, 255).astype(np.uint8)


def _classes(card: ModelCard) -> str:
    shown = ", ".join(card.classes[:MOST_CLASSES])
    rest = len(card.classes) - MOST_CLASSES
    ending = f" and {rest:,} more" if rest > 0 else ""
    return f"{len(card.classes):,}: {shown}{ending}"


def _calibration(card: ModelCard) -> str:
    if not card.calibration_count:
        return "no: no image was held out"
    held_out = count_of(card.calibration_count, "held-out image")
    return f"temperature {card.temperature:.3f}, fitted on {held_out}"


def _rule(card: ModelCard) -> str:
    rule = card.rule
    weighted = " times the weight of the class" if rule.weights else ""
    best = f"the class with the highest probability{weighted}"
    if rule.costs is not None:
        return f"{best}; unsure where a wrong answer would cost more than none"
    if rule.threshold is None:
        return f"{best}; never unsure"
    return f"{best}; unsure below {rule.threshold:.4g}"


def _unfamiliarity(card: ModelCard) -> str:
    return "measured; above 1 is unfamiliar" if card.detects_unfamiliar else "not decided"


def _sets(card: ModelCard) -> str:
    return "prediction sets of any level" if card.sets else "no prediction sets"


def _speed(latency: Latency) -> str:
    return (
        f"{latency.graph:.1f} ms an image without decoding, {latency.with_decoding:.1f} ms from a"
        f" JPEG of {latency.width} × {latency.height}; median of {latency.runs} runs, one thread"
    )


def _exported(exported: Mapping[str, Any] | None) -> dict[str, str]:
    if exported is None:
        return {}
    return {
        "exported": (
            f"as {exported['form']}; {exported['changed']:,} of"
            f" {count_of(exported['images'], 'image')} got another answer or decision than from"
            f" {exported['original'][:12]}…"
        )
    }


def _licences(licences: Mapping[str, str]) -> dict[str, str]:
    """Each entry in a line; a text of many lines is only counted."""
    return {
        f"licence of the {name}" if name == "weights" else name: (
            f"{len(text.splitlines())} lines, which --licence prints" if _is_long(text) else text
        )
        for name, text in sorted(licences.items())
    }


def _is_long(text: str) -> bool:
    return "\n" in text
