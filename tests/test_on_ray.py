"""Answers by Ray: what can be said without a cluster, and one pipeline where Ray is installed."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

import tellapart
from helpers.commands import run_python
from helpers.images import write_classes
from tellapart import Run, UserError
from tellapart.image_input import StoredImage
from tellapart.modelfile import on_ray
from tellapart.modelfile.on_ray import answer_on_ray

SMALL = {"preprocessing.size_px": 64, "head.folds": 2, "head.c_values": (0.01, 0.1)}
PREDICT = """
import sys, tellapart
tellapart.predict(*sys.argv[1:3], out=sys.argv[3], keep=False, engine="ray", quiet=True)
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("ray")
    photos = write_classes(folder / "photos", 8)
    return tellapart.train(photos, set=SMALL, out=folder / "runs", quiet=True)


@pytest.fixture
def photos(run: Run) -> Path:
    return run.path.parent.parent / "photos"


def test_an_answer_comes_back_from_a_worker_exactly(run: Run, photos: Path):
    answers = run.predictor().predict([photos / "sky" / "000.jpg", photos, b""])
    assert [on_ray._answer(json.dumps(asdict(answer))) for answer in answers] == answers


def test_a_worker_answers_paths_by_their_names(run: Run, photos: Path):
    worker = on_ray._Worker(
        np.frombuffer(run.model.read_bytes(), np.uint8), provider="cpu", sets=None
    )
    place = str(photos / "sky" / "000.jpg").encode()
    (text,) = worker({"name": ["mine.jpg"], "place": [place]})["answer"]
    expected = run.predictor().predict(photos / "sky" / "000.jpg")
    assert on_ray._answer(text).path == "mine.jpg"
    assert on_ray._answer(text).probabilities == expected.probabilities


def test_only_what_has_a_path_is_sent_to_workers():
    assert on_ray._row(StoredImage("s3://x/a.jpg", bytes)) == ("s3://x/a.jpg", b"s3://x/a.jpg")
    with pytest.raises(UserError, match="in an archive or in memory"):
        on_ray._row(StoredImage("new.zip/a.jpg", bytes))


def test_without_ray_the_extra_is_named(run: Run, photos: Path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"pip install 'tellapart\[ray\]'"):
        next(answer_on_ray(run.predictor(), [photos / "sky" / "000.jpg"]))


def test_an_unknown_engine_is_refused(run: Run, photos: Path):
    with pytest.raises(UserError, match="Unknown engine 'spark'"):
        tellapart.predict(run.model, photos, engine="spark", quiet=True)


def test_ray_gives_the_bytes_of_a_prediction_without_it(run: Run, photos: Path, tmp_path: Path):
    pytest.importorskip("ray")
    (photos / "zz.jpg").write_bytes(b"no image")
    tellapart.predict(run.model, photos, out=tmp_path / "plain.jsonl", quiet=True)
    done = run_python(PREDICT, run.model, photos, tmp_path / "ray.jsonl", seconds=300)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "ray.jsonl").read_bytes() == (tmp_path / "plain.jsonl").read_bytes()
