"""From what was learned to the file that is shipped: calibrated on val, held against torch,
measured on test.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tellapart.cache import FeatureStore
from tellapart.catalog.table import Catalog, Column
from tellapart.evaluation.calibration import Calibration
from tellapart.evaluation.metrics import Metrics, measure
from tellapart.evaluation.predictions import Predictions
from tellapart.export.compose import EMBEDDING, compose_model, cut_at
from tellapart.export.gate import Parity, check_parity, check_reported
from tellapart.export.graph_cache import ExportedNetwork
from tellapart.export.references import torch_references
from tellapart.keyed import keyed_numbers
from tellapart.modelfile.card import ModelCard
from tellapart.modelfile.predictor import Predictor
from tellapart.modelfile.session import Session
from tellapart.pipeline.learned import Learned
from tellapart.pipeline.record import card_for
from tellapart.probe.head import build_head, calibrate, reference_directions
from tellapart.recipe import Recipe

GATE_IMAGES = 64
# test images whose reported answer is compared with the shipped file's, from the file on disk
REPORTED_IMAGES = 16
# training images whose embeddings the file holds, to measure how far a new one is from them
MOST_REFERENCES = 2000
MOST_REFERENCES_NUMBERS = 2_560_000  # in all of these embeddings together


@dataclass(frozen=True)
class Shipped:
    """A model file and its numbers.

    Args:
        network: with what must be said of its weights.
        model: the bytes.
        val, test: what the file says of these splits.
        metrics: of test.
        changed: images that were left out of a check, for they are no longer what they were.
    """

    network: ExportedNetwork
    model: bytes
    calibration: Calibration
    parity: Parity
    val: Predictions
    test: Predictions
    metrics: Metrics
    changed: tuple[str, ...]


def reference_rows(catalog: Catalog, splits: Column, width: int, seed: int) -> NDArray[np.int64]:
    """The train images whose embeddings, `width` numbers each, the file is to hold."""
    most = min(MOST_REFERENCES, max(1, MOST_REFERENCES_NUMBERS // width))
    return _chosen(catalog, np.flatnonzero(splits == "train"), most, "known", seed)


def ship(
    learned: Learned,
    catalog: Catalog,
    splits: Column,
    recipe: Recipe,
    store: FeatureStore,
    calibration: Calibration | None = None,
) -> Shipped:
    """Make the model file, and measure it.

    Args:
        learned: has looked at val, test and the known rows.
        splits: "" for images that are left out.
        calibration: found on out-of-fold answers; None: val decides.

    Raises:
        Refused: the file does not agree with torch; nothing may be written then.
    """
    network, features, seed = learned.network, learned.features, recipe.seed
    val_rows, test_rows = (np.flatnonzero(splits == split) for split in ("val", "test"))
    known = reference_directions(
        features.of(catalog, reference_rows(catalog, splits, learned.width, seed))
    )
    if calibration is None:
        val_features = features.of(catalog, val_rows)
        calibration = calibrate(
            learned.layers, val_features, catalog.labels[val_rows], known, recipe.answer
        )
    head = build_head(learned.layers, known, calibration)
    card = card_for(catalog, splits, network, recipe, calibration)
    model = compose_model(network.graph, network.preprocessing, head, card)

    checked = gate_rows(catalog, splits, seed)
    references, changed = torch_references(
        catalog,
        checked,
        network,
        features.graph_digest,
        store,
        learned.embed,
        recipe.decoding.max_pixels,
    )
    parity = check_parity(model, head, network.preprocessing, references)

    # The metrics are those of the shipped file: its own nodes behind the embedding, run on the
    # embeddings that its own nodes before it gave in the scan. For some test images that is held
    # against the whole file, from disk.
    tail = Session(cut_at(model, EMBEDDING, ["probabilities", "unfamiliarity"]))
    val, test = (
        _answers(tail, catalog, rows, learned, card.detects_unfamiliar)
        for rows in (val_rows, test_rows)
    )
    changed += check_reported(
        Predictor(model),
        catalog,
        _chosen(catalog, test_rows, REPORTED_IMAGES, "reported", seed),
        test,
    )
    metrics = measure_test(test, card, seed)
    return Shipped(network, model, calibration, parity, val, test, metrics, tuple(changed))


def measure_test(test: Predictions, card: ModelCard, seed: int) -> Metrics:
    """The numbers of the test split, beside those of always answering the largest class of
    train.
    """
    counts = np.array(card.train_counts)
    return measure(test, seed=seed, class_counts=counts)


def gate_rows(catalog: Catalog, splits: Column, seed: int) -> NDArray[np.int64]:
    """The images that the model file is held against torch on: of val, or of train where there is
    no val.
    """
    rows = np.flatnonzero(splits == ("val" if (splits == "val").any() else "train"))
    return _chosen(catalog, rows, GATE_IMAGES, "gate", seed)


def _chosen(
    catalog: Catalog, rows: NDArray[np.int64], most: int, purpose: str, seed: int
) -> NDArray[np.int64]:
    """At most `most` of the rows, chosen by seed and content."""
    return rows[
        np.argsort(keyed_numbers(seed, purpose, catalog.digests[rows]), kind="stable")[:most]
    ]


def _answers(
    tail: Session,
    catalog: Catalog,
    rows: NDArray[np.int64],
    learned: Learned,
    measures_distance: bool,
) -> Predictions:
    """What the model file says of one split."""
    answers = [
        tail.run(embedding[None], ["probabilities", "unfamiliarity"])
        for embedding in learned.features.of(catalog, rows)
    ]
    num_classes = len(catalog.classes)
    return Predictions(
        probs=np.array([probs[0] for probs, _ in answers], np.float32).reshape(-1, num_classes),
        labels=catalog.labels[rows],
        paths=tuple(catalog.paths[rows]),
        classes=catalog.classes,
        unfamiliarity=(
            np.array([far[0] for _, far in answers], np.float32) if measures_distance else None
        ),
    )
