"""The decode contract: any file becomes RGB pixels, or a named status. Never an exception, never a wrong image."""

import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from helpers import odd_images as odd
from helpers.images import pixels_of
from tellapart.decoders.rules import DecodeRules
from tellapart.decoding import NOTES, STATUSES, decode, decode_file

WITH_FRAMES = [format for format in [*odd.FORMATS, "MPO"] if format not in ("JPEG", "BMP")]


# ── ordinary images ──


@pytest.mark.parametrize("format", odd.FORMATS)
def test_every_format_becomes_rgb_pixels(format):
    decoded = decode(odd.encoded(odd.scene(), format))
    assert (decoded.status, decoded.format, decoded.notes, decoded.detail) == ("ok", format, (), "")
    assert (decoded.width, decoded.height) == (64, 48)
    assert decoded.pixels.dtype == np.uint8
    assert decoded.pixels.flags.c_contiguous
    assert np.abs(decoded.pixels.astype(int) - odd.scene()).mean() < 9  # GIF has 256 colours


def test_an_ordinary_jpeg_gives_what_plain_pillow_gives(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(odd.encoded(odd.scene(), "JPEG"))
    assert np.array_equal(decode_file(path).pixels, np.asarray(Image.open(path).convert("RGB")))


def test_decoding_twice_gives_the_same_pixels():
    data = odd.encoded(odd.scene(), "JPEG")
    assert np.array_equal(pixels_of(data), pixels_of(data))


def test_many_threads_decode_at_once_and_agree():
    files = [odd.encoded(odd.scene(i), odd.FORMATS[i % len(odd.FORMATS)]) for i in range(64)]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(pixels_of, files))
    assert all(
        np.array_equal(pixels, pixels_of(data))
        for pixels, data in zip(together, files, strict=True)
    )


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1)])
def test_extreme_shapes_are_images_too(size):
    data = odd.encoded(Image.new("RGB", size, "red"))
    assert (decode(data).width, decode(data).height) == size


def test_a_refused_file_has_no_pixels_and_no_size():
    refused = decode(b"nothing")
    assert (refused.pixels, refused.width, refused.height) == (None, 0, 0)


# ── several images in one file ──


@pytest.mark.parametrize("format", WITH_FRAMES)
def test_the_first_frame_is_used_and_noted_once(format):
    decoded = decode(odd.animated(format))
    assert decoded.notes == ("first_frame",)
    assert np.abs(decoded.pixels.astype(int) - odd.scene()).mean() < 9


def test_a_pair_of_images_in_a_jpeg_is_a_jpeg():
    assert decode(odd.animated("MPO"), name="pair.jpg").format == "JPEG"


def test_a_long_animation_costs_no_more_than_its_first_frame():
    data = odd.long_gif(frames=10_000)
    tracemalloc.start()
    decoded = decode(data)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert decoded.notes == ("first_frame",)
    assert (
        peak_bytes < 10 * 2**20
    )  # counting the frames takes seconds; the time limit is in the test of bombs


# ── content over names ──


def test_a_wrong_extension_is_noted():
    decoded = decode(odd.encoded(odd.scene()), name="cat.jpg")
    assert (decoded.status, decoded.format, decoded.notes) == ("ok", "PNG", ("wrong_extension",))


@pytest.mark.parametrize("name", ["cat.PNG", "cat", "", "cat.2024", "cat.png.download"])
def test_a_right_unknown_or_missing_extension_is_not_noted(name):
    assert decode(odd.encoded(odd.scene()), name=name).notes == ()


@pytest.mark.parametrize("name", odd.impostors())
def test_what_only_has_the_name_of_a_image_is_not_an_image(name):
    content, word = odd.impostors()[name]
    decoded = decode(content, name=name)
    assert decoded.status == "not_an_image"
    assert word in decoded.detail


@pytest.mark.parametrize("name", odd.unsupported())
def test_a_image_that_is_not_read_here_is_named_with_a_way_out(name):
    content, word = odd.unsupported()[name]
    decoded = decode(content, name=name)
    assert decoded.status == "unsupported"
    assert word in decoded.detail
    assert decoded.detail.endswith(
        (
            "Convert it to JPEG or PNG first.",
            "Save it with 8 or 16 bits first.",
            "Choose three and save them as RGB.",
            "Save it without compression, or as PNG.",
        )
    )


@pytest.mark.skipif(not odd.HAS_AVIF, reason="this Pillow reads no AVIF")
def test_an_avif_in_a_general_container_is_told_from_a_heif():
    data = odd.encoded(odd.scene(), "AVIF")
    assert decode(data.replace(b"ftypavif", b"ftypmif1", 1)).format == "AVIF"


# ── words ──


def test_every_status_and_note_has_a_sentence():
    sentences = [*STATUSES.values(), *NOTES.values()]
    assert all(sentence[0].isupper() and sentence.endswith(".") for sentence in sentences)


def test_every_status_and_note_occurs_in_the_folder_of_odd_files(tmp_path):
    verdicts = [decode_file(tmp_path / name) for name in odd.salt(tmp_path)]
    assert {verdict.status for verdict in verdicts} | {"unreadable"} == set(STATUSES)
    # The scan's, those of a set whose range is known, and one of very large images.
    elsewhere = {"link_outside", "range_scaled", "not_finite", "reduced"}
    assert {note for verdict in verdicts for note in verdict.notes} == set(NOTES) - elsewhere


def test_a_detail_is_one_sentence_or_two_of_our_own_words(tmp_path):
    details = [decode_file(tmp_path / name).detail for name in odd.salt(tmp_path)]
    assert not [
        d
        for d in details
        if "0x" in d or "/" in d or "<" in d or "Error" in d or str(tmp_path) in d
    ]
    assert all(d.endswith(".") and len(d) < 130 for d in details if d)


def test_the_state_of_the_warning_filters_changes_no_verdict(recwarn):
    wide = odd.encoded(
        Image.new("1", (9500, 9500))
    )  # Pillow warns of it, and every warning is an error in these tests
    assert decode(wide).status == "too_large"
    assert decode(wide, rules=DecodeRules(max_pixels=9500 * 9500)).status == "ok"
    assert len(recwarn) == 0
