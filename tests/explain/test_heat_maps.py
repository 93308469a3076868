"""Why a model answers as it does: heat maps whose sum is the logit, and what must change them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from PIL import Image

from helpers.models import PREPROCESSING, WIDTH, noise, small_card, small_head, small_network
from tellapart import Predictor, UserError
from tellapart.explain.activation import refined
from tellapart.explain.explainer import Explainer, heat_map
from tellapart.explain.inner_values import open_inside
from tellapart.explain.map_checks import check_maps
from tellapart.explain.overlay import overlay
from tellapart.explain.sanity import plant_cue, random_heads
from tellapart.explain.seen_square import framed
from tellapart.export.compose import Head, compose_model
from tellapart.export.ensemble import compose_ensemble
from tellapart.export.forms import in_fp16
from tellapart.modelfile.preprocessing import Preprocessing


def predictor_of(
    head: Head | None = None, take: Preprocessing = PREPROCESSING, **network: bool
) -> Predictor:
    card = replace(small_card(), preprocessing=take)
    return Predictor(compose_model(small_network(**network), take, head or small_head(), card))


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return predictor_of()


@pytest.fixture(scope="module")
def explainer(predictor: Predictor) -> Explainer:
    return Explainer(predictor)


def logits(predictor: Predictor, pixels: np.ndarray) -> np.ndarray:
    layers = small_head().layers
    return layers.logits(predictor.outputs(pixels).embedding)


# ── the sum is the logit ──


@pytest.mark.parametrize("finer", [1, 2, 4])
def test_a_map_sums_to_the_logit_of_its_class(predictor: Predictor, finer: int):
    image = noise(60, 90)
    maps = Explainer(predictor, finer).method.maps(image, [0, 1, 2])
    assert maps.shape == (3, 4 * finer, 4 * finer)
    assert maps.sum(axis=(1, 2)) == pytest.approx(logits(predictor, image), abs=1e-4)


@pytest.mark.parametrize("mode", ["crop", "squash", "pad"])
@pytest.mark.parametrize("share", [1000, 875])
def test_so_it_does_whatever_the_preprocessing(mode: str, share: int):
    predictor = predictor_of(take=replace(PREPROCESSING, mode=mode, share_permille=share))
    sums = [heat_map(predictor, noise(50, 80), name).sum() for name in "abc"]
    assert sums == pytest.approx(logits(predictor, noise(50, 80)), abs=1e-4)


def test_so_it_does_with_weights_in_half_precision(predictor: Predictor):
    small = Predictor(in_fp16(predictor.graph, predictor.card))
    probs = small.outputs(noise()).probs
    first, second = (heat_map(small, noise(), name).sum() for name in "ab")
    assert first - second == pytest.approx(np.log(probs[0] / probs[1]), abs=1e-3)


def test_the_maps_of_answer_and_runner_up_differ_by_their_log_odds(explainer: Explainer):
    found = explainer.explain(noise())
    assert found.runner_up is not None
    odds = np.log(found.answer.probability / found.runner_up.probability)
    assert found.answer.values.sum() - found.runner_up.values.sum() == pytest.approx(odds, abs=1e-3)
    assert found.answer.probability >= found.runner_up.probability


def test_a_finer_map_has_the_coarse_one_in_its_blocks():
    coarse = np.random.default_rng(0).normal(size=(2, 4, 4)).astype(np.float32)
    large = np.random.default_rng(1).normal(size=(2, 8, 8)).astype(np.float32)
    fine = refined(coarse, large)
    assert fine.reshape(2, 4, 2, 4, 2).sum(axis=(2, 4)) == pytest.approx(coarse, abs=1e-5)


def test_a_finer_map_sees_where_in_a_cell_something_lies(predictor: Predictor):
    grey = np.full((32, 32, 3), 128, np.uint8)
    dotted = grey.copy()
    dotted[8:12, 8:12] = 255  # in the upper left part of the cell at (1, 1)
    method = Explainer(predictor).method
    change = np.abs(method.maps(dotted, [0]) - method.maps(grey, [0]))[0]
    assert np.unravel_index(change.argmax(), change.shape) == (2, 2)


def test_a_network_that_takes_one_size_alone_keeps_its_own_grid():
    network = onnx.load_from_string(small_network())
    shape = numpy_helper.from_array(np.array([-1, 3, 32, 32]), "fixed")
    network.graph.initializer.append(shape)
    network.graph.node[0].input[0] = "held"
    network.graph.node.insert(0, helper.make_node("Reshape", ["input", "fixed"], ["held"]))
    file = compose_model(network.SerializeToString(), PREPROCESSING, small_head(), small_card())
    found = Explainer(Predictor(file)).explain(noise())
    assert found.answer.values.shape == (4, 4)


def test_the_map_of_a_class_that_does_not_exist_is_refused(predictor: Predictor):
    with pytest.raises(UserError, match="Unknown class 'd'"):
        heat_map(predictor, noise(), "d")


@pytest.mark.parametrize("share", [300, 875, 999, 1000])
@pytest.mark.parametrize("mode", ["crop", "squash", "pad"])
def test_the_network_sees_exactly_the_square_that_it_is_shown(mode: str, share: int):
    take = replace(PREPROCESSING, mode=mode, share_permille=share)
    square = noise(32, 32)
    assert np.array_equal(take.resized(framed(square, take)), square)


def test_values_that_a_file_does_not_have_are_none(predictor: Predictor):
    assert open_inside(predictor.graph, ("no such value",)) is None


# ── what must change a map ──


def test_another_head_has_another_map(explainer: Explainer):
    found = random_heads(explainer, noise(), 0)
    assert found is not None
    assert found.passed and found.example.shape == (4, 4)


def test_a_map_that_no_head_changes_would_be_found_out(explainer: Explainer):
    flat = np.zeros((64, 64, 3), np.uint8)
    flat[:16] = 255  # all features differ between these rows and the others alone
    found = random_heads(explainer, flat, 0)
    assert found is not None
    assert found.correlation > 0.8 and not found.passed


def cue_head() -> Head:
    """A head for which class a is what lights up feature 0."""
    weight = np.zeros((3, WIDTH), np.float32)
    weight[0, 0], weight[1, 0] = 3, -3
    head = small_head()
    return replace(head, layers=replace(head.layers, weight=weight))


def test_a_map_follows_a_planted_cue():
    predictor = predictor_of(cue_head())
    flat, cue = np.full((2, 32, 32, 3), 128, np.uint8)
    cue[8:16, 8:16] = noise(8, 8, 3)
    change = heat_map(predictor, cue, "a") - heat_map(predictor, flat, "a")
    blocks = np.abs(change).reshape(4, 2, 4, 2).sum(axis=(1, 3))
    assert np.unravel_index(blocks.argmax(), blocks.shape) == (1, 1)


def test_the_most_telling_part_of_an_image_raises_the_map_where_it_is_put(explainer: Explainer):
    found = plant_cue(explainer, noise(32, 32), 0, noise(32, 32, 1))
    assert found is not None
    assert found.passed and found.gain > 0 and found.inside > 3 * found.area


def test_the_checks_are_told_and_drawn(explainer: Explainer):
    found = check_maps(explainer, [(noise(seed=seed), seed % 2) for seed in range(3)])
    assert found is not None and found.passed
    assert "random weights" in found.lines[0] and "followed it in 3 of 3 images" in found.lines[1]
    assert len(found.panels) == 6


# ── where a network has no such map ──


@pytest.mark.parametrize("hidden", [(), (5,)])
def test_without_a_map_places_are_blurred_and_that_is_said(hidden: tuple[int, ...]):
    predictor = predictor_of(small_head(hidden=hidden), with_map=bool(hidden))
    found = Explainer(predictor).explain(noise())
    assert found.kind == "occlusion" and found.answer.values.shape == (8, 8)
    with pytest.raises(UserError, match="no heat map whose sum is the logit"):
        heat_map(predictor, noise(), "a")


def test_several_models_in_one_file_have_no_logit_to_write_out(predictor: Predictor):
    other = small_head()
    other = replace(other, layers=replace(other.layers, weight=-other.layers.weight))
    files = [predictor.graph, predictor_of(other).graph]
    assert Explainer(Predictor(compose_ensemble(files, small_card()))).kind == "occlusion"


def test_blurring_finds_the_cue():
    predictor = predictor_of(cue_head(), with_map=False)
    image = np.full((32, 32, 3), 128, np.uint8)
    image[16:24, 0:8] = noise(8, 8, 3)
    found = np.abs(Explainer(predictor).method.maps(image, [0])[0])
    top, left = np.unravel_index(found.argmax(), found.shape)
    assert 4 <= top <= 5 and 0 <= left <= 1


def test_blurring_passes_the_checks_too():
    explainer = Explainer(predictor_of(with_map=False))
    found = check_maps(explainer, [(noise(seed=seed), 0) for seed in range(2)])
    assert found is not None and "random weights" in found.lines[0]


# ── laid on the image ──


def test_a_map_lies_on_what_the_network_sees_of_the_image():
    photo = np.full((40, 100, 3), 128, np.uint8)
    laid = np.asarray(overlay(photo, np.ones((4, 4), np.float32), Preprocessing()))
    changed = (laid != photo).any(axis=2)
    assert changed[:, 30:70].all() and not changed[:, :30].any() and not changed[:, 70:].any()


def test_a_map_with_bars_is_cut_off_at_the_image():
    photo = np.full((40, 100, 3), 128, np.uint8)
    values = np.zeros((10, 10), np.float32)
    values[:3] = 1  # in the upper bar alone, which is no part of the image
    laid = np.asarray(overlay(photo, values, Preprocessing(mode="pad")))
    assert laid.shape == photo.shape and np.abs(laid[20:].astype(int) - 128).max() < 12


def test_orange_speaks_for_the_class_and_blue_against_it():
    values = np.array([[1.0, -1.0]], np.float32)
    laid = overlay(Image.new("RGB", (80, 40), (128, 128, 128)), values)
    (red, _, blue), (other_red, _, other_blue) = laid.getpixel((5, 20)), laid.getpixel((75, 20))
    assert red > blue and other_red < other_blue


def test_maps_are_compared_on_one_scale():
    photo, values = np.full((40, 40, 3), 128, np.uint8), np.ones((4, 4), np.float32)
    full, faint = overlay(photo, values), overlay(photo, values, strongest=10.0)
    assert full.getpixel((20, 20))[0] > faint.getpixel((20, 20))[0] > 128
