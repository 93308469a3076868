"""The sections of a report that say what to do: thresholds, curves, more images, and its facts."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from helpers.documentation import FOLDER
from helpers.pages import HOSTILE, Page
from helpers.reports import make_report
from tellapart.evaluation.calibration_check import chance_bands
from tellapart.evaluation.curves import class_curves
from tellapart.evaluation.learning_curve import fit_learning_curve
from tellapart.evaluation.metrics import measure
from tellapart.evaluation.predictions import Predictions
from tellapart.evaluation.slices import measure_slices
from tellapart.evaluation.sweep import sweep
from tellapart.options import HeadOptions
from tellapart.probe.learning_curve import learning_curve
from tellapart.report.run.evidence import Evidence
from tellapart.report.run.facts import finite, report_facts
from tellapart.report.run.input import ReportInput
from tellapart.report.run.model_card import model_card
from tellapart.report.run.page import render
from tellapart.runs.neighbours import Neighbour


@pytest.fixture
def report(tmp_path: Path) -> ReportInput:
    return make_report(tmp_path)


def answers(confidences: list[float], right: list[bool], **columns: object) -> Predictions:
    """Answers ‘cat’ of these confidences, some of them right."""
    sure = np.array(confidences, np.float32)
    paths = tuple(f"{row}.jpg" for row in range(len(sure)))
    labels = np.where(right, 0, 1)
    return Predictions(np.stack([sure, 1 - sure], axis=1), labels, paths, ("cat", "dog"), **columns)


# ── the threshold moved by hand ──


def test_a_threshold_counts_what_goes_to_a_person_and_what_stays_wrong():
    swept = sweep(answers([0.9, 0.8, 0.6, 0.55], [True, False, True, False]))
    place = swept.place(0.7)
    assert (swept.unanswered[place], swept.wrong[place]) == (2, 1)
    assert swept.line(place) == (
        "At 70 %, 2 of 4 images go to a person, and 1 of 2 answers is wrong."
    )


def test_an_unfamiliar_image_goes_to_a_person_at_every_threshold():
    strange = np.array([2.0, 0.5], np.float32)
    swept = sweep(answers([0.9, 0.8], [False, True], unfamiliarity=strange))
    assert set(swept.unanswered[:50]) == {1}
    assert set(swept.wrong) == {0}


def test_a_confidence_on_the_shipped_threshold_is_answered():
    swept = sweep(answers([0.7], [True]), float(np.float32(0.7)))
    assert swept.unanswered[swept.place(0.7)] == 0


def test_the_page_offers_the_thresholds_to_its_script(report: ReportInput):
    page = Page(render(report))
    place = int(page.values("data-sweep")[0])
    assert page.content["sweep"]["thresholds"][place] == report.rule.threshold
    assert f"{page.content['sweep']['asked'][place]} of 20 images" in page.text


# ── curves of the classes ──


def test_a_class_that_is_told_apart_has_full_areas():
    curve = class_curves(answers([0.9, 0.8, 0.2, 0.1], [True, True, False, False]), 1)[0]
    assert (curve.average_precision, curve.auroc) == (1.0, 1.0)
    assert (curve.found[49], curve.others[49]) == (2, 0)


def test_equal_probabilities_are_found_together():
    curve = class_curves(answers([0.5, 0.5], [True, False]), 1)[0]
    assert (curve.recall.tolist(), curve.precision.tolist()) == ([1.0], [0.5])


def test_the_areas_are_those_of_scikit_learn():
    from sklearn.metrics import average_precision_score, roc_auc_score

    rng = np.random.default_rng(0)
    sure, right = rng.random(200).round(2), rng.random(200) < 0.4
    curve = next(
        curve
        for curve in class_curves(answers(sure.tolist(), right.tolist()), 2)
        if curve.name == "cat"
    )
    score = sure.astype(np.float32)
    assert curve.average_precision == pytest.approx(average_precision_score(right, score))
    assert curve.auroc == pytest.approx(roc_auc_score(right, score))


def test_a_class_without_images_has_no_curve():
    assert class_curves(answers([0.9, 0.8], [True, True]), 2) == []


def test_without_curves_no_link_leads_to_them(report: ReportInput):
    first = report.predictions.rows(report.predictions.labels == 0)
    page = Page(render(replace(report, predictions=first, metrics=measure(first))))
    assert "#curves" not in page.values("href")
    assert "curves" not in page.values("id")


# ── what chance alone gives ──


def test_true_confidences_lie_within_the_band_19_times_out_of_20():
    rng = np.random.default_rng(0)
    sure = rng.uniform(0.5, 1, (40, 300))
    drawn = [answers(row.tolist(), (rng.random(300) < row).tolist()) for row in sure]
    inside = [_inside(predictions) for predictions in drawn]
    assert 0.92 < np.concatenate(inside).mean() < 0.99


def _inside(predictions: Predictions) -> np.ndarray:
    from tellapart.evaluation.calibration import reliability

    low, high = chance_bands(predictions).T
    table = reliability(predictions)
    known = table.counts > 20
    return ((low <= table.accuracy) & (table.accuracy <= high))[known]


# ── more images ──


def test_a_steeper_curve_promises_more():
    images = np.arange(400)
    steep, flat = (
        fit_learning_curve([100, 200, 400], np.array(wrong)[:, None] <= images, images, 400)
        for wrong in ([160, 80, 40], [50, 45, 40])
    )
    assert steep.gain.value > 2 * flat.gain.value > 0
    assert steep.gain.low < steep.gain.value < steep.gain.high


def test_two_sizes_are_too_few_for_a_slope():
    assert fit_learning_curve([10, 20], np.ones((2, 5), bool), np.arange(5), 20) is None


def test_heads_of_more_images_are_right_more_often():
    rng = np.random.default_rng(0)
    labels = np.arange(240) % 3
    features = (np.eye(8)[labels] * 2 + rng.normal(size=(240, 8))).astype(np.float32)
    found = learning_curve(
        features, labels, np.arange(240) % 2, np.arange(240), 3, 0.1, HeadOptions()
    )
    assert found.sizes == (9, 15, 30, 60, 120)
    assert found.accuracies[-1].value > found.accuracies[0].value


def test_clusters_are_learned_from_whole():
    labels = np.zeros(200, np.int64) + np.arange(200) // 100
    features = np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32)
    clusters = np.arange(200) // 20
    fold_of = clusters % 2
    found = learning_curve(features, labels, fold_of, clusters, 2, 0.1, HeadOptions())
    assert set(np.array(found.sizes) % 20) == {0}


def test_the_page_says_what_twice_as_many_images_would_bring_about(report: ReportInput):
    images = np.arange(400)
    right = np.array([160, 80, 40])[:, None] <= images
    curve = fit_learning_curve([100, 200, 400], right, images, 400)
    page = Page(render(replace(report, learning=curve)))
    assert "Twice as many images, 800 instead of 400, would bring about" in page.text
    assert curve.line in page.text


# ── the facts and the card ──


def test_the_facts_are_those_of_the_page(report: ReportInput):
    facts, page = report_facts(report), Page(render(report))
    assert " ".join(facts["verdict"].split()) in " ".join(page.text.split())
    assert all(question["answer"] in page.text for question in facts["questions"])
    assert facts["scores"]["accuracy"]["value"] == report.metrics.accuracy.value
    assert facts["errors"]["count"] == int((~report.predictions.correct).sum())


def test_every_report_has_all_keys_that_the_documentation_names(report: ReportInput):
    rows = re.findall(r"^\| (`.+?`) \|", (FOLDER / "reference" / "report.md").read_text(), re.M)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    bare = replace(report, predictions=None, metrics=None, val_predictions=None)
    assert named == report_facts(report).keys() == report_facts(bare).keys()


def test_the_facts_are_json_without_odd_numbers(report: ReportInput):
    assert json.dumps(finite(report_facts(report)), allow_nan=False)


def test_the_facts_name_the_training_images_that_are_like_an_image(report: ReportInput):
    near = Neighbour("train/cat/1.jpg", "cat", "train", "0" * 64, 0.75)
    report = replace(report, evidence={"x.jpg": Evidence("cat", nearest=(near,))})
    named = {"path": "train/cat/1.jpg", "label": "cat", "similarity": 0.75}
    assert report_facts(report)["nearest"] == {"x.jpg": [named]}


def test_each_question_leads_to_a_section(report: ReportInput):
    page = Page(render(report))
    anchors = {question["section"] for question in report_facts(report)["questions"]}
    assert len(report_facts(report)["questions"]) == 5
    assert anchors <= set(page.values("id"))


def test_the_card_has_the_headings_of_the_field(report: ReportInput):
    headings = re.findall(r"^## (.+)$", model_card(report), re.M)
    assert headings[:3] == ["Model details", "Intended use", "Limits, risks and recommendations"]
    assert {"Training data", "Evaluation", "Calibration", "Licence"} <= set(headings)


def test_the_card_gives_scores_with_their_intervals(report: ReportInput):
    accuracy = report.metrics.accuracy
    row = next(line for line in model_card(report).splitlines() if line.startswith("| Accuracy"))
    assert f"{100 * accuracy.value:.1f}" in row
    assert f"{100 * accuracy.low:.1f} to {100 * accuracy.high:.1f}" in row


def test_a_hostile_name_stays_text_in_the_card(report: ReportInput):
    card = model_card(replace(report, title=f"{HOSTILE} | # x"))
    assert "\\<img src=x" in card
    assert HOSTILE not in card.partition("---\n\n")[2]


# ── slices ──


def test_a_slice_that_fails_is_named_and_answers_for_the_night(report: ReportInput):
    brightness = np.arange(100.0)
    shown = answers([0.9] * 100, (brightness >= 20).tolist())
    found = measure_slices(shown, {"brightness": brightness}, np.ones(100, bool))
    page = Page(render(replace(report, slices=found)))
    assert "Images with brightness 0 to 19 are right less often: 0.0 %" in page.text
    assert "Of the 20 darkest test images 0.0\u202f% are right" in page.text
