"""`stress`: images are changed as they say, by key, and the promise breaks where it should."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import tellapart
from helpers.commands import run_command
from helpers.images import write_classes
from helpers.pages import Page
from helpers.probes import SMALL
from tellapart import Refused, Run, UserError
from tellapart.corruptions import CORRUPTIONS, reduced
from tellapart.evaluation.predictions import Predictions
from tellapart.evaluation.rule import AnswerRule
from tellapart.evaluation.stress import StressCurve, corrected, promise_line, stress_point

KINDS = {kind.name: kind for kind in CORRUPTIONS}
SAME_SIZE = [kind for kind in CORRUPTIONS if kind.name not in ("crop", "smaller")]


def image(height: int = 60, width: int = 60) -> np.ndarray:
    """Waves of all colours, without sharp edges."""
    rows, columns = np.mgrid[:height, :width]
    waves = [np.sin(rows / 9), np.cos(columns / 7), np.sin((rows + columns) / 11)]
    return (128 + 100 * np.stack(waves, axis=2)).astype(np.uint8)


def distance(changed: np.ndarray) -> float:
    return float(np.abs(changed.astype(int) - image()).mean())


# ── the changes ──


@pytest.mark.parametrize("kind", SAME_SIZE, ids=lambda kind: kind.name)
def test_a_stronger_change_moves_more(kind):
    weak, strong = (kind.apply(image(), kind.strengths[place], 1, 30) for place in (0, 3))
    assert weak.shape == strong.shape == image().shape
    assert 0 < distance(weak) < distance(strong)


@pytest.mark.parametrize("kind", CORRUPTIONS, ids=lambda kind: kind.name)
def test_a_change_is_a_function_of_its_key(kind):
    first, again = (kind.apply(image(), kind.strengths[2], 7, 30) for _ in range(2))
    assert np.array_equal(first, again)
    assert first.dtype == np.uint8


@pytest.mark.parametrize("kind", CORRUPTIONS, ids=lambda kind: kind.name)
def test_odd_images_are_changed_too(kind):
    shapes = [(1, 1, 3), (1, 300, 3), (300, 2, 3)]
    changed = [kind.apply(np.zeros(shape, np.uint8), kind.strengths[-1], 1, 30) for shape in shapes]
    assert all(pixels.size for pixels in changed)


@pytest.mark.parametrize("name", ["noise", "crop"])
def test_another_key_is_another_change(name: str):
    kind = KINDS[name]
    first, other = (kind.apply(image(), kind.strengths[2], key, 30) for key in (1, 2))
    assert not np.array_equal(first, other)


def test_a_stop_darker_is_half_the_light():
    grey = np.full((4, 4, 3), 188, np.uint8)
    assert int(KINDS["darker"].apply(grey, 1, 0, 30)[0, 0, 0]) == 137
    assert int(KINDS["brighter"].apply(np.full((4, 4, 3), 137, np.uint8), 1, 0, 30)[0, 0, 0]) == 188


def test_a_crop_is_a_part_of_the_image():
    part = KINDS["crop"].apply(image(40, 80), 50, 3, 30)
    corners = {tuple(pixel) for pixel in image(40, 80).reshape(-1, 3)}
    assert part.shape == (20, 40, 3)
    assert {tuple(pixel) for pixel in part.reshape(-1, 3)} <= corners


def test_a_quarter_turn_moves_every_pixel_to_its_place():
    turned = KINDS["turn"].apply(image(), 90, 1, 30)[2:-2, 2:-2].astype(int)
    sides = [np.rot90(image(), turns)[2:-2, 2:-2] for turns in (1, 3)]
    assert min(np.abs(turned - side).mean() for side in sides) < 4


def test_images_become_smaller_and_never_larger():
    assert KINDS["smaller"].apply(image(100, 200), 32, 0, 30).shape == (32, 64, 3)
    assert KINDS["smaller"].apply(image(20, 30), 32, 0, 30).shape == (20, 30, 3)


def test_only_images_much_larger_than_the_input_are_reduced():
    assert reduced(image(400, 800), 64).shape == (192, 384, 3)
    assert reduced(image(100, 800), 64).shape == (100, 800, 3)


# ── the promise ──


def answers(right: int, count: int = 100, confidence: float = 0.9) -> Predictions:
    """Answers of one confidence, of which the first are right."""
    probs = np.tile(np.array([[confidence, 1 - confidence]], np.float32), (count, 1))
    labels = (np.arange(count) >= right).astype(np.int64)
    return Predictions(probs, labels, tuple(map(str, range(count))), ("cat", "dog"))


def curve(*changed: Predictions, target: float | None = 0.95) -> StressCurve:
    """Answers as a curve of the strengths 0, 1, 2, …"""
    rule = AnswerRule(0.8)
    points = [
        stress_point(f"{place} px", those, changed[0], rule, target)
        for place, those in enumerate(changed)
    ]
    return StressCurve("blur", "", tuple(corrected(points)), target)


def test_the_promise_breaks_where_chance_does_not_explain_it():
    found = curve(answers(98), answers(94), answers(80))
    assert (found.misses_at, found.breaks_at) == ("1 px", "2 px")
    assert "blur from 2 px" in promise_line([found])


def test_one_wrong_answer_breaks_nothing():
    found = curve(answers(1, 1), answers(0, 1))
    assert (found.misses_at, found.breaks_at) == ("1 px", None)


def test_who_answers_nothing_breaks_nothing():
    found = curve(answers(98), answers(10, confidence=0.6))
    assert (found.points[1].coverage.value, found.breaks_at, found.misses_at) == (0.0, None, None)


def test_without_a_promise_nothing_breaks():
    assert curve(answers(98), answers(10), target=None).breaks_at is None


def test_each_further_look_makes_a_break_less_sure():
    alone, among = curve(answers(88)), curve(answers(88), *[answers(98)] * 4)
    assert among.points[0].p == pytest.approx(5 * (alone.points[0].p or 0))


# ── the verb ──


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stress") / "photos"
    write_classes(folder / "train", 10)
    write_classes(folder / "test", 3, first_seed=100)
    return folder


@pytest.fixture(scope="module")
def run(photos: Path) -> Run:
    return tellapart.train(photos, set=SMALL, out=photos.parent / "runs", quiet=True)


@pytest.fixture(scope="module")
def stressed(run: Run, photos: Path) -> tellapart.Stress:
    return tellapart.stress(run.path, photos, quiet=True)


def test_unchanged_images_are_answered_as_the_run_has_kept(stressed, run: Run):
    unchanged = {curve.points[0].accuracy for curve in stressed.curves}
    assert unchanged == {run.metrics.accuracy}
    assert stressed.images == run.predictions().paths


def test_every_change_has_five_strengths_and_the_target_of_the_model(stressed):
    assert {len(curve.points) for curve in stressed.curves} == {6}
    assert {curve.target for curve in stressed.curves} == {0.95}


def test_the_run_folder_keeps_the_result(run: Run, photos: Path):
    found = tellapart.stress(run.path, photos, images=2, quiet=True)
    assert json.loads((run.path / "stress.json").read_text()) == found.as_json()
    page = Page((run.path / "stress.html").read_text())
    assert "default-src 'none'" in page.policy
    assert len([source for source in page.values("src") if source.startswith("data:")]) == 45


def test_fewer_images_are_the_first_by_their_keys(run: Run, photos: Path, tmp_path: Path):
    few = tellapart.stress(run.path, photos, images=2, out=tmp_path / "p.html", quiet=True)
    fewer = tellapart.stress(run.path, photos, images=1, out=tmp_path / "p.html", quiet=True)
    assert len(few.images) == 2
    assert set(fewer.images) < set(few.images)


def test_images_that_changed_are_counted_and_left_out(run: Run, photos: Path, tmp_path: Path):
    copy = shutil.copytree(photos, tmp_path / "photos")
    shutil.copy(copy / "test" / "sky" / "100.jpg", copy / "test" / "sky" / "101.jpg")
    found = tellapart.stress(run.path, copy, out=tmp_path / "p.html", quiet=True)
    assert (found.missing, len(found.images)) == (1, 8)


def test_other_data_is_refused(run: Run, tmp_path: Path):
    other = write_classes(tmp_path / "other", 2, first_seed=500)
    with pytest.raises(Refused, match="None of the 9 images"):
        tellapart.stress(run.path, other, quiet=True)


def test_a_run_is_needed(run: Run, photos: Path):
    with pytest.raises(UserError, match="no finished run"):
        tellapart.stress(run.model, photos, quiet=True)


def test_the_command_prints_one_object_or_a_table(run: Run, photos: Path, tmp_path: Path):
    words = [
        "stress",
        str(run.path),
        str(photos),
        "--images",
        "1",
        "--out",
        str(tmp_path / "p.html"),
    ]
    assert run_command(*words, "--json").json["images"] == 1
    assert "answered" in run_command(*words).out
