"""From a trained model to the file that is shipped: calibrated, held against torch, measured
on test.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tellapart.cache import FeatureStore
from tellapart.catalog.duplicates import clusters
from tellapart.catalog.table import Catalog
from tellapart.evaluation.calibration import Calibration
from tellapart.evaluation.drift import Reference
from tellapart.evaluation.metrics import Metrics, measure
from tellapart.evaluation.predictions import Predictions
from tellapart.evaluation.rule import Costs, read_costs
from tellapart.export.compose import EMBEDDING, Head, compose_model, cut_at
from tellapart.export.gate import Parity, check_parity, check_reported
from tellapart.export.graph_cache import ExportedNetwork
from tellapart.export.references import own_references, torch_references
from tellapart.keyed import keyed_numbers
from tellapart.modelfile.card import ModelCard
from tellapart.modelfile.familiarity import Subspace
from tellapart.modelfile.layers import Layers
from tellapart.modelfile.licences import licence_facts
from tellapart.modelfile.predictor import Predictor
from tellapart.modelfile.session import Session
from tellapart.pipeline.probe import TrainedModel
from tellapart.pipeline.reference import reference_of
from tellapart.pipeline.used_images import seen_images
from tellapart.probe.familiarity import fit_subspace
from tellapart.probe.head import HeldAnswers, build_head, calibrate
from tellapart.recipe import Recipe, recipe_values
from tellapart.runs.identity import VERSION

GATE_IMAGES = 64
REPORTED_IMAGES = 16  # test images whose reported answer is compared with the file's, from disk
MOST_REFERENCES = 2000  # train images that the subspace of familiar images is fitted on
MOST_REFERENCE_NUMBERS = 2_560_000  # in all of their embeddings together


@dataclass(frozen=True, kw_only=True)
class Shipped:
    """A model file and its numbers.

    Args:
        network: the backbone, with what must be said of its weights. An ensemble has no graph here.
        model: the bytes of the model file.
        card: what the model file says of itself.
        layers: the calibrated head; None where several models share the file.
        calibration: what was decided on val, or out of fold.
        parity: how far the file is from torch.
        val: the file's predictions for the val split.
        out_of_fold: calibrated predictions for train images, each by a head that was not fitted on
            it. Empty where no folds were made.
        test: the file's predictions for the test split.
        metrics: of the test split; NaN without test images.
        changed: images that were left out of a check, because they are no longer what they were.
    """

    network: ExportedNetwork
    model: bytes
    card: ModelCard
    layers: Layers | None
    calibration: Calibration
    parity: Parity
    val: Predictions
    out_of_fold: Predictions
    test: Predictions
    metrics: Metrics
    changed: tuple[str, ...]


def card_for(
    catalog: Catalog, network: ExportedNetwork, recipe: Recipe, calibration: Calibration
) -> ModelCard:
    """The model file's card. It names neither time nor place: equal trainings give equal files."""
    values = json.dumps(recipe_values(recipe), sort_keys=True)
    return ModelCard(
        classes=catalog.classes,
        preprocessing=network.preprocessing,
        temperature=calibration.temperature,
        calibration_count=calibration.count,
        rule=calibration.rule,
        sets=calibration.sets,
        detects_unfamiliar=calibration.unfamiliar_distance is not None,
        train_counts=tuple(catalog.counts(catalog.splits == "train").tolist()),
        backbone=recipe.backbone.name,
        decoding=catalog.rules,
        digests={
            "recipe": hashlib.sha256(values.encode()).hexdigest(),
            "catalog": catalog.digest,
            "weights": network.digest,
            **({"fixes": catalog.fixes.fixes.digest} if catalog.fixes else {}),
        },
        licences=licence_facts(network.licence, network.source),
        versions={"tellapart": VERSION, **network.versions},
        seen=seen_images(catalog, recipe.seed),
        precision=network.precision,
    )


def reference_rows(catalog: Catalog, width: int, seed: int) -> NDArray[np.int64]:
    """The train images that the subspace is fitted on; an embedding has `width` numbers."""
    most = min(MOST_REFERENCES, max(1, MOST_REFERENCE_NUMBERS // width))
    # The key stays "known": it is part of which images a seed chooses.
    return _chosen(catalog, catalog.split("train"), most, "known", seed)


def measured_rows(catalog: Catalog, width: int, seed: int) -> NDArray[np.int64]:
    """The rows whose embeddings `ship` needs: val, test and the reference images."""
    measured = np.flatnonzero(np.isin(catalog.splits, ("val", "test")))
    return np.concatenate([measured, reference_rows(catalog, width, seed)])


def ship(
    model: TrainedModel,
    catalog: Catalog,
    recipe: Recipe,
    store: FeatureStore,
    calibration: Calibration | None = None,
    reference: Reference | None = None,
) -> Shipped:
    """Make the model file, hold it against torch, and measure it.

    Args:
        model: has embedded `measured_rows`.
        catalog: with its splits; "" for images that are left out.
        calibration: found by a cross-validation. None means that val and the model's own
            out-of-fold answers decide.
        reference: for the model file, where the model itself answered no image that it was not
            fitted on.

    Raises:
        Refused: the file does not agree with torch. Nothing may be written then.
    """
    network, features, seed = model.network, model.features, recipe.seed
    val_rows, test_rows = catalog.split("val"), catalog.split("test")
    own_answers = calibration is None
    head, calibration, own_reference = _calibrated(model, catalog, recipe, calibration)
    reference = own_reference or reference
    card = replace(card_for(catalog, network, recipe, calibration), reference=reference)
    file = compose_model(network.graph, network.preprocessing, head, card)

    rows = gate_rows(catalog, seed)
    if network.precision == "int8":
        references, changed, own = own_references(catalog, rows, file, model.embed)
    else:
        key, own = features.graph_digest, None
        references, changed = torch_references(catalog, rows, network, key, store, model.embed)
    parity = check_parity(file, head, network.preprocessing, references, own)

    # The metrics are those of the shipped file: its own nodes behind the embedding run on the
    # embeddings that its own nodes before it gave in the scan. For some test images this is held
    # against the whole file, from disk.
    tail = Session(cut_at(file, EMBEDDING, ["probabilities", "unfamiliarity"]))
    val, test = (_predictions(tail, catalog, rows, model, card) for rows in (val_rows, test_rows))
    reported = _chosen(catalog, test_rows, REPORTED_IMAGES, "reported", seed)
    changed += check_reported(Predictor(file), catalog, reported, test)
    metrics = measure_test(test, card, seed)
    return Shipped(
        network=network,
        model=file,
        card=card,
        layers=head.layers,
        calibration=calibration,
        parity=parity,
        val=val,
        out_of_fold=(
            _out_of_fold(model, catalog, calibration) if own_answers else no_predictions(catalog)
        ),
        test=test,
        metrics=metrics,
        changed=tuple(changed),
    )


def calibrated_head(
    model: TrainedModel, catalog: Catalog, recipe: Recipe
) -> tuple[Head, Calibration]:
    """The head of the model file, and what decided its temperature and thresholds."""
    head, calibration, _ = _calibrated(model, catalog, recipe, None)
    return head, calibration


def _calibrated(
    model: TrainedModel, catalog: Catalog, recipe: Recipe, calibration: Calibration | None
) -> tuple[Head, Calibration, Reference | None]:
    """The head, its calibration, and what it answers to images that it was not fitted on; None
    where it has no such answers.
    """
    rows = reference_rows(catalog, model.width, recipe.seed)
    subspace = fit_subspace(model.features.of(catalog, rows))
    held_rows, answers = _held_answers(model, catalog, rows, subspace)
    if calibration is None:
        shares, costs = class_shares(catalog, recipe), class_costs(catalog, recipe)
        calibration = calibrate(answers, recipe.answer, shares, costs)
    reference = reference_of(catalog, held_rows, answers, calibration)
    return build_head(model.layers, subspace, calibration), calibration, reference


def class_costs(catalog: Catalog, recipe: Recipe) -> Costs | None:
    """What mistakes cost, where the recipe says it.

    Raises:
        UserError: `answer.costs` does not fit the classes.
    """
    return read_costs(recipe.answer.costs, catalog.classes)


def class_shares(catalog: Catalog, recipe: Recipe) -> NDArray[np.float64] | None:
    """(C,) the shares of the classes in train, where the recipe hides them from the model; else
    None.
    """
    counts = catalog.counts(catalog.splits == "train")
    return counts / counts.sum() if recipe.balances else None


def held_out_rows(model: TrainedModel, catalog: Catalog) -> NDArray[np.bool_]:
    """(M,) which of the model's out-of-fold answers are of images that are still used."""
    if model.held_out is None:
        return np.zeros(0, bool)
    return np.asarray(catalog.splits[model.held_out.rows] == "train")


def _held_answers(
    model: TrainedModel, catalog: Catalog, references: NDArray[np.int64], subspace: Subspace
) -> tuple[NDArray[np.int64], HeldAnswers]:
    """The images, but for those of test, that the head has an answer to without being fitted on
    them; and these answers.
    """
    features, val = model.features, catalog.split("val")
    embeddings = features.of(catalog, val)
    rows, logits = [val], [model.layers.logits(embeddings)]
    residuals = [subspace.residuals(embeddings)]
    if model.held_out is not None:
        used, held_out = held_out_rows(model, catalog), model.held_out
        fold_of = held_out.folds_in(catalog)
        for fold in np.unique(held_out.fold_of).tolist():
            # Neither the head nor the subspace of an answer knows the image's own fold.
            chosen = used & (held_out.fold_of == fold)
            others = references[fold_of[references] != fold]
            without = fit_subspace(features.of(catalog, others))
            rows.append(held_out.rows[chosen])
            logits.append(held_out.logits[chosen])
            residuals.append(without.residuals(features.of(catalog, held_out.rows[chosen])))
    every = np.concatenate(rows)
    return every, HeldAnswers(
        np.concatenate(logits),
        catalog.labels[every],
        clusters(catalog)[every],
        np.concatenate(residuals),
    )


def _out_of_fold(model: TrainedModel, catalog: Catalog, calibration: Calibration) -> Predictions:
    """The model's own out-of-fold answers, calibrated as the model file is."""
    if model.held_out is None:
        return no_predictions(catalog)
    used = held_out_rows(model, catalog)
    rows = model.held_out.rows[used]
    probs = calibration.scaling.probabilities(model.held_out.logits[used])
    return Predictions(
        probs,
        catalog.labels[rows],
        tuple(catalog.paths[rows]),
        catalog.classes,
        clusters=clusters(catalog)[rows],
        answers=calibration.rule.answers(probs),
    )


def no_predictions(catalog: Catalog) -> Predictions:
    """Predictions of no image."""
    num_classes = len(catalog.classes)
    return Predictions(
        np.zeros((0, num_classes), np.float32), np.zeros(0, np.int64), (), catalog.classes
    )


def measure_test(test: Predictions, card: ModelCard, seed: int) -> Metrics:
    """The numbers of the test split, beside those of always answering the largest train class."""
    return measure(test, seed=seed, class_counts=np.array(card.train_counts))


def gate_rows(catalog: Catalog, seed: int) -> NDArray[np.int64]:
    """The images that the model file is held against torch on: of val, or of train without val."""
    val = catalog.split("val")
    return _chosen(catalog, val if len(val) else catalog.split("train"), GATE_IMAGES, "gate", seed)


def _chosen(
    catalog: Catalog, rows: NDArray[np.int64], most: int, purpose: str, seed: int
) -> NDArray[np.int64]:
    """At most `most` of the rows, chosen by seed and content."""
    order = np.argsort(keyed_numbers(seed, purpose, catalog.digests[rows]), kind="stable")
    return rows[order[:most]]


def _predictions(
    tail: Session,
    catalog: Catalog,
    rows: NDArray[np.int64],
    model: TrainedModel,
    card: ModelCard,
) -> Predictions:
    """The model file's predictions for some rows."""
    outputs = [
        tail.run(embedding[None], ["probabilities", "unfamiliarity"])
        for embedding in model.features.of(catalog, rows)
    ]
    far = np.array([unfamiliarity[0] for _, unfamiliarity in outputs], np.float32)
    probs = np.array([probs[0] for probs, _ in outputs], np.float32).reshape(
        -1, len(catalog.classes)
    )
    return Predictions(
        probs=probs,
        labels=catalog.labels[rows],
        paths=tuple(catalog.paths[rows]),
        classes=catalog.classes,
        unfamiliarity=far if card.detects_unfamiliar else None,
        clusters=clusters(catalog)[rows],
        answers=card.rule.answers(probs),
    )
