"""The heat map of the answer to a reviewed image."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from helpers.reviewing import digest_of
from tellapart import Run
from tellapart.server.review.heat import Heats
from tellapart.server.review.scaled import Missing, Scaled
from tellapart.sources.source import read_source


@pytest.fixture
def heats(run: Run, shown: Path) -> Heats:
    catalog = read_source(shown)
    return Heats(run.predictor(), Scaled(catalog.files, catalog.rules))


def test_the_map_lies_on_the_image_and_speaks_of_the_answer(run: Run, shown: Path, heats: Heats):
    photo = shown / "leaf/002.jpg"
    heat, answer = heats.of("leaf/002.jpg", digest_of(photo)), run.predictor().predict(photo)
    assert heat.answer == answer.answer
    assert heat.probability == pytest.approx(answer.confidence, abs=1e-6)
    laid, plain = Image.open(io.BytesIO(heat.data)), Image.open(photo)
    assert laid.size == plain.size
    assert laid.convert("RGB").tobytes() != plain.convert("RGB").tobytes()


def test_an_image_that_changed_has_no_map(shown: Path, heats: Heats):
    with pytest.raises(Missing, match="changed"):
        heats.of("leaf/002.jpg", digest_of(shown / "leaf/003.jpg"))
