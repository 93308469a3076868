"""Colour profiles: converted to sRGB, unless they are sRGB, damaged, or to be ignored."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from helpers import odd_images as odd
from helpers.images import pixels_of
from tellapart.decoders.rules import DecodeRules
from tellapart.decoding import decode, decode_image

IGNORE = DecodeRules(colour="ignore")


def difference(decoded, pixels: np.ndarray) -> float:
    return float(np.abs(decoded.pixels.astype(int) - pixels).mean())


@pytest.mark.parametrize(
    ("format", "most"), [("PNG", 1.5), ("TIFF", 1.5), ("JPEG", 4), ("WEBP", 6)]
)
def test_colours_of_a_wide_space_come_back_as_they_look(format, most):
    decoded = decode(odd.in_wide_colours(odd.scene(), format))
    assert decoded.notes == ("colour_profile",)
    assert difference(decoded, odd.scene()) < most


def test_ignored_profiles_leave_the_colours_as_they_are():
    data = odd.in_wide_colours(odd.scene())
    decoded = decode(data, rules=IGNORE)
    assert (decoded.notes, decoded.decoded_by) == ((), "")
    assert difference(decoded, odd.scene()) > 5


def test_an_old_model_file_leaves_colours_as_they_are():
    rules = DecodeRules.from_json({"max_pixels": 10**6})
    assert decode(odd.in_wide_colours(odd.scene()), rules=rules).notes == ()


def test_a_profile_of_srgb_costs_nothing_and_says_nothing():
    decoded = decode(odd.encoded(odd.scene(), icc_profile=odd.profile(is_wide=False)))
    assert (decoded.notes, decoded.decoded_by) == ((), "")
    assert np.array_equal(decoded.pixels, odd.scene())


@pytest.mark.parametrize(
    "profile",
    [
        b"any bytes at all",
        odd.profile(is_wide=True)[:200],
        odd.profile(is_wide=True).replace(b"RGB ", b"CMYK", 1),
        odd.profile(is_wide=True).replace(b"RGB ", b"Lab ", 1),
    ],
)
def test_a_profile_that_is_damaged_or_of_another_space_leaves_the_colours(profile):
    decoded = decode(odd.encoded(odd.scene(), icc_profile=profile))
    assert decoded.notes == ("bad_profile",)
    assert np.array_equal(decoded.pixels, odd.scene())


def test_transparency_is_kept_while_colours_are_converted():
    wide = np.asarray(Image.fromarray(odd.scene()).convert("RGBA")).copy()
    wide[:, :32, 3] = 0
    decoded = decode(odd.encoded(wide, icc_profile=odd.profile(is_wide=True)))
    assert decoded.notes == ("colour_profile", "alpha_on_white")
    assert decoded.pixels[:, :32].min() == 255


def test_grey_stays_grey_under_a_profile_of_rgb():
    decoded = decode(odd.in_mode("L", "PNG", icc_profile=odd.profile(is_wide=True)))
    assert np.ptp(decoded.pixels.astype(int), axis=2).max() <= 12


def test_an_image_of_pillow_is_converted_as_its_file_is():
    data = odd.in_wide_colours(odd.scene())
    img = Image.fromarray(decode(data, rules=IGNORE).pixels)
    img.info["icc_profile"] = odd.profile(is_wide=True)
    assert np.array_equal(decode_image(img).pixels, decode(data).pixels)


def test_many_threads_share_a_transform():
    files = [odd.in_wide_colours(odd.scene(seed)) for seed in range(24)]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(pixels_of, files))
    assert all(map(np.array_equal, together, map(pixels_of, files)))
