"""Fixes reach every verb that reads data, and a run says which it was trained with."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import polars
import pytest

import tellapart
from helpers.reviewing import fix_of, write_fixes
from tellapart import Run, UserError
from tellapart.catalog.fixes import read_fixes
from tellapart.cli.main import main
from tellapart.cli.values import settings
from tellapart.runs.saved_splits import read_splits


def test_the_run_was_trained_on_the_fixed_labels(run: Run):
    rows = read_splits(run.path).rows
    assert rows["sky/000.jpg"][2] == "brick"
    assert "leaf/001.jpg" not in rows


def test_splits_run_and_card_hold_the_digest_of_the_fixes(run: Run, patch: Path):
    digest = read_fixes(patch).digest
    metrics = json.loads((run.path / "metrics.json").read_text("utf-8"))
    about = polars.read_parquet_metadata(run.path / "splits.parquet")
    assert metrics["fixes"]["digest"] == about["tellapart.fixes"] == digest
    assert run.predictor().card.digests["fixes"] == digest
    assert read_fixes(run.path / "fixes.jsonl").digest == digest


def test_what_the_fixes_did_is_among_the_warnings(run: Run):
    assert any("1 label changed and 1 image left out" in text for text in run.warnings)


def test_no_image_file_is_touched(run: Run, shown: Path):
    assert len(list((shown / "leaf").iterdir())) == len(list((shown / "sky").iterdir())) == 12


def test_evaluate_explore_and_check_read_the_same_labels(run: Run, shown: Path, patch: Path):
    fixes = {"data.fixes": str(patch)}
    explored = tellapart.explore(shown, set=fixes, quiet=True).catalog
    assert len(explored) == 35 and explored.counts().tolist() == [13, 11, 11]
    evaluation = tellapart.evaluate(run.model, shown, set=fixes, quiet=True)
    assert len(evaluation.predictions) + evaluation.seen.count == 35
    checked = tellapart.check(shown, image="sky/000.jpg", set=fixes, quiet=True)
    assert checked.steps[0].facts["class"].startswith("brick")


def test_an_audit_leaves_out_what_the_fixes_drop(shown: Path, patch: Path, tmp_path: Path):
    words = ["audit", str(shown), "--fixes", str(patch), "--out", str(tmp_path), "-q", "--json"]
    with contextlib.suppress(SystemExit):
        main(words)
    counts = json.loads((tmp_path / "audit.json").read_text("utf-8"))["images"]
    assert sum(counts.values()) == 35
    assert "leaf/001.jpg" not in (tmp_path / "findings.jsonl").read_text("utf-8")


def test_check_refuses_an_image_that_is_left_out(shown: Path, patch: Path):
    with pytest.raises(UserError, match="is left out by"):
        tellapart.check(shown, image="leaf/001.jpg", set={"data.fixes": str(patch)}, quiet=True)


def test_a_class_that_the_model_does_not_know_is_refused(run: Run, shown: Path, tmp_path: Path):
    new = fix_of(shown, "sky/001.jpg", "relabel", "sky", "cloud", new=True)
    fixes = {"data.fixes": str(write_fixes(tmp_path / "fixes.jsonl", new))}
    with pytest.raises(UserError, match="'cloud'"):
        tellapart.evaluate(run.model, shown, set=fixes, quiet=True)


def test_a_bad_patch_is_refused_before_any_image_is_read(shown: Path, tmp_path: Path):
    bad = tmp_path / "bad.jsonl"
    bad.write_text("no decision\n")
    with pytest.raises(UserError, match="line 1"):
        tellapart.explore(shown, set={"data.fixes": str(bad)}, quiet=True)


def test_the_option_is_a_recipe_key_with_a_whole_path(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.chdir(tmp_path)
    assert settings(None, fixes=Path("fixes.jsonl")) == {
        "data.fixes": str(tmp_path / "fixes.jsonl")
    }
