"""The scan by Ray: what workers find fills the caches, and run and model are those without Ray."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import tellapart
from helpers.commands import run_python
from helpers.images import write_classes
from helpers.models import PREPROCESSING, small_network
from helpers.probes import SMALL
from tellapart import UserError
from tellapart.cache import FeatureStore, ScanMemory
from tellapart.catalog.inspect import Inspector
from tellapart.catalog.table import Catalog
from tellapart.decoders.rules import DEFAULT_RULES
from tellapart.export.compose import compose_features
from tellapart.pipeline import scan_on_ray
from tellapart.probe.embeddings import FeatureExtractor
from tellapart.sources.source import read_source

GRAPH = compose_features(small_network(), PREPROCESSING)
ON_RAY = """
import json, ray, sys, tellapart
from tellapart.pipeline import scan_on_ray
scan_on_ray.BLOCK = 20
ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
small = json.loads(sys.argv[3])
print(tellapart.train(sys.argv[1], out=sys.argv[2], set=small, engine="ray", quiet=True).path)
"""


@pytest.fixture
def photos(photos: Path) -> Path:
    """36 images, and a file that is none."""
    (photos / "leaf" / "bad.jpg").write_bytes(b"no image")
    return photos


@pytest.fixture
def catalog(photos: Path) -> Catalog:
    return read_source(photos)


def worker(root: Path) -> scan_on_ray._Worker:
    return scan_on_ray._Worker(np.frombuffer(GRAPH, np.uint8), root=root, rules=DEFAULT_RULES)


def test_what_workers_find_is_all_that_a_scan_wants(catalog: Catalog, photos: Path, tmp_path: Path):
    found = worker(photos)({"path": catalog.paths})["answer"]
    with ScanMemory(tmp_path, "", DEFAULT_RULES) as memory, FeatureStore(tmp_path) as store:
        features = FeatureExtractor(GRAPH, store)
        for path, text in zip(catalog.paths, found, strict=True):
            scan_on_ray._keep(path, json.loads(text), features, memory)
        inspector = Inspector(catalog.files, DEFAULT_RULES, features, memory)
        known = [inspector.inspect(path).status for path in catalog.paths]
    assert known.count("ok") == 36 and known.count("not_an_image") == 1
    assert features.computed == 36  # none of them by the second look


def test_a_worker_s_features_are_those_of_a_scan_bit_for_bit(catalog: Catalog, photos: Path):
    path = catalog.paths[0]
    answer = json.loads(worker(photos)({"path": [path]})["answer"][0])
    embedder = scan_on_ray._Embedder(GRAPH)
    Inspector(catalog.files, DEFAULT_RULES, embedder, None).inspect(path)
    assert answer["features"] == embedder.taken()["features"]


def test_images_that_are_no_files_are_refused():
    pixels = np.zeros((8, 8, 3), np.uint8)
    catalog = read_source([(pixels, "a"), (pixels, "b")])
    with pytest.raises(UserError, match=r"reads images by their paths.*leave out --engine"):
        scan_on_ray.check_for_ray(catalog)


def test_an_unknown_engine_is_refused_before_any_work(photos: Path):
    with pytest.raises(UserError, match="Unknown engine 'spark'"):
        tellapart.train(photos, engine="spark", quiet=True)
    with pytest.raises(UserError, match="Unknown engine 'spark'"):
        tellapart.explore(photos, engine="spark", quiet=True)


def test_a_preset_and_an_engine_do_not_go_together(photos: Path):
    with pytest.raises(UserError, match="Leave out the preset or the engine"):
        tellapart.train(photos, preset="fast", engine="ray", quiet=True)


def test_two_workers_give_the_model_of_a_training_without(tmp_path: Path, monkeypatch):
    pytest.importorskip("ray")
    photos = write_classes(tmp_path / "photos", 60)
    plain = tellapart.train(photos, out=tmp_path / "plain", set=SMALL, quiet=True)
    monkeypatch.setenv("TELLAPART_CACHE", str(tmp_path / "cache"))
    done = run_python(ON_RAY, photos, tmp_path / "ray", json.dumps(SMALL), seconds=300)
    assert done.returncode == 0, done.stderr
    run = Path(done.stdout.strip())
    assert (run / "model.onnx").read_bytes() == plain.model.read_bytes()
    assert (run / "catalog.parquet").read_bytes() == (plain.path / "catalog.parquet").read_bytes()
    assert "180 images read; features computed for 180" in (run / "log.txt").read_text()
