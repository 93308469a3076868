"""Preprocessing: a crop in integers, Pillow's resize as the reference, and a graph that does the
same.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from PIL import Image

import tellapart
from helpers.images import write_classes
from helpers.odd_images import oriented
from tellapart.export.compose import compose_features
from tellapart.modelfile.predictor import Predictor
from tellapart.modelfile.preprocessing import Preprocessing
from tellapart.modelfile.session import Session

SHAPES = [
    (1, 1),
    (1, 5000),
    (5000, 1),
    (3, 7),
    (7, 3),
    (64, 64),
    (63, 65),
    (101, 37),
    (480, 640),
    (33, 31),
]
CROP = Preprocessing(size_px=32, share_permille=875)
CUT_12 = Preprocessing(size_px=12, share_permille=875)
GREY = Preprocessing(size_px=32, grey=True, mean=(0.1, 0.2, 0.3), std=(0.2, 0.3, 0.4))
MODES = [
    CROP,
    Preprocessing(mode="squash", size_px=32),
    Preprocessing(mode="pad", size_px=32, mean=(0.48, 0.45, 0.4)),
]


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    """The hardest image to resize alike: no pixel is near its neighbour."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@cache
def graph_of(preprocessing: Preprocessing) -> Session:
    """The preprocessing as a graph, in front of the least network there is."""
    size = preprocessing.size_px
    nodes = [
        helper.make_node("GlobalAveragePool", ["input"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["embedding"]),
    ]
    channels = preprocessing.channels
    image = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", channels, size, size])
    mean = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["N", channels])
    network = helper.make_model(
        helper.make_graph(nodes, "mean", [image], [mean]),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=9,
    )
    model = onnx.load_from_string(compose_features(network.SerializeToString(), preprocessing))
    for name, kind, depth in (
        ("resized", TensorProto.UINT8, 3),
        ("preprocessed", TensorProto.FLOAT, channels),
    ):
        model.graph.output.append(
            helper.make_tensor_value_info(name, kind, ["N", depth, size, size])
        )
    return Session(model.SerializeToString())


def by_graph(preprocessing: Preprocessing, pixels: np.ndarray) -> np.ndarray:
    """(S, S, 3) what the graph makes of an image before it is normalised."""
    (resized,) = graph_of(preprocessing).run(pixels[None], ["resized"])
    return resized[0].transpose(1, 2, 0)


def largest_difference(one: np.ndarray, other: np.ndarray) -> int:
    return int(np.abs(one.astype(int) - other.astype(int)).max())


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    folder = tmp_path_factory.mktemp("preprocessing")
    data = write_classes(folder / "photos", 12)
    return tellapart.train(
        data, set={"preprocessing.size_px": 64}, out=folder / "runs", quiet=True
    ).predictor()


# ── the crop, the squash and the bars, in whole pixels ──


def test_the_centre_square_is_kept():
    pixels = noise(10, 16)
    assert (Preprocessing(size_px=10).resized(pixels) == pixels[:, 3:13]).all()


def test_the_odd_pixel_of_a_cut_goes_from_the_bottom_or_the_right():
    pixels = noise(10, 13)
    assert (Preprocessing(size_px=10).resized(pixels) == pixels[:, 1:11]).all()


def test_an_image_smaller_than_the_input_is_kept_whole():
    pixels = noise(10, 16)
    spared = Preprocessing(size_px=12, share_permille=875, spare_small=True)
    whole = Preprocessing(size_px=12, share_permille=1000)
    assert (spared.resized(pixels) == whole.resized(pixels)).all()


def test_an_image_a_little_larger_than_the_input_is_cut_to_the_input():
    pixels = noise(13, 16)
    spared = Preprocessing(size_px=12, share_permille=875, spare_small=True)
    assert (spared.resized(pixels) == pixels[0:12, 2:14]).all()


def test_a_large_image_is_cut_to_its_share():
    pixels = noise(40, 40)
    spared = Preprocessing(size_px=12, share_permille=875, spare_small=True)
    assert (spared.resized(pixels) == CUT_12.resized(pixels)).all()


@pytest.mark.parametrize("side", [10, 12, 13, 14, 40])
def test_the_graph_spares_small_images_alike(side: int):
    pixels = noise(side, side + 5)
    spared = Preprocessing(size_px=12, share_permille=875, spare_small=True)
    assert largest_difference(by_graph(spared, pixels), spared.resized(pixels)) <= 1


def test_a_model_file_of_an_earlier_tellapart_cuts_small_images_as_it_did():
    values = CROP.as_json()
    del values["spare_small"]
    assert not Preprocessing.from_json(values).spare_small


def test_a_share_is_of_the_short_side_and_half_a_pixel_is_a_whole_one():
    pixels = noise(20, 40)  # 875 thousandths of 20 are 17.5
    assert (
        Preprocessing(size_px=18, share_permille=875).resized(pixels) == pixels[1:19, 11:29]
    ).all()


def test_a_crop_keeps_at_least_one_pixel():
    pixels = noise(1, 1)
    assert (Preprocessing(size_px=4, share_permille=100).resized(pixels) == pixels).all()


def test_squash_keeps_every_corner():
    pixels = np.zeros((40, 80, 3), np.uint8)
    pixels[:10, :20] = pixels[-10:, -20:] = 255
    small = Preprocessing(mode="squash", size_px=8).resized(pixels)
    assert small[0, 0, 0] == small[-1, -1, 0] == 255
    assert small[0, -1, 0] == small[-1, 0, 0] == 0


def test_pad_adds_bars_that_are_grey_to_the_network_and_keeps_every_pixel():
    pixels = noise(3, 7)
    preprocessing = Preprocessing(mode="pad", size_px=7)
    padded = preprocessing.resized(pixels)
    assert (padded[2:5] == pixels).all()
    assert (padded[[0, 1, 5, 6]] == 128).all()
    assert abs(preprocessing.normalised(padded)[:, 0]).max() < 0.01


def test_normalising_puts_channels_first_and_applies_mean_and_std_to_each():
    preprocessing = Preprocessing(size_px=2, mean=(0.0, 0.5, 1.0), std=(1.0, 0.5, 0.25))
    white = preprocessing.normalised(np.full((2, 2, 3), 255, np.uint8))
    assert (white.shape, white.dtype) == ((3, 2, 2), np.float32)
    assert white[:, 0, 0].tolist() == [1.0, 1.0, 0.0]


def test_grey_is_one_channel_of_pillows_luminance_before_it_is_rounded():
    pixels = noise(32, 32)
    levels = (
        Preprocessing(size_px=32, grey=True, mean=(0, 0, 0), std=(1, 1, 1)).normalised(pixels) * 255
    )
    by_pillow = np.asarray(Image.fromarray(pixels).convert("L"), np.float32)
    assert (levels.shape, levels.dtype) == ((1, 32, 32), np.float32)
    assert abs(levels[0] - by_pillow).max() <= 0.51


def test_grey_is_normalised_by_the_means_over_the_channels():
    white, black = (GREY.normalised(np.full((2, 2, 3), level, np.uint8)) for level in (255, 0))
    assert white == pytest.approx((1 - 0.2) / 0.3, abs=1e-5)
    assert black == pytest.approx(-0.2 / 0.3, abs=1e-5)


def test_the_bars_of_a_grey_image_are_near_zero_for_the_network_too():
    preprocessing = replace(GREY, mode="pad", size_px=7)
    assert abs(preprocessing.normalised(preprocessing.resized(noise(3, 7)))[:, 0]).max() < 0.01


def test_json_and_back_gives_the_same_preprocessing():
    assert all(Preprocessing.from_json(one.as_json()) == one for one in [*MODES, GREY])


def test_a_model_file_from_before_there_was_grey_is_read_as_colour():
    values = {key: value for key, value in CROP.as_json().items() if key != "grey"}
    assert Preprocessing.from_json(values) == CROP


def test_it_says_what_it_does():
    assert str(CROP) == "centre square, 87.5 % of the short side, bicubic to 32 px"
    assert (
        str(GREY)
        == "centre square, 100 % of the short side, bicubic to 32 px, one channel of luminance"
    )


# ── the graph does what Pillow does ──


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("preprocessing", MODES, ids=lambda one: one.mode)
def test_the_graph_is_within_one_grey_level_of_pillow(
    preprocessing: Preprocessing, shape: tuple[int, int]
):
    pixels = noise(*shape)
    assert largest_difference(by_graph(preprocessing, pixels), preprocessing.resized(pixels)) <= 1


@pytest.mark.parametrize("shape", SHAPES[3:], ids=str)
def test_the_bilinear_graph_is_within_one_grey_level_of_pillow(shape: tuple[int, int]):
    preprocessing, pixels = Preprocessing(size_px=32, filter="bilinear"), noise(*shape)
    assert largest_difference(by_graph(preprocessing, pixels), preprocessing.resized(pixels)) <= 1


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(MODES), st.integers(1, 150), st.integers(1, 150), st.integers(0, 9))
def test_the_graph_is_within_one_grey_level_of_pillow_whatever_the_shape(
    preprocessing: Preprocessing, height: int, width: int, seed: int
):
    pixels = noise(height, width, seed)
    assert largest_difference(by_graph(preprocessing, pixels), preprocessing.resized(pixels)) <= 1


@pytest.mark.parametrize("share", [100, 333, 875, 999, 1000])
def test_the_graph_cuts_at_the_same_pixel(share: int):
    preprocessing = Preprocessing(size_px=32, share_permille=share)
    ramp = np.add.outer(np.arange(101), 2 * np.arange(67)).astype(np.uint8)[:, :, None].repeat(3, 2)
    assert largest_difference(by_graph(preprocessing, ramp), preprocessing.resized(ramp)) <= 1


@pytest.mark.parametrize("grey", [False, True])
def test_the_graph_normalises_as_the_reference_does(grey: bool):
    pixels = noise(50, 60)
    preprocessing = Preprocessing(
        size_px=32, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), grey=grey
    )
    (tensor,) = graph_of(preprocessing).run(pixels[None], ["preprocessed"])
    assert tensor[0] == pytest.approx(
        preprocessing.normalised(by_graph(preprocessing, pixels)), abs=1e-5
    )


def test_a_batch_is_resized_as_its_images_are():
    pixels = np.stack([noise(40, 50, seed) for seed in range(7)])
    (together,) = graph_of(CROP).run(pixels, ["resized"])
    assert (together == np.stack([by_graph(CROP, one).transpose(2, 0, 1) for one in pixels])).all()


# ── and the orientation in the file is not the model's concern ──


@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_image_stored_turned_has_the_same_probabilities(predictor: Predictor, orientation: int):
    upright, turned = predictor.predict([oriented("PNG", 1), oriented("PNG", orientation)])
    assert turned.probabilities == pytest.approx(upright.probabilities, abs=1e-6)


@pytest.mark.parametrize("format", ["JPEG", "TIFF", "WEBP"])
def test_a_image_stored_turned_has_the_same_answer_in_every_format(
    predictor: Predictor, format: str
):
    answers = predictor.predict([oriented(format, orientation) for orientation in range(1, 9)])
    assert {answer.answer for answer in answers} == {answers[0].answer}


def test_other_images_have_other_probabilities(predictor: Predictor):
    first, *others = predictor.predict([oriented("PNG", 1, seed) for seed in range(3)])
    assert all(
        other.probabilities != pytest.approx(first.probabilities, rel=0.01, abs=0)
        for other in others
    )
