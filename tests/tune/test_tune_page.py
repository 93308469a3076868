"""The page and the table of a study."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from helpers.pages import HOSTILE, Page
from tellapart.evaluation.trial_row import TrialRow
from tellapart.report.tune.page import TuningInput, render_tuning, summary_lines
from tellapart.report.tune.parallel import parallel
from tellapart.report.tune.trial_table import trials_table
from tellapart.tables import write_table

ROWS = (
    TrialRow(
        number=0,
        state="finished",
        settings={"training.lr": 0.001, "backbone.name": HOSTILE},
        value=0.5,
        scores={"train_loss": 0.4, "val_loss": 0.5, "val_accuracy": 0.8},
        epochs=2,
        seconds=3.0,
    ),
    TrialRow(
        number=1,
        state="failed",
        settings={"training.lr": 0.1},
        value=math.nan,
        reason=f"no memory {HOSTILE}",
    ),
    TrialRow(
        number=2,
        state="finished",
        settings={"training.lr": 0.01, "backbone.name": "cnn"},
        value=0.2,
    ),
)


def page_input(**changes: Any) -> TuningInput:
    usual = {
        "title": HOSTILE,
        "created": "1 May 2025",
        "metric": "loss",
        "shown": "accuracy",
        "judged": "on val",
        "count": 40,
        "clusters": 40,
        "seed": 3,
        "keys": ("training.lr", "backbone.name"),
        "logs": frozenset({"training.lr"}),
        "rows": ROWS,
        "best": ROWS[2],
        "importances": {},
        "test": None,
        "elsewhere": None,
        "finals": 0,
        "ran": {"Recipe": HOSTILE},
    }
    return TuningInput(**{**usual, **changes})


def test_the_page_loads_nothing_and_holds_no_foreign_markup():
    page = Page(render_tuning(page_input(importances={"training.lr": 0.75, "backbone.name": 0.25})))
    assert all(value.startswith("#") for value in page.values("src", "href"))
    assert not [
        name for _, attrs in page.tags for name in attrs if name == "style" or name.startswith("on")
    ]
    assert "Trial 2 is the best of 3 trials: loss 0.2 on val (40 images, seed 3)." in page.text
    assert "no memory" in page.text


def test_the_page_of_a_study_without_a_finished_trial_says_so():
    page = Page(render_tuning(page_input(rows=ROWS[1:2], best=None)))
    assert "No trial has finished yet." in page.text


def test_too_few_trials_say_nothing_of_what_mattered():
    assert "2 finished trials are too few" in Page(render_tuning(page_input())).text


def test_a_second_look_at_test_is_told():
    score = SimpleNamespace(accuracy="90.0 % (80.0 to 95.0, 50 images)")
    lines = summary_lines(page_input(test=score, finals=2))
    assert any("Report this number" in line for line in lines)
    assert lines[-1] == "The test set has now been used 2 times."


def table_of(rows: Sequence[TrialRow], keys: Sequence[str], folder: Path) -> list[dict[str, str]]:
    write_table(folder / "trials.csv", *trials_table(rows, keys, "loss", "accuracy"))
    with (folder / "trials.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_table_for_other_programs_has_every_number_in_full(tmp_path: Path):
    rows = table_of(ROWS, ["training.lr", "backbone.name"], tmp_path)
    assert [row["trial"] for row in rows] == ["0", "1", "2"]
    assert rows[0]["val_accuracy"] == "0.8" and rows[0]["backbone.name"] == HOSTILE
    assert rows[1]["val_loss"] == rows[1]["val_loss_chosen"] == rows[1]["epochs"] == ""
    assert rows[1]["state"] == "failed" and rows[0]["seconds"] == "3.0"


def test_the_table_tells_a_setting_that_is_none_from_one_that_does_not_count(tmp_path: Path):
    every = ({"head.hidden": ""}, {"head.hidden": None}, {"head.hidden": "8"}, {})
    rows = [
        TrialRow(number=n, state="finished", settings=of, value=0.5) for n, of in enumerate(every)
    ]
    assert [row["head.hidden"] for row in table_of(rows, ["head.hidden"], tmp_path)] == [
        "none",
        "none",
        "8",
        "",
    ]


def test_the_table_holds_no_formula(tmp_path: Path):
    row = TrialRow(
        number=0, state="failed", settings={"backbone.name": "@cnn"}, value=math.nan, reason="=1+1"
    )
    (cells,) = table_of([row], ["backbone.name"], tmp_path)
    assert (cells["backbone.name"], cells["reason"]) == ("'@cnn", "'=1+1")


@pytest.mark.parametrize(
    "name", ["cnn", "tf_efficientnet_lite0", "a_network_with_a_very_long_name"]
)
def test_the_labels_of_the_first_rail_have_room(name: str):
    rows = [
        TrialRow(
            number=number,
            state="finished",
            settings={"backbone.name": backbone, "training.lr": 0.1},
            value=0.2,
        )
        for number, backbone in enumerate(("cnn", name))
    ]
    drawn = parallel(rows, ["backbone.name", "training.lr"], frozenset(), "loss", rows[0])
    assert drawn is not None
    first, *others = drawn.rails
    assert (
        first.x >= 6 * max(len(tick.text) for tick in first.ticks) + 6
    )  # a letter is about 6 px, the label 6 px away
    assert [point.split(",")[0] for point in drawn.strands[0].points.split()] == [
        str(rail.x) for rail in drawn.rails
    ]
    assert drawn.width > others[-1].x
