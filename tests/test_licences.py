"""Licences of weights: their texts in model files, and the loud word where commerce is forbidden."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import tellapart
from tellapart import Run
from tellapart.export import graph_cache
from tellapart.modelfile.licences import is_non_commercial, licence_facts
from tellapart.pipeline import probe

SMALL = {"preprocessing.size_px": 64, "head.folds": 2, "head.c_values": (0.01, 0.1)}


@pytest.fixture
def non_commercial(photos: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run whose weights forbid commercial use."""
    exported = probe.LoadedBackbone.exported

    def other(self: probe.LoadedBackbone) -> graph_cache.ExportedNetwork:
        return replace(exported(self), licence="cc-by-nc-4.0")

    monkeypatch.setattr(probe.LoadedBackbone, "exported", other)
    return tellapart.train(photos, set=SMALL, out=photos.parent / "runs", quiet=True)


def test_a_model_file_holds_the_text_of_its_weights_licence(photos: Path):
    run = tellapart.train(photos, set=SMALL, out=photos.parent / "runs", quiet=True)
    licences = run.predictor().card.licences
    assert licences["weights"] == "Apache-2.0"
    assert "Redistribution. You may reproduce and distribute" in licences["weights licence text"]
    assert len(licences["weights licence text"]) < 12_000


def test_weights_that_forbid_commerce_say_so_in_card_report_and_log(non_commercial: Run):
    said = "for NON-COMMERCIAL USE ONLY (cc-by-nc-4.0)"
    card = non_commercial.predictor().card
    assert card.licences["weights use"] == "NON-COMMERCIAL USE ONLY"
    assert "creativecommons.org/licenses/by-nc" in card.licences["weights licence text"]
    assert said in non_commercial.report.read_text()
    assert said in (non_commercial.path / "log.txt").read_text()


@pytest.mark.parametrize(
    "licence", ["cc-by-nc-4.0", "CC-BY-NC-SA-4.0", "fair-noncommercial-research-license"]
)
def test_licences_without_commerce_are_known_by_their_names(licence: str):
    assert is_non_commercial(licence)


@pytest.mark.parametrize(
    "licence", ["apache-2.0", "mit", "bsd-3-clause", "unknown", "", "cc-by-4.0"]
)
def test_other_licences_are_not(licence: str):
    assert not is_non_commercial(licence)


def test_a_licence_whose_text_nobody_asks_for_adds_nothing():
    assert licence_facts("unknown", "file w.pth") == {
        "weights": "unknown",
        "weights source": "file w.pth",
    }
