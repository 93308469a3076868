"""Kinds of files that are easily refused or misread: PNM, JPEG 2000, TIFFs of many bands, JPEGs without an
end, very large JPEGs, and icons on transparency."""

import io
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageFile, features

from helpers import odd_images as odd
from helpers.images import pixels_of
from tellapart.decoders import jpegs
from tellapart.decoders.rules import DecodeRules
from tellapart.decoding import decode

needs_jpeg_2000 = pytest.mark.skipif(
    not features.check("jpg_2000"), reason="this Pillow reads no JPEG 2000"
)
OLD = DecodeRules.from_json({"max_pixels": 10**6})

# ── PNM ──


@pytest.mark.parametrize("kind", [3, 6])
def test_a_ppm_shows_its_colours(kind):
    decoded = decode(odd.pnm(kind), name="sign.ppm")
    assert (decoded.format, decoded.notes) == ("PPM", ())
    assert np.array_equal(decoded.pixels, odd.scene())


@pytest.mark.parametrize("kind", [2, 5])
def test_a_pgm_shows_its_greys(kind):
    grey = np.asarray(Image.fromarray(odd.scene()).convert("L"))
    assert np.array_equal(pixels_of(odd.pnm(kind))[:, :, 1], grey)


@pytest.mark.parametrize("kind", [1, 4])
def test_a_pbm_is_black_where_it_is_one(kind):
    grey = np.asarray(Image.fromarray(odd.scene()).convert("L"))
    assert np.array_equal(pixels_of(odd.pnm(kind))[:, :, 0], np.where(grey < 128, 0, 255))


@pytest.mark.parametrize("top", [4095, 65535])
def test_a_pgm_of_more_than_8_bits_is_scaled_by_its_declared_top(top):
    decoded = decode(odd.pnm(5, top))
    assert decoded.notes == ("16_bit_scaled",)
    assert np.abs(decoded.pixels.astype(int) - pixels_of(odd.pnm(5))).max() <= 1


@pytest.mark.parametrize("kind", range(1, 7))
def test_a_cut_pnm_is_truncated(kind):
    assert decode(odd.cut(odd.pnm(kind), 60)).status == "truncated"


@pytest.mark.parametrize("text", [b"P1 is a page of parking", b"P5\nis first", b"P2", b"Pf. 3"])
def test_a_text_that_begins_like_a_pnm_is_a_text(text):
    assert decode(text).status == "not_an_image"


# ── JPEG 2000 ──


@needs_jpeg_2000
def test_jpeg_2000_is_decoded():
    decoded = decode(odd.encoded(odd.scene(), "JPEG2000"), name="scan.jp2")
    assert (decoded.status, decoded.format, decoded.notes) == ("ok", "JPEG2000", ())
    assert np.array_equal(decoded.pixels, odd.scene())


@needs_jpeg_2000
@pytest.mark.parametrize("percent", [10, 50, 90, 99])
def test_a_cut_jpeg_2000_is_truncated(percent):
    data = odd.encoded(odd.scene(), "JPEG2000")
    assert decode(odd.cut(data, percent)).status == "truncated"


def test_a_pillow_without_jpeg_2000_says_so(monkeypatch):
    monkeypatch.setattr(features, "check", lambda feature: False)
    refused = decode(b"\xff\x4f\xff\x51" + bytes(60))
    assert refused.status == "unsupported"
    assert "JPEG 2000" in refused.detail


# ── TIFFs of many bands ──


@pytest.mark.parametrize("extra", [0, None])
def test_a_fourth_band_that_is_not_said_to_be_transparency_is_left_out(extra):
    decoded = decode(odd.bands_tiff(4, 8, extra=extra))
    assert decoded.notes == ("bands_left_out",)
    assert np.array_equal(decoded.pixels, odd.scene())


def test_a_fourth_band_that_is_said_to_be_transparency_is():
    assert decode(odd.bands_tiff(4, 8, extra=2)).notes == ("alpha_on_white",)


def test_an_old_model_file_takes_a_fourth_band_as_it_did():
    assert "alpha_on_white" in decode(odd.bands_tiff(4, 8, extra=None), rules=OLD).notes


@pytest.mark.parametrize("planes", [False, True])
def test_bands_that_are_not_read_are_counted_and_not_called_damaged(planes):
    refused = decode(odd.bands_tiff(13, 16, planes=planes))
    assert refused.status == "unsupported"
    assert refused.detail.startswith("It is a TIFF of 13 bands of 16 bits. Choose three")


@pytest.mark.parametrize("compression", ["jpeg", "tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_colours_are_right_whatever_compresses_a_tiff(compression):
    difference = pixels_of(
        odd.encoded(odd.scene(), "TIFF", compression=compression)
    ) - odd.scene().astype(int)
    assert np.abs(difference).mean() < 9


# ── JPEGs without an end ──

UNENDED = {
    "plain": {},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_blocks": 2},
    "optimized": {"optimize": True},
    "subsampled": {"subsampling": "4:2:0"},
}


@pytest.mark.parametrize("tail", [b"", b"\xff", bytes(1), bytes(64), b"\xff" + bytes(64)])
@pytest.mark.parametrize("kind", UNENDED)
def test_a_jpeg_that_lacks_only_its_end_marker_is_read(kind, tail):
    whole = odd.encoded(odd.scene(), "JPEG", **UNENDED[kind])
    decoded = decode(whole[:-2] + tail)
    assert decoded.notes == ("no_end_marker",)
    assert np.array_equal(decoded.pixels, pixels_of(whole))


@pytest.mark.parametrize("tail", [b"", bytes(5000)])
@pytest.mark.parametrize("kind", UNENDED)
def test_no_pixel_of_a_cut_jpeg_is_invented_even_where_zeros_follow(kind, tail):
    whole = odd.encoded(odd.scene(), "JPEG", **UNENDED[kind])
    pixels = pixels_of(whole)
    cuts = [decode(whole[:length] + tail) for length in range(600, len(whole), 7)]
    assert {cut.status for cut in cuts} <= {"truncated", "ok", "corrupt"}
    assert all(np.array_equal(cut.pixels, pixels) for cut in cuts if cut.status == "ok")


def test_a_library_that_accepts_cut_files_does_not_hide_a_missing_row(monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    data = odd.encoded(odd.scene(), "JPEG")
    assert decode(data[:-40]).status == "truncated"
    assert decode(data[:-2]).notes == ("no_end_marker",)


# ── larger than the limit ──


@pytest.mark.parametrize(("limit", "size"), [(3072, (64, 48)), (3071, (32, 24)), (100, (8, 6))])
def test_a_jpeg_beyond_the_limit_is_decoded_at_the_largest_scale_that_fits(limit, size):
    decoded = decode(odd.encoded(odd.scene(), "JPEG"), rules=DecodeRules(max_pixels=limit))
    assert (decoded.width, decoded.height) == size
    assert ("reduced" in decoded.notes) == (size != (64, 48))


def test_a_reduced_jpeg_shows_the_same_image():
    data = odd.encoded(odd.scene(), "JPEG")
    half = decode(data, rules=DecodeRules(max_pixels=3071)).pixels
    expected = np.asarray(Image.fromarray(decode(data).pixels).reduce(2))
    assert np.abs(half.astype(int) - expected).mean() < 2


@pytest.mark.parametrize("limit", [10, 47])
def test_a_jpeg_of_which_no_scale_fits_is_too_large(limit):
    refused = decode(odd.encoded(odd.scene(), "JPEG"), rules=DecodeRules(max_pixels=limit))
    assert refused.status == "too_large"


def test_the_message_of_the_limit_names_the_setting():
    refused = decode(odd.encoded(odd.scene()), rules=DecodeRules(max_pixels=3071))
    assert refused.detail.endswith("--set decoding.max_pixels=3072 allows it.")


def test_a_limit_above_pillows_own_holds():
    wide = odd.encoded(Image.new("1", (20_000, 9000)))  # 180,000,000 pixels
    assert decode(wide, rules=DecodeRules(max_pixels=180_000_000)).width == 20_000


@pytest.mark.parametrize(("progressive", "fits"), [(False, 4), (True, None)])
def test_progressive_jpegs_are_bounded_since_all_coefficients_are_held(progressive, fits):
    img = SimpleNamespace(width=30_000, height=30_000, mode="L", info={"progressive": progressive})
    assert jpegs.scale_for(img, DecodeRules()) == fits


# ── icons ──


def test_a_white_icon_is_laid_on_black_and_can_be_seen():
    decoded = decode(odd.white_icon())
    _, visible = odd.stencil()
    assert decoded.notes == ("alpha_on_black",)
    assert np.array_equal(decoded.pixels[:, :, 0], np.where(visible, 255, 0))


def test_an_old_model_file_lays_a_white_icon_on_white():
    assert decode(odd.white_icon(), rules=OLD).notes == ("alpha_on_white", "low_contrast")


def test_a_white_icon_with_faint_noise_is_laid_on_black_too():
    rgba = np.asarray(Image.open(io.BytesIO(odd.white_icon()))).copy()
    rgba[:, :, :3] -= np.random.default_rng(0).integers(0, 6, (48, 64, 3), np.uint8)
    assert decode(odd.encoded(rgba)).notes == ("alpha_on_black",)


def test_an_image_without_contrast_says_so():
    assert decode(odd.encoded(np.full((48, 64, 3), 90, np.uint8))).notes == ("low_contrast",)


def test_a_fine_pattern_has_contrast():
    checks = (np.indices((200, 200)).sum(0) % 2 * 255).astype(np.uint8)
    assert decode(odd.encoded(checks)).notes == ()


# ── kinds that are not read ──


def jpeg_with(frame: int, bits: int) -> bytes:
    """A JPEG whose frame claims to be of another kind."""
    data = bytearray(odd.encoded(odd.scene(), "JPEG"))
    at = data.index(b"\xff\xc0")
    data[at + 1], data[at + 4] = frame, bits
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (jpeg_with(0xC1, 12), "a JPEG of 12 bits"),
        (jpeg_with(0xC7, 8), "a rare kind (hierarchical)"),
        (odd.bmp(0, odd.encoded(odd.scene(), "JPEG"), compression=4), "a BMP that holds a JPEG"),
        (b"\xff\xd8\xff\xf7" + bytes(60), "a JPEG-LS image"),
        (bytes(344) + b"n+1\0" + bytes(60), "a NIfTI volume"),
        (b"ZISRAWFILE" + bytes(60), "a Zeiss CZI image"),
    ],
)
def test_a_kind_that_is_not_read_is_named_and_not_called_damaged(data, words):
    refused = decode(data)
    assert refused.status == "unsupported"
    assert words in refused.detail


def test_a_huge_jpeg_without_an_end_is_too_large_before_it_is_decoded(monkeypatch):
    monkeypatch.setattr(jpegs, "with_end", None)
    assert decode(odd.more_bombs()["bomb_header.jpg"][:-2]).status == "too_large"
