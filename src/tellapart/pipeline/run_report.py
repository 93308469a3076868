"""The report of a run, made from what is kept in its folder: the pages that `train` and `report` write."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tellapart.catalog.files import Files
from tellapart.catalog.findings import Finding
from tellapart.catalog.table import Catalog
from tellapart.decoders.verdict import Decoded
from tellapart.errors import Refused
from tellapart.evaluation.abstention import familiar_promise
from tellapart.evaluation.fold_scores import FoldScores
from tellapart.evaluation.kept_scores import (
    comparison_from,
    learning_curve_from,
    left_out_from,
    metrics_from,
    threshold_from,
)
from tellapart.evaluation.predictions import Predictions
from tellapart.evaluation.rule import AnswerRule
from tellapart.evaluation.slices import Slices, measure_slices
from tellapart.modelfile.card import ModelCard
from tellapart.modelfile.licences import in_words
from tellapart.modelfile.predictor import load
from tellapart.pipeline.fold_record import read_scores
from tellapart.pipeline.kept_facts import KeptFacts, read_facts
from tellapart.pipeline.report_evidence import evidence_of
from tellapart.recipe import flat_items
from tellapart.report.run.audit import Audit, audit_from
from tellapart.report.run.facts import finite, report_facts
from tellapart.report.run.input import ReportInput
from tellapart.report.run.model_card import model_card
from tellapart.report.run.page import render
from tellapart.report.run.robustness import stress_from
from tellapart.runs.folder import RunFolder
from tellapart.runs.history import past_run, read_history, read_settings
from tellapart.runs.saved_catalog import read_catalog
from tellapart.runs.saved_columns import read_slice_columns
from tellapart.runs.saved_predictions import read_predictions

REPORT, FACTS_OF_PAGE, MODEL_CARD = "report.html", "report.json", "model-card.md"
STRESS, AUDIT, FINDINGS = "stress.json", "audit/audit.json", "audit/findings.jsonl"
_EARLIER = (
    "An earlier tellapart made this run. It did not keep how the data was recognised, nor which"
    " images a note is about."
)


class NoFiles:
    """The files of a run whose images are not where they were: each is missing."""

    place = ""

    def read(self, path: str) -> bytes | Decoded:
        """The verdict that there is no such file."""
        return Decoded("missing")

    def stamp(self, path: str) -> tuple[str, float]:
        """Nothing is known of it."""
        return "", 0.0


class UnchangedFiles:
    """The files of a run that are what they were: a changed one has no picture.

    Args:
        files: where the images are read from.
        digests: path → SHA-256 of the content that the run saw.
    """

    def __init__(self, files: Files, digests: Mapping[str, str]) -> None:
        self._files, self._digests = files, digests
        self.place = files.place

    def read(self, path: str) -> bytes | Decoded:
        """The bytes of an image, or why there are none."""
        data = self._files.read(path)
        if isinstance(data, bytes) and hashlib.sha256(data).hexdigest() != self._digests.get(path):
            return Decoded("changed")
        return data

    def stamp(self, path: str) -> tuple[str, float]:
        """As the files have it."""
        return self._files.stamp(path)


@dataclass(frozen=True)
class KeptFolds:
    """A cross-validation, as its run folder tells of it; for `FoldedRun`."""

    scores: FoldScores
    sentences: tuple[str, ...]
    members: int
    histories: Mapping[str, Sequence[Mapping[str, float]]]
    experiment: Mapping[str, str]


def write_pages(run: RunFolder, files: Files, no_pictures: str = "") -> ReportInput:
    """Make the report of a run from what its folder keeps, and write it there.

    Args:
        run: the folder, with all but the report and the log.
        files: where the images are read from.
        no_pictures: why there are no images, in a sentence; "" where they are there.

    Returns:
        What the pages say.

    Raises:
        Refused: a file of the run is gone or damaged.
    """
    report = read_report(run, files, no_pictures)
    run.write(REPORT, render(report))
    run.write_json(FACTS_OF_PAGE, finite(report_facts(report)))
    run.write(MODEL_CARD, model_card(report))
    return report


def read_report(run: RunFolder, files: Files, no_pictures: str = "") -> ReportInput:
    """All that the report of a run says, read from its folder.

    Args:
        run: the folder.
        files: where the images are read from.
        no_pictures: why there are no images, in a sentence; "" where they are there.

    Raises:
        Refused: a file of the run is gone or damaged.
    """
    record, settings = run.read_json("metrics.json"), read_settings(run.place)
    facts = read_facts(run) or _facts_of_earlier(run, record)
    try:
        report = _input(run, record, settings, facts, files, no_pictures)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise Refused(
            f"{run.path / 'metrics.json'} is gone or damaged ({type(error).__name__}).",
            "Put a good copy there.",
        ) from error
    if no_pictures or (shown := report.shown) is None:
        return report
    learned_from = shown is report.out_of_fold
    return replace(report, evidence=evidence_of(run.place, report.catalog, shown, learned_from))


def _input(
    run: RunFolder,
    record: Mapping[str, Any],
    settings: Mapping[str, Any],
    facts: KeptFacts,
    files: Files,
    no_pictures: str,
) -> ReportInput:
    catalog = _catalog(run, facts, files)
    test, val = (read_predictions(run.place / f"predictions-{name}.parquet") for name in _MEASURED)
    calibration = record["calibration"]
    rule = AnswerRule.from_json(calibration["rule"])
    return ReportInput(
        title=facts.title,
        created=facts.created,
        catalog=catalog,
        findings=tuple(finding for finding in facts.findings if finding.kind != "rejected"),
        predictions=test if len(test) else None,
        val_predictions=val if len(val) else None,
        metrics=metrics_from(record["test"]) if len(test) else None,
        threshold=threshold_from(calibration["threshold"]),
        rule=rule,
        temperature=calibration["temperature"],
        history=tuple(read_history(run.place)),
        rates=facts.rates,
        comparison=comparison_from(record.get("comparison")),
        folds=_folds(run, record, facts),
        out_of_fold=_out_of_fold(run),
        left_out=left_out_from(record.get("unfamiliar", {}).get("left_out")),
        familiar_shares=_familiar_shares(calibration, settings),
        model=facts.model,
        provenance=_provenance(run, record, settings, catalog),
        learning=learning_curve_from(record.get("learning_curve")),
        slices=_slices(run, test, rule),
        audit=_audit(run),
        stress=stress_from(run.read_json(STRESS)) if run.has(STRESS) else None,
        licence=facts.licence,
        no_pictures=no_pictures,
    )


_MEASURED = ("test", "val")


def _catalog(run: RunFolder, facts: KeptFacts, files: Files) -> Catalog:
    catalog = read_catalog(
        run, files, source=facts.source, unused=facts.unused, rules=facts.decoding
    )
    digests = dict(zip(catalog.paths.tolist(), catalog.digests.tolist(), strict=True))
    unchanged = files if isinstance(files, NoFiles) else UnchangedFiles(files, digests)
    return catalog.replace(files=unchanged, ignored=facts.ignored)


def _folds(run: RunFolder, record: Mapping[str, Any], facts: KeptFacts) -> KeptFolds | None:
    kept = record.get("folds")
    if not kept:
        return None
    return KeptFolds(
        scores=read_scores(run, kept),
        sentences=tuple(kept["model"]["text"]),
        members=int(kept["model"].get("members", 0)),
        histories=facts.histories,
        experiment=facts.experiment,
    )


def _slices(run: RunFolder, test: Predictions, rule: AnswerRule) -> Slices | None:
    """How the test images are answered slice by slice; None where there are none."""
    if not len(test):
        return None
    answered = rule.decide(test.probs, test.unfamiliarity) == "answered"
    return measure_slices(test, read_slice_columns(run.place, test.paths), answered)


def _audit(run: RunFolder) -> Audit | None:
    """What an audit of the run found, if one was made."""
    if not run.has(AUDIT):
        return None
    try:
        text = (run.place / FINDINGS).read_text(encoding="utf-8")
        findings = [json.loads(line) for line in text.splitlines() if line.strip()]
        return audit_from(run.read_json(AUDIT), findings)
    except (OSError, KeyError, TypeError, ValueError):
        raise Refused(
            f"{run.path / FINDINGS} is gone or damaged.",
            f"Audit it anew: tellapart audit {run.path}",
        ) from None


def _out_of_fold(run: RunFolder) -> Predictions | None:
    """Predictions for train images by models that were not fitted on them, if there are any."""
    if run.has("predictions-folds.parquet"):
        import polars

        file = run.place / "predictions-folds.parquet"
        first = polars.read_parquet(file, columns=["repeat"])["repeat"].to_numpy() == 1
        return read_predictions(file).rows(first)
    file = run.place / "predictions-train.parquet"
    return read_predictions(file) if file.exists() else None


def _familiar_shares(
    calibration: Mapping[str, Any], settings: Mapping[str, Any]
) -> tuple[float, float] | None:
    """The share of images that should count as familiar, and the share that can be promised."""
    if calibration["unfamiliar_distance"] is None:
        return None
    asked = float(settings.get("answer.familiar_share", 0.99))
    return asked, familiar_promise(int(calibration["clusters"]), asked)


def _provenance(
    run: RunFolder, record: Mapping[str, Any], settings: Mapping[str, Any], catalog: Catalog
) -> dict[str, dict[str, str]]:
    environment, training = run.read_json("environment.json"), record.get("training")
    return {
        "Data": {
            "Recognised as": catalog.source or "not kept",
            "Catalog": catalog.digest,
            "Splits": record["splits"]["hash"],
            **({"Fixes": record["fixes"]["digest"]} if record.get("fixes") else {}),
        },
        **({"Preset": _preset_facts(record["preset"])} if record.get("preset") else {}),
        "Recipe": _flat(settings),
        **({"Training": _flat(training)} if training else {}),
        "Environment": _flat(environment),
        "Time": {step: f"{value:.1f} s" for step, value in record["seconds"].items()},
    }


def _facts_of_earlier(run: RunFolder, record: Mapping[str, Any]) -> KeptFacts:
    """What can be known of a run that an earlier tellapart made, which wrote no facts.json."""
    card, past = load(run.place).card, past_run(run.place)
    texts = dict.fromkeys([_EARLIER, *record.get("warnings", ())])
    return KeptFacts(
        title=past.name,
        created=past.date,
        source="",
        ignored={},
        unused=(),
        decoding=card.decoding,
        findings=tuple(Finding("remark", text) for text in texts),
        model=_facts_of_card(card, (run.place / "model.onnx").stat().st_size),
        licence=card.licences.get("weights", ""),
    )


def _facts_of_card(card: ModelCard, size: int) -> dict[str, str]:
    source, digest = card.licences.get("weights source", ""), card.digests.get("weights", "")
    return {
        "Backbone": card.backbone,
        "Weights": f"{source}, SHA-256 {digest[:16]}…",
        "Licence of the weights": in_words(card.licences.get("weights", "")),
        "Preprocessing": str(card.preprocessing),
        "Size of the file": f"{size / 1e6:.1f} MB",
        "Precision": card.precision,
    }


def _preset_facts(preset: Mapping[str, Any]) -> dict[str, str]:
    """What a preset chose and measured, for the report."""
    measured = {
        row["name"]: f"{100 * row['accuracy']['value']:.1f} % out of fold, {row['ms']:.3g} ms"
        for row in preset["measured"]
    }
    skipped = {name: f"not measured. {reason}" for name, reason in preset["skipped"].items()}
    return {"Name": preset["preset"], "Choice": preset["why"], **measured, **skipped}


def _flat(values: Mapping[str, object]) -> dict[str, str]:
    return {
        key: ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        for key, value in flat_items(values)
        if value not in (None, "")
    }
