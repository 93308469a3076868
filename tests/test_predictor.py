"""The predictor in Python: what it takes, and the arrays that it gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tellapart import Answer, Predictor, UserError
from tellapart.decoding import decode_file


@pytest.fixture
def predictor(example_names: dict[str, Any]) -> Predictor:
    return example_names["predictor"]


@pytest.fixture
def files(example_names: dict[str, Any]) -> list[Path]:
    return [example_names["photos"] / kind / "000.jpg" for kind in ("sky", "brick", "leaf")]


def test_an_open_file_is_one_image_not_a_list_of_its_lines(predictor: Predictor, files: list[Path]):
    with files[0].open("rb") as file:
        answer = predictor.predict(file)
    assert isinstance(answer, Answer)
    assert answer.probabilities == predictor.predict(files[0]).probabilities


def test_every_form_of_an_image_has_the_same_answer(predictor: Predictor, files: list[Path]):
    data = files[0].read_bytes()
    forms = [files[0], data, bytearray(data), memoryview(data), Image.open(files[0])]
    answers = predictor.predict([*forms, decode_file(files[0]).pixels])
    assert [answer.probabilities for answer in answers] == [answers[0].probabilities] * 6


@pytest.mark.parametrize("several", [list, tuple, iter, lambda files: (file for file in files)])
def test_several_images_may_be_a_list_a_tuple_or_an_iterator(
    predictor: Predictor, files: list[Path], several: Any
):
    answers = predictor.predict(several(files))
    assert [answer.answer for answer in answers] == ["sky", "brick", "leaf"]


def test_one_pil_image_on_many_threads_has_one_answer(predictor: Predictor, files: list[Path]):
    img = Image.open(files[0])
    answers = predictor.predict([img] * 20)
    assert all(answer == answers[0] for answer in answers)


@pytest.mark.parametrize("wrong", [None, 7, {"a.jpg": 1}, {"a.jpg"}], ids=repr)
def test_what_is_neither_image_nor_list_is_refused(predictor: Predictor, wrong: object):
    with pytest.raises(UserError, match=r"Images cannot be of type \w+\. Give a path"):
        predictor.predict(wrong)


def test_an_item_of_no_known_form_is_named_by_its_position(predictor: Predictor, files: list[Path]):
    with pytest.raises(UserError, match=r"Image 1 \(from 0\): An image cannot be of type int"):
        predictor.predict([files[0], 7])


def test_probabilities_are_a_row_an_image(predictor: Predictor, files: list[Path]):
    rows = predictor.probabilities(iter(files))
    assert (rows.shape, rows.dtype) == ((3, 3), np.float32)
    answers = predictor.predict(files)
    assert rows.tolist() == [list(answer.probabilities.values()) for answer in answers]


def test_embeddings_are_a_row_an_image(predictor: Predictor, files: list[Path]):
    rows = predictor.embed(files)
    assert (rows.shape, rows.dtype) == ((3, 1280), np.float32)
    assert np.array_equal(rows[0], predictor.outputs(decode_file(files[0]).pixels).embedding)


def test_one_image_has_one_row_and_none_have_none(predictor: Predictor, files: list[Path]):
    assert predictor.probabilities(files[0]).shape == (1, 3)
    assert predictor.probabilities([]).shape == (0, 3)
    assert predictor.embed([]).shape == (0, 1280)


def test_an_unusable_image_has_no_row_so_its_position_and_status_are_named(
    predictor: Predictor, files: list[Path]
):
    with pytest.raises(UserError, match=r"Image 1 \(from 0\).*'missing'.*Leave it out"):
        predictor.probabilities([files[0], "nowhere.jpg"])
    with pytest.raises(UserError, match=r"Image 0 \(from 0\).*'empty'"):
        predictor.embed([b""])


def test_it_shows_its_classes_and_its_backbone(predictor: Predictor):
    assert repr(predictor) == (
        "Predictor(classes=('brick', 'leaf', 'sky'), backbone='tf_efficientnet_lite0')"
    )
