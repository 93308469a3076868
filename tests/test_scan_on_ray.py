"""The scan by Ray: what workers find fills the caches, and run and model are those without Ray."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

import tellapart
from helpers.buckets import age, buckets_in
from helpers.commands import run_python
from helpers.images import write_classes
from helpers.models import PREPROCESSING, small_network
from helpers.probes import SMALL
from tellapart import UserError
from tellapart.cache import FeatureStore, ScanMemory
from tellapart.catalog.files import Folder
from tellapart.catalog.inspect import Inspector
from tellapart.catalog.scan import scan
from tellapart.catalog.table import Catalog
from tellapart.decoders.rules import DEFAULT_RULES
from tellapart.export.compose import compose_features
from tellapart.modelfile import on_ray
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
    return scan_on_ray._Worker(
        np.frombuffer(GRAPH, np.uint8), files=Folder(root), rules=DEFAULT_RULES
    )


def store_worker(catalog: Catalog) -> scan_on_ray._Worker:
    """A worker as another process gets it, which computes no features."""
    files = pickle.loads(pickle.dumps(scan_on_ray.check_for_ray(catalog)))
    return scan_on_ray._Worker(None, files=files, rules=DEFAULT_RULES)


def test_what_workers_find_is_all_that_a_scan_wants(catalog: Catalog, photos: Path, tmp_path: Path):
    found = worker(photos)({"path": catalog.paths})["answer"]
    with ScanMemory(tmp_path, "", DEFAULT_RULES) as memory, FeatureStore(tmp_path) as store:
        features = FeatureExtractor(GRAPH, store)
        for path, text in zip(catalog.paths, found, strict=True):
            scan_on_ray._keep(path, json.loads(text), catalog.files, features, memory)
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


def test_what_workers_find_in_a_store_is_not_read_again(photos: Path, tmp_path: Path):
    for path in photos.rglob("*.jpg"):
        age(path, 60)
    with buckets_in(photos.parent) as store, ScanMemory(tmp_path, "", DEFAULT_RULES) as memory:
        catalog = read_source(f"s3://{photos.name}")
        found = store_worker(catalog)({"path": catalog.paths})["answer"]
        for path, text in zip(catalog.paths, found, strict=True):
            scan_on_ray._keep(path, json.loads(text), catalog.files, None, memory)
        store.read.clear()
        memory.refresh()
        assert (scan(catalog, memory=memory).statuses == "ok").sum() == 36
    assert store.read == []
    assert len(store.listed) == 4  # by this process, and none by the worker


def test_a_worker_that_reaches_no_store_ends_the_scan(photos: Path, monkeypatch):
    def failing(*_: object, **__: object) -> None:
        raise ConnectionError("no route to host")

    with buckets_in(photos.parent) as store:
        catalog = read_source(f"s3://{photos.name}")
        monkeypatch.setattr(store, "cat_file", failing)
        monkeypatch.setattr(store, "info", failing)
        (text,) = store_worker(catalog)({"path": catalog.paths[:1]})["answer"]
    with pytest.raises(UserError, match="no route to host"):
        scan_on_ray._keep(catalog.paths[0], json.loads(text), catalog.files, None, None)


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


def test_without_ray_its_extra_is_named_although_all_images_are_known(photos: Path, monkeypatch):
    tellapart.explore(photos, quiet=True)
    monkeypatch.setattr(on_ray, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"tellapart\[ray\]"):
        tellapart.explore(photos, engine="ray", quiet=True)


def test_a_preset_and_an_engine_do_not_go_together(photos: Path):
    with pytest.raises(UserError, match="Leave out the preset or the engine"):
        tellapart.train(photos, preset="fast", engine="ray", quiet=True)


@pytest.mark.parametrize("source", ["{}/photos", "s3://photos"])
def test_two_workers_give_the_model_of_a_training_without(source: str, tmp_path: Path, monkeypatch):
    pytest.importorskip("ray")
    photos = write_classes(tmp_path / "photos", 60)
    plain = tellapart.train(photos, out=tmp_path / "plain", set=SMALL, quiet=True)
    monkeypatch.setenv("TELLAPART_CACHE", str(tmp_path / "cache"))
    data, small = source.format(tmp_path), json.dumps(SMALL)
    with buckets_in(tmp_path):
        done = run_python(ON_RAY, data, tmp_path / "ray", small, seconds=300)
    assert done.returncode == 0, done.stderr
    run = Path(done.stdout.strip())
    assert (run / "model.onnx").read_bytes() == plain.model.read_bytes()
    assert (run / "catalog.parquet").read_bytes() == (plain.path / "catalog.parquet").read_bytes()
    assert "180 images read; features computed for 180" in (run / "log.txt").read_text()
