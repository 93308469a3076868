"""The report of a gradient training: its curves, and whether fine-tuning paid."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import pytest

from helpers.pages import Page
from helpers.predictions import with_probs
from helpers.reports import make_predictions, make_report
from tellapart.evaluation.comparison import compare
from tellapart.report.parts.axes import LinearAxis
from tellapart.report.parts.curves import chart
from tellapart.report.run import confusion
from tellapart.report.run.epochs import section
from tellapart.report.run.page import ReportInput, render

HISTORY = tuple(
    {
        "epoch": epoch,
        "step": 10 * epoch,
        "lr": 0.01 / epoch,
        "loss": 2 / epoch,
        "val_loss": 2.5 / epoch,
    }
    | {"val_accuracy": 0.9 - 0.3 / epoch}
    for epoch in range(1, 6)
)


@pytest.fixture
def report(tmp_path: Path) -> ReportInput:
    return make_report(tmp_path)


def labels(page: Page) -> list[str]:
    return [
        str(attrs.get("aria-label"))
        for tag, attrs in page.tags
        if tag == "svg" and attrs.get("class") == "plot"
    ]


def test_a_probe_has_no_section_on_training(report: ReportInput):
    page = Page(render(report))
    assert "training" not in page.values("id")
    assert "#training" not in page.values("href")


def test_loss_accuracy_and_rate_are_drawn_by_epoch(report: ReportInput):
    page = Page(render(replace(report, history=HISTORY)))
    assert labels(page)[-3:] == [
        "Loss over epochs",
        "Accuracy over epochs, %",
        "Learning rate over epochs",
    ]
    assert "#training" in page.values("href")
    assert "5 epochs" in page.text


def test_a_legend_stands_where_the_heading_does_not_say_what_a_line_is():
    assert [one.needs_legend for one in section(HISTORY, (), None)["charts"]] == [True, True, False]


def test_the_loss_of_train_is_in_the_background():
    loss, accuracy, rate = section(HISTORY, (), None)["charts"]
    assert [(line.name, line.faint) for line in loss.lines] == [
        ("train, mean during the epoch", True),
        ("val", False),
    ]
    assert [(line.name, line.faint) for line in accuracy.lines] == [("val", False)]
    assert [line.faint for line in rate.lines] == [False]


def test_an_evaluated_train_split_is_drawn_instead_of_the_running_loss():
    history = [{**row, "train_loss": 0.5, "train_accuracy": 0.8} for row in HISTORY]
    loss, accuracy, _ = section(history, (), None)["charts"]
    assert (
        [line.name for line in loss.lines]
        == [line.name for line in accuracy.lines]
        == ["train", "val"]
    )


def test_without_val_the_loss_alone_is_drawn_and_not_faint():
    history = [{key: row[key] for key in ("epoch", "step", "lr", "loss")} for row in HISTORY]
    loss, rate = section(history, (), None)["charts"]
    assert [(line.name, line.faint) for line in loss.lines] == [
        ("train, mean during the epoch", False)
    ]
    assert rate.label == "Learning rate over epochs"


def test_another_metric_is_drawn_where_there_is_no_accuracy():
    history = [
        {"epoch": row["epoch"], "lr": 1.0, "loss": 1.0, "val_my_score": 2.0} for row in HISTORY
    ]
    assert section(history, (), None)["charts"][1].label == "My score over epochs"


def test_the_rate_of_every_step_is_drawn_where_it_is_known():
    rates = tuple((step / 100, 0.01 * step) for step in range(500))
    rate = section(HISTORY, rates, None)["charts"][-1]
    assert len(rate.lines[0].points.split()) == 500
    assert rate.dots == ()


def test_one_epoch_is_a_dot():
    charts = section(HISTORY[:1], (), None)["charts"]
    assert [len(one.dots) for one in charts] == [1, 1, 1]


def test_numbers_that_are_none_are_left_out():
    assert chart("", "", [("a", [(1, math.nan), (2, 1.0)], False)]).lines[0].points.count(",") == 1
    assert chart("", "", [("a", [(1, math.nan)], False)]) is None


@pytest.mark.parametrize(
    ("low", "high"), [(0.0, 1.0), (-3.0, 7.1), (1.2345, 1.2346), (1e-9, 4e-9), (5.0, 9e6)]
)
def test_an_axis_has_a_few_ticks_inside_the_plot(low: float, high: float):
    ticks = LinearAxis(low, high, 0, 100).ticks
    assert 2 <= len(ticks) <= 6
    assert len({tick.text for tick in ticks}) == len(ticks)
    assert all(0 <= tick.at <= 100 for tick in ticks)


def test_the_report_says_whether_fine_tuning_paid(report: ReportInput):
    rows = (report.catalog.splits == "test").nonzero()[0]
    probe = make_predictions(report.catalog, rows, strength=0.0)
    comparison = compare(
        probe, report.predictions, ("probe", "fine-tuned"), seconds=372, shipped="fine-tuned"
    )
    page = Page(render(replace(report, comparison=comparison)))
    text = " ".join(page.text.split())
    assert "Was fine-tuning worth it?" in text
    assert all(line in text for line in comparison.lines())
    assert re.search(r"fine-tuned ?shipped", text)


def test_any_images_are_shown_with_true_and_predicted_name(report: ReportInput):
    text = Page(render(report)).text
    assert "Random images 20" in text
    wrong = int((~report.predictions.correct).sum())
    assert (text.count("✗ "), text.count("✓ ")) == (wrong, 20 - wrong)


def test_the_images_are_picked_by_their_paths_alone(report: ReportInput):
    worse = with_probs(report.predictions, report.predictions.probs[:, ::-1])
    assert confusion.picks(worse).tolist() == confusion.picks(report.predictions).tolist()
