"""Pixels: orientation, inks, depths, every kind of PNG, and transparency."""

import numpy as np
import pytest
from PIL import Image

from helpers import odd_images as odd
from helpers.images import pixels_of
from tellapart.decoding import Decoded, decode, encode_thumbnail

WITH_EXIF = [format for format in odd.FORMATS if format not in ("GIF", "BMP")]


def mean_difference(data: bytes, expected: np.ndarray) -> float:
    return float(np.abs(pixels_of(data) - expected).mean())


# ── orientation ──


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", WITH_EXIF)
def test_exif_orientation_is_applied_once(format, orientation):
    upright = pixels_of(odd.oriented(format, 1))
    assert mean_difference(odd.oriented(format, orientation), upright) <= 2


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_bad_exif_is_noted_and_never_rejects(format):
    decoded = decode(odd.bad_exif(format))
    assert (decoded.status, decoded.notes) == ("ok", ("bad_exif",))


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_is_ignored(orientation):
    decoded = decode(odd.oriented("JPEG", orientation))
    assert (decoded.notes, decoded.width) == ((), 64)


# ── inks and colour spaces ──


@pytest.mark.parametrize("kind", [odd.cmyk_jpeg, odd.ycck_jpeg, odd.no_marker_jpeg])
def test_ink_jpegs_follow_the_plain_ink_formula_and_are_no_negatives(kind):
    assert mean_difference(kind(), odd.plain_ink_formula(odd.inks())) < 2
    assert decode(kind()).notes == ("cmyk_converted",)


def test_an_ink_tiff_follows_the_plain_ink_formula():
    data = odd.encoded(Image.fromarray(odd.inks(), "CMYK"), "TIFF")
    assert mean_difference(data, odd.plain_ink_formula(odd.inks())) < 1


@pytest.mark.parametrize("mode", ["LAB", "YCbCr"])
def test_other_colour_spaces_come_back_as_the_same_colours(mode):
    assert mean_difference(odd.in_mode(mode, "TIFF"), odd.scene()) < 2


@pytest.mark.parametrize("format", ["PNG", "TIFF", "BMP", "GIF"])
def test_one_bit_is_black_and_white(format):
    expected = np.asarray(Image.fromarray(odd.scene()).convert("1")) * 255
    assert np.array_equal(pixels_of(odd.in_mode("1", format)), expected[:, :, None].repeat(3, 2))


@pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF", "BMP"])
def test_grey_is_repeated_in_three_channels(format):
    pixels = pixels_of(odd.in_mode("L", format, quality=95))
    assert np.array_equal(pixels[:, :, 0], pixels[:, :, 1])
    assert (
        np.abs(pixels[:, :, 2] - np.asarray(Image.fromarray(odd.scene()).convert("L"), int)).mean()
        < 2
    )


def test_a_colour_profile_is_left_alone():
    plain, profiled = (
        odd.encoded(odd.scene()),
        odd.encoded(odd.scene(), icc_profile=b"any bytes at all"),
    )
    assert np.array_equal(pixels_of(plain), pixels_of(profiled))


# ── more than 8 bits ──


@pytest.mark.parametrize("kind", odd.RAMPS)
def test_sixteen_bits_are_scaled_and_never_saturated(kind):
    grey = pixels_of(odd.ramp_file(kind))[:, :, 0]
    assert len(np.unique(grey)) == 256
    assert (np.diff(grey.ravel()) >= 0).all()
    assert np.abs(grey - odd.ramp() / 257).max() <= 1


def test_sixteen_bit_grey_is_noted_because_it_may_come_out_dark():
    assert decode(odd.ramp_file("png")).notes == ("16_bit_scaled",)


def test_twelve_bits_use_the_whole_range_too():
    grey = pixels_of(odd.twelve_bit_tiff())[:, :, 0]
    assert (grey.min(), grey.max()) == (0, 255)
    assert len(np.unique(grey)) == 256


@pytest.mark.parametrize("make", [odd.int32_tiff, odd.float_tiff])
def test_pixels_whose_range_is_not_known_are_refused_rather_than_guessed(make):
    assert decode(make()).status == "unsupported"


# ── every kind of PNG ──


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(("colour", "depth"), odd.PNG_KINDS)
def test_every_kind_of_png_shows_the_pixels_that_were_stored(colour, depth, interlaced):
    sizes, keys = (1, 2, 5, 9, 21), (False, True) if colour < 4 and depth > 1 else (False,)
    ways = [
        {"size": n, "key": key, "row_filter": f} for n in sizes for key in keys for f in range(6)
    ]
    pairs = [odd.any_png(colour, depth, interlaced=interlaced, **way) for way in ways]
    worst = max(np.abs(pixels_of(data) - np.rint(shown)).max() for data, shown in pairs)
    # Of 16 bits, colour and alpha lose up to one step of 8 bits each.
    assert worst <= {8: 0, 16: 2 if colour in (4, 6) else 1}.get(depth, 0)


@pytest.mark.parametrize("name", odd.broken_pngs())
def test_a_broken_png_is_rejected_but_for_a_checksum_that_says_nothing_of_the_pixels(name):
    status = decode(odd.broken_pngs()[name]).status
    assert (
        status == "ok" if name == "stream_checksum.png" else status in ("corrupt", "not_an_image")
    )


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(("colour", "depth"), odd.PNG_KINDS)
def test_rows_that_a_png_does_not_hold_are_never_black(colour, depth, interlaced):
    whole = [
        odd.any_png(colour, depth, interlaced=interlaced, size=size)[0] for size in (1, 5, 6, 9, 21)
    ]
    short = [odd.with_rows(data, odd.rows_in(data)[:end]) for data in whole for end in (0, -1)]
    black = [odd.with_rows(data, bytes(len(odd.rows_in(data)))) for data in whole]
    assert {decode(data).status for data in short} == {"corrupt"}
    assert {decode(data).status for data in black} == {"ok"}


# ── transparency ──


@pytest.mark.parametrize("kind", odd.TRANSPARENT)
def test_transparency_is_laid_on_white_whatever_the_encoding(kind):
    assert np.abs(pixels_of(odd.transparent(kind)) - odd.stencil_on_white()).max() <= 1
    assert "alpha_on_white" in decode(odd.transparent(kind)).notes


@pytest.mark.parametrize("kind", odd.TRANSPARENT)
def test_the_hidden_colour_of_transparent_pixels_has_no_effect(kind):
    first, other = (pixels_of(odd.transparent(kind, hidden)) for hidden in (90, 250))
    assert np.array_equal(first, other)


def test_half_transparent_is_half_white():
    black = Image.new("RGBA", (4, 4), (0, 0, 0, 128))
    assert np.abs(pixels_of(odd.encoded(black)) - 127).max() <= 1


def test_an_alpha_channel_that_hides_nothing_is_no_news():
    assert decode(odd.in_mode("RGBA", "PNG")).notes == ()


def test_a_transparent_grey_of_four_bits_is_found():
    grey = pixels_of(odd.four_bit_png_with_a_key())[0, :, 0]
    assert grey.tolist() == [255 if level == 5 else level * 17 for level in range(16)]


@pytest.mark.parametrize("format", ["PNG", "GIF", "WEBP", "TIFF"])
def test_an_image_that_is_transparent_everywhere_is_white_and_says_so(format):
    decoded = decode(odd.invisible(format))
    assert (decoded.status, decoded.notes) == ("ok", ("transparent", "low_contrast"))
    assert decoded.pixels.min() == 255


def test_a_16_bit_grey_whose_only_level_is_the_transparent_one_says_so():
    level = np.full((8, 8), 700, np.uint16)
    decoded = decode(odd.encoded(Image.fromarray(level), transparency=700))
    assert decoded.notes == ("16_bit_scaled", "transparent", "low_contrast")
    assert decoded.pixels.min() == 255


def test_a_bmp_whose_alpha_is_empty_shows_its_colours():
    decoded = decode(odd.empty_alpha_bmp())
    assert (decoded.status, decoded.notes) == ("ok", ("alpha_ignored",))
    assert np.array_equal(decoded.pixels, odd.scene())


# ── thumbnails ──


def test_a_thumbnail_is_a_small_jpeg_of_the_same_image():
    small = decode(encode_thumbnail(odd.scene(), side=32))
    assert (small.format, small.width, small.height) == ("JPEG", 32, 24)
    assert abs(small.pixels.mean() - odd.scene().mean()) < 4


def test_a_thumbnail_is_never_enlarged_and_never_vanishes():
    assert decode(encode_thumbnail(odd.scene(), side=500)).width == 64
    assert decode(encode_thumbnail(np.zeros((1, 5000, 3), np.uint8), side=100)).height == 1


def test_a_verdict_cannot_be_changed():
    decoded = decode(odd.encoded(odd.scene()))
    assert isinstance(decoded, Decoded)
    assert not decoded.pixels.flags.writeable
    with pytest.raises(AttributeError):
        decoded.status = "ok"
