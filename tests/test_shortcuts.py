"""Shortcuts: a cue that gives classes away is found, and noise is not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from helpers.catalogs import catalog_of_labels, scan_folder
from helpers.images import KINDS, write_image
from tellapart.catalog.cues import Cues, measure_cues
from tellapart.evaluation.shortcuts import in_columns
from tellapart.jobs.audit.cues import CUES, find_shortcuts, shortcut_findings
from tellapart.jobs.audit.labels import Judged, folds_of
from tellapart.progress import Task


def judged_of(labels: np.ndarray, *, accuracy: float = 0.95) -> Judged:
    """Images whose labels a model knows so well, in five folds; nothing is read."""
    catalog = catalog_of_labels(labels.tolist())
    rows = np.arange(len(labels))
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 1, (len(labels), len(catalog.classes))).astype(np.float32)
    right = rng.random(len(labels)) < accuracy
    logits[rows[right], labels[right]] += 8
    fold_of = folds_of(catalog, rows, 0)
    return Judged(catalog, rows, logits, fold_of, 0.01, logits, logits)


def found_by(labels: np.ndarray, **numbers: np.ndarray):
    """The shortcuts where these cues alone differ between the images."""
    nothing = np.full(len(labels), np.nan)
    words = np.full(len(labels), "", object)
    names = {name for kinds in CUES.values() for name in kinds[0]}
    cues = Cues(
        {name: numbers.get(name, nothing) for name in names},
        dict.fromkeys(("kind", "camera", "name"), words),
    )
    tried = find_shortcuts(judged_of(labels), cues, 0, Task("test"))
    return {shortcut.cue: shortcut for shortcut, _ in tried}


def test_noise_is_no_shortcut_although_one_class_has_four_fifths_of_the_images():
    rng = np.random.default_rng(0)
    labels = (np.arange(500) % 5 == 0).astype(np.int64)
    shortcuts = found_by(labels, bytes=rng.normal(size=500), width=rng.normal(size=500))
    assert [shortcut.found for shortcut in shortcuts.values()] == [False, False]
    assert shortcuts["bytes"].accuracy.value < 0.6


def test_a_cue_that_lifts_5_percent_to_50_over_20_classes_is_a_shortcut():
    rng = np.random.default_rng(0)
    labels = np.arange(800) % 20
    known = rng.random(800) < 0.48
    width = np.where(known, 100 + labels, rng.integers(100, 120, 800)).astype(float)
    shortcut = found_by(labels, width=width)["size"]
    assert 0.4 < shortcut.accuracy.value < 0.6
    assert shortcut.found and shortcut.accuracy.low > shortcut.chance


def test_a_weak_cue_is_told_and_not_called_a_shortcut():
    rng = np.random.default_rng(0)
    labels = np.arange(600) % 2
    width = np.where(rng.random(600) < 0.6, labels, 1.0 - labels)
    shortcut = found_by(labels, width=width)["size"]
    assert shortcut.accuracy.value > 0.53 and not shortcut.found


def test_nothing_that_is_the_same_for_all_images_is_tried():
    assert found_by(np.arange(100) % 2, width=np.full(100, 64.0)) == {}


def test_numbers_become_columns_by_quantile_and_by_frequent_value():
    table = in_columns([np.repeat([1.0, 2.0], 10)], [])
    assert set(table.sum(axis=0)) == {10.0}


def write_set(folder: Path, cue: str) -> Path:
    """Two classes of the same content, which differ by a cue alone."""
    for place, name in enumerate(("left", "right")):
        for seed in range(30):
            path = folder / name / f"{seed + 100 * place:03}.jpg"
            colour, pattern = KINDS["sky"]
            write_image(path, seed + 100 * place, colour=colour, pattern=pattern)
            change(path, cue, place)
    return folder


def change(path: Path, cue: str, place: int) -> None:
    """Give one image the cue of its class."""
    from PIL import Image

    img = Image.open(path).copy()
    if cue == "size" and place:
        img = img.resize((80, 60))
    if cue == "border" and place:
        pixels = np.array(img)
        pixels[:3] = pixels[-3:] = 0
        pixels[:, :3] = pixels[:, -3:] = 0
        img = Image.fromarray(pixels)
    img.save(path, quality=60 if cue == "compression" and place else 90)
    if cue == "file name":
        path.rename(path.with_name(f"{('img', 'dsc')[place]}_{path.name}"))


@pytest.mark.parametrize("cue", ["size", "border", "compression", "file name"])
def test_a_cue_of_the_files_themselves_is_found(tmp_path: Path, cue: str):
    catalog = scan_folder(write_set(tmp_path, cue))
    rows = np.arange(len(catalog))
    judged = replace(judged_of(catalog.labels), catalog=catalog)
    tried = find_shortcuts(judged, measure_cues(catalog, rows), 0, Task("test"))
    assert cue in [shortcut.cue for shortcut, _ in tried if shortcut.found]
    finding = next(f for f in shortcut_findings(judged, tried) if cue in f.title)
    assert {image.label for image in finding.images} == {"left", "right"}


def test_files_without_a_cue_hold_no_shortcut(tmp_path: Path):
    catalog = scan_folder(write_set(tmp_path, "none"))
    rows = np.arange(len(catalog))
    judged = replace(judged_of(catalog.labels), catalog=catalog)
    tried = find_shortcuts(judged, measure_cues(catalog, rows), 0, Task("test"))
    assert [shortcut.cue for shortcut, _ in tried if shortcut.found] == []
