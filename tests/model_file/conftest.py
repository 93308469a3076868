"""Fixtures of the tests of the model file: images, a run, its predictor and its graph."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import ModelProto

import tellapart
from helpers.images import write_classes
from tellapart import Predictor, Run


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_classes(tmp_path_factory.mktemp("model_file") / "photos", 12)


@pytest.fixture(scope="session")
def run(data: Path) -> Run:
    return tellapart.train(
        data, set={"preprocessing.size_px": 64}, out=data.parent / "runs", quiet=True
    )


@pytest.fixture(scope="session")
def predictor(run: Run) -> Predictor:
    return run.predictor()


@pytest.fixture(scope="session")
def graph(run: Run) -> ModelProto:
    return onnx.load(run.model)
