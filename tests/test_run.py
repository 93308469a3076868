"""A finished run: opened from its folder, shown, and taken back into torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tellapart
from helpers.images import write_classes, write_tiny
from helpers.runs import SHORT, torch_probabilities
from tellapart import Run, UserError
from tellapart.errors import Refused

SMALL = {"preprocessing.size_px": 64, "head.folds": 2, "head.c_values": (0.01, 0.1)}


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Run:
    photos = write_classes(tmp_path_factory.mktemp("run") / "photos", 12)
    return tellapart.train(photos, out=photos.parent / "runs", set=SMALL, quiet=True)


@pytest.fixture(scope="module")
def exact(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A probe on a network in fp32."""
    photos = write_classes(tmp_path_factory.mktemp("exact") / "photos", 12)
    options = {**SMALL, "backbone.precision": "fp32"}
    return tellapart.train(photos, out=photos.parent / "runs", set=options, quiet=True)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Run:
    photos = write_tiny(tmp_path_factory.mktemp("fitted") / "photos", 8)
    out = photos.parent / "runs"
    return tellapart.train(photos, recipe="cifar10-lenet", out=out, set=SHORT, quiet=True)


def test_a_run_is_opened_as_it_was_returned(probe: Run):
    assert Run.open(probe.path) == probe
    assert Run.open(str(probe.path)).as_json() == probe.as_json()


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path):
    with pytest.raises(UserError, match="is no finished run"):
        Run.open(tmp_path)


@pytest.mark.parametrize("kind", ["exact", "fitted"])
def test_the_torch_module_answers_as_the_model_file_does(kind: str, request: pytest.FixtureRequest):
    run: Run = request.getfixturevalue(kind)
    image = sorted((run.path.parent.parent / "photos").rglob("*.*g"))[0]
    wanted = run.predictor().probabilities(image)[0]
    np.testing.assert_allclose(torch_probabilities(run, image), wanted, atol=0.01)


def test_a_network_in_int8_has_no_torch_module(probe: Run):
    with pytest.raises(UserError, match=r"Train with --set backbone\.precision=fp32"):
        probe.torch_module()


def test_the_torch_module_is_in_evaluation_mode_and_does_not_learn(fitted: Run):
    module = fitted.torch_module()
    assert not module.training
    assert not any(parameter.requires_grad for parameter in module.parameters())


def test_a_run_whose_checkpoints_are_gone_has_no_torch_module(fitted: Run, tmp_path: Path):
    (fitted.path / "checkpoints").rename(tmp_path / "checkpoints")
    with pytest.raises(Refused, match=r"The checkpoints of .* are gone"):
        fitted.torch_module()
    (tmp_path / "checkpoints").rename(fitted.path / "checkpoints")


def test_a_run_is_shown_in_two_lines(probe: Run):
    first, second = str(probe).split("\n")
    assert first == f"Run {probe.path}: accuracy {probe.metrics.accuracy}"
    assert second.endswith(f"report: {probe.report}")


def test_a_notebook_shows_the_score_the_warnings_and_the_report(probe: Run):
    html = probe._repr_html_()
    assert str(probe.metrics.accuracy) in html
    assert html.count("<li>") == len(probe.warnings)
    assert f'href="{probe.report.as_posix()}"' in html
