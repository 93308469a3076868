"""Drift: a change is told where chance does not explain it, and nothing else is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars
import pytest

import tellapart
from tellapart import UserError
from tellapart.evaluation.drift import (
    Counts,
    Reference,
    chi_squared_tail,
    differences,
    make_reference,
)

NAMES = ("answered", "unsure")


def draw(rng: np.random.Generator, count: int, light: float = 0.0) -> dict[str, np.ndarray]:
    return {
        "decision": rng.choice(NAMES, count, p=(0.9, 0.1)),
        "answer": rng.choice(("cat", "dog"), count),
        "confidence": rng.beta(8, 1, count),
        "brightness": rng.normal(120 + light, 20, count),
        "width": rng.choice((640.0, 800.0), count),
    }


def reference_of(drawn: dict[str, np.ndarray], clusters: np.ndarray | None = None) -> Reference:
    measures = {name: drawn[name] for name in ("confidence", "brightness", "width")}
    places = np.arange(len(drawn["answer"])) if clusters is None else clusters
    return make_reference(drawn["decision"], drawn["answer"], measures, places)


def compared(reference: Reference, drawn: dict[str, np.ndarray]) -> list[str]:
    counts = Counts(reference)
    for row in range(len(drawn["answer"])):
        counts.add({name: column[row] for name, column in drawn.items()})
    return [entry.name for entry in differences(counts) if entry.differs]


def test_images_like_those_of_the_training_are_rarely_called_different():
    rng = np.random.default_rng(0)
    alarms = [bool(compared(reference_of(draw(rng, 400)), draw(rng, 300))) for _ in range(200)]
    assert sum(alarms) <= 6  # one of a hundred is expected


def test_darker_images_are_noticed_and_nothing_else():
    rng = np.random.default_rng(1)
    found = [compared(reference_of(draw(rng, 400)), draw(rng, 300, light=-15)) for _ in range(20)]
    assert sum("brightness" in names for names in found) >= 19
    assert sum(len(names) > 1 for names in found) <= 2


def test_a_new_class_balance_is_noticed():
    rng = np.random.default_rng(2)
    later = {**draw(rng, 300), "answer": rng.choice(("cat", "dog"), 300, p=(0.3, 0.7))}
    assert compared(reference_of(draw(rng, 400)), later) == ["answer"]


def test_a_decision_that_never_came_before_counts():
    rng = np.random.default_rng(3)
    later = {**draw(rng, 300), "decision": np.array(["unfamiliar"] * 60 + ["answered"] * 240)}
    assert "decision" in compared(reference_of(draw(rng, 400)), later)


def test_few_images_are_too_few_to_tell():
    rng = np.random.default_rng(4)
    counts = Counts(reference_of(draw(rng, 400)))
    for _ in range(29):
        counts.add({"brightness": 0.0, "decision": "unsure"})
    assert {entry.p for entry in differences(counts)} == {None}


def test_a_reference_of_few_clusters_proves_less():
    rng = np.random.default_rng(5)
    before, later = draw(rng, 400), draw(rng, 300, light=-12)
    assert compared(reference_of(before), later) == ["brightness"]
    assert compared(reference_of(before, np.arange(400) // 20), later) == []


def test_images_of_one_size_have_one_cell_for_it():
    rng = np.random.default_rng(6)
    before = {**draw(rng, 100), "width": np.full(100, 32.0)}
    reference = reference_of(before)
    assert reference.cuts["width"] == (32.0,) and reference.cells["width"] == (100, 0)
    assert "width" in compared(reference, {**draw(rng, 100), "width": np.full(100, 64.0)})


def test_what_is_not_known_is_not_compared():
    rng = np.random.default_rng(7)
    counts = Counts(reference_of(draw(rng, 100)))
    for _ in range(100):
        counts.add({"brightness": None, "width": float("nan"), "answer": "cat"})
    known = {entry.name: entry.count for entry in differences(counts)}
    assert known == {"decision": 0, "answer": 100, "confidence": 0, "brightness": 0, "width": 0}


def test_a_reference_survives_json():
    reference = reference_of(draw(np.random.default_rng(8), 100))
    assert Reference.from_json(json.loads(json.dumps(reference.as_json()))) == reference
    for wrong in (
        {},
        {**reference.as_json(), "cells": {}},
        {**reference.as_json(), "cuts": {"x": [1]}},
    ):
        with pytest.raises((KeyError, ValueError)):
            Reference.from_json(wrong)


@pytest.mark.parametrize("freedom", [1, 2, 3, 6, 9])
def test_the_tail_is_that_of_scipy(freedom: int):
    from scipy.stats import chi2

    for statistic in (0.1, 1.0, 8.0, 40.0):
        assert chi_squared_tail(statistic, freedom) == pytest.approx(chi2.sf(statistic, freedom))


# ── the verb ──


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, own_cache: Path) -> tuple[Path, Path]:
    """A model file, and the folder that it learned from."""
    from helpers.images import write_classes

    photos = write_classes(tmp_path_factory.mktemp("drift") / "photos", 14)
    return tellapart.train(photos, out=photos.parent / "runs", quiet=True).model, photos


def test_a_model_file_says_what_its_images_were_like(trained: tuple[Path, Path]):
    reference = tellapart.load(trained[0]).card.reference
    assert reference is not None
    held = tellapart.load(trained[0]).card.calibration_count
    assert reference.count == held == sum(reference.categories["answer"].values())
    assert set(reference.cells) >= {"confidence", "unfamiliarity", "brightness", "width"}


def test_a_table_of_answers_is_compared(trained: tuple[Path, Path], tmp_path: Path):
    model, photos = trained
    for name in ("answers.csv", "answers.jsonl", "answers.parquet"):
        table = tellapart.predict(model, str(photos), out=tmp_path / name, quiet=True).table
        found = tellapart.drift(model, table, out=tmp_path / "page.html", quiet=True)
        assert found.images == 42
        assert "brightness" in found.missing and "decision" not in found.missing
        assert found.page and "Not compared" in found.page.read_text("utf-8")


def test_a_log_of_the_server_is_compared(trained: tuple[Path, Path], tmp_path: Path):
    image = {"width": 40, "height": 40, "brightness": 3.0, "contrast": 1.0, "colourfulness": 0.0}
    answer = {"status": "ok", "decision": "unsure", "answer": "sky", "confidence": 0.5}
    bad = {"status": "corrupt"}
    lines = [
        json.dumps({"route": "predict", "answers": [{**answer, "image": image}, bad]}),
        json.dumps({"route": "ready", "status": 200}),
    ]
    log = tmp_path / "server.log"
    log.write_text("\n".join(["m: POST an image to http://…", *lines * 40]) + "\n")
    found = tellapart.drift(trained[0], log)
    assert found.images == 40
    differs = {entry.name for entry in found.differences if entry.differs}
    assert {"brightness", "answer"} <= differs
    assert any("brightness" in line for line in found.lines)


def test_wrong_use_is_told(trained: tuple[Path, Path], tmp_path: Path):
    polars.DataFrame({"x": [1]}).write_csv(tmp_path / "other.csv")
    (tmp_path / "text.csv").write_text("confidence\nhigh\n")
    (tmp_path / "broken.jsonl").write_text('{"status": \n')
    (tmp_path / "broken.parquet").write_text("PAR1")
    for name in ("other.csv", "text.csv", "broken.jsonl", "broken.parquet", "none.csv", "x.png"):
        with pytest.raises(UserError) as caught:
            tellapart.drift(trained[0], tmp_path / name)
        assert caught.value.hint
