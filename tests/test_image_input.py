"""The forms in which an image may be given: each is decoded as a file of it is."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tellapart import UserError
from tellapart.decoders.rules import DecodeRules
from tellapart.decoding import Decoded, decode, decode_file
from tellapart.image_input import decode_input, is_image


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def encoded(img: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    img.save(out, kind, **options)
    return out.getvalue()


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def same(one: Decoded, other: Decoded) -> bool:
    return (one.status, one.notes) == (other.status, other.notes) and np.array_equal(
        one.pixels, other.pixels
    )


@pytest.fixture
def png() -> bytes:
    return encoded(Image.fromarray(noise(20, 30, 3)))


@pytest.fixture
def file(tmp_path: Path, png: bytes) -> Path:
    path = tmp_path / "noise.png"
    path.write_bytes(png)
    return path


# ── bytes and files ──


@pytest.mark.parametrize("form", [bytes, bytearray, memoryview, io.BytesIO, opened])
def test_an_image_in_memory_is_decoded_as_its_file_is(png: bytes, form: type):
    assert same(decode_input(form(png)), decode(png))


def test_a_path_may_be_text_or_a_path(file: Path):
    assert same(decode_input(str(file)), decode_file(file))
    assert same(decode_input(file), decode_file(file))


def test_an_open_file_is_one_image_however_often_it_is_read(file: Path):
    with file.open("rb") as stream:
        first, second = decode_input(stream), decode_input(stream)
    assert same(first, decode_file(file))
    assert same(second, decode_file(file))


def test_a_stream_that_cannot_be_sought_is_read_from_where_it_stands(png: bytes):
    class Stream:
        def read(self, size: int = -1) -> bytes:
            return png

    assert same(decode_input(Stream()), decode(png))


def test_a_temporary_file_will_do(png: bytes):
    with tempfile.TemporaryFile() as stream:
        stream.write(png)
        assert same(decode_input(stream), decode(png))


def test_a_file_in_text_mode_is_refused(file: Path):
    with file.open(encoding="latin-1") as stream, pytest.raises(UserError, match="in text mode"):
        decode_input(stream)
    with pytest.raises(UserError, match="in text mode"):
        decode_input(io.StringIO("x"))


def test_a_closed_file_is_refused(file: Path):
    with file.open("rb") as stream:
        pass
    with pytest.raises(UserError, match=r"The file is closed\. Open it with"):
        decode_input(stream)


def test_a_file_that_fails_while_it_is_read_has_a_status():
    class Broken:
        def read(self, size: int = -1) -> bytes:
            raise OSError("the disk is gone")

    assert decode_input(Broken()).status == "unreadable"


@pytest.mark.parametrize(("data", "status"), [(b"", "empty"), (b"%PDF-1.7", "not_an_image")])
def test_bytes_that_are_no_image_have_a_status(data: bytes, status: str):
    assert decode_input(data).status == status
    assert decode_input(io.BytesIO(data)).status == status


# ── PIL images ──


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_a_pil_image_of_any_mode_is_converted_as_its_file_is(mode: str):
    img = Image.fromarray(noise(12, 16, 4)).convert("L" if mode == "I;16" else "RGBA")
    img = img.convert("I").convert(mode) if mode == "I;16" else img.convert("RGB").convert(mode)
    data = encoded(img, "TIFF" if mode == "CMYK" else "PNG")
    assert same(decode_input(opened(data)), decode(data))


def test_an_image_that_is_transparent_everywhere_is_white_with_a_note():
    decoded = decode_input(Image.new("RGBA", (4, 4), (255, 0, 0, 0)))
    assert decoded.notes == ("transparent", "low_contrast")
    assert decoded.pixels.min() == 255


def test_one_transparent_colour_is_laid_on_white_and_the_image_stays_as_it_is():
    data = encoded(Image.new("L", (4, 4), 85), transparency=85)
    img = opened(data)
    assert same(decode_input(img), decode(data))
    assert same(decode_input(img), decode(data))


def test_exif_orientation_is_applied_unless_that_is_done_already():
    exif = Image.Exif()
    exif[274] = 6
    data = encoded(Image.fromarray(noise(8, 24, 3)), "JPEG", exif=exif)
    assert decode_input(opened(data)).pixels.shape == (24, 8, 3)
    assert same(decode_input(opened(data)), decode(data))


def test_a_pil_image_above_the_limit_is_too_large_as_its_file_is():
    assert (
        decode_input(Image.new("RGB", (40, 40)), rules=DecodeRules(max_pixels=1599)).status
        == "too_large"
    )
    assert (
        decode_input(np.zeros((40, 40, 3), np.uint8), rules=DecodeRules(max_pixels=1599)).status
        == "too_large"
    )


def test_a_pil_image_whose_range_is_not_known_is_unsupported():
    assert decode_input(Image.new("F", (4, 4))).status == "unsupported"


def test_a_lazily_opened_file_that_is_cut_has_a_status(png: bytes):
    assert decode_input(opened(png[:-200])).status == "corrupt"


def test_a_pil_image_without_pixels_is_empty():
    assert decode_input(Image.new("RGB", (0, 4))).status == "empty"


# ── arrays and tensors ──


def test_a_grey_array_has_three_equal_channels():
    grey = noise(6, 8)
    assert np.array_equal(decode_input(grey).pixels, np.stack([grey] * 3, axis=2))


def test_an_array_with_transparency_is_laid_on_white():
    rgba = noise(6, 8, 4)
    data = encoded(Image.fromarray(rgba))
    assert same(decode_input(rgba), decode(data))


@pytest.mark.parametrize(
    ("wrong", "way_out"),
    [
        (np.zeros((8, 8, 3), np.float32), "255 \\* array"),
        (np.zeros((3, 8, 8), np.uint8), "array.transpose"),
        (np.zeros((1, 8, 8, 3), np.uint8), "list\\(array\\)"),
        (np.array(["cat.jpg"]), "list\\(array\\)"),
        (np.zeros((0, 8, 3), np.uint8), "Convert it"),
        (np.zeros((8, 8), np.uint16), "Convert it"),
    ],
    ids=lambda value: f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else "",
)
def test_an_array_of_another_kind_is_told_what_is_wanted(wrong: np.ndarray, way_out: str):
    with pytest.raises(UserError, match=rf"An array must be uint8 of shape \(H, W, 3\).*{way_out}"):
        decode_input(wrong)


def test_a_tensor_may_have_its_channels_first_or_last():
    pixels = noise(6, 8, 3)
    last = torch.from_numpy(pixels)
    assert np.array_equal(decode_input(last).pixels, pixels)
    assert np.array_equal(decode_input(last.permute(2, 0, 1)).pixels, pixels)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (torch.zeros(3, 8, 8), r"must be uint8, got float32 \(3, 8, 8\).*255 \* tensor"),
        (torch.zeros(3, 8, 3, dtype=torch.uint8), r"\(3, 8, 3\) can be read both ways"),
        (torch.zeros(1, 8, 8, dtype=torch.uint8), r"got uint8 \(1, 8, 8\)"),
        (torch.zeros(2, 3, 8, 8, dtype=torch.uint8), r"got uint8 \(2, 3, 8, 8\)"),
    ],
    ids=["float", "ambiguous", "one channel", "batch"],
)
def test_a_tensor_that_could_mean_two_things_is_refused(wrong: torch.Tensor, words: str):
    with pytest.raises(UserError, match=words):
        decode_input(wrong)


# ── everything else ──


@pytest.mark.parametrize(
    "value", [None, 7, {"a": 1}, object(), [], range(3)], ids=lambda value: type(value).__name__
)
def test_what_is_no_image_is_one_clear_error(value: object):
    assert not is_image(value)
    with pytest.raises(UserError, match=r"An image cannot be of type \w+\. Give a path, bytes"):
        decode_input(value)
