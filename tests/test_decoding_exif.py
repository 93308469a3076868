"""When and by which camera an image was taken, from its EXIF."""

import io
import warnings

import pytest
from PIL import Image

from helpers import odd_images as odd
from tellapart.decoding import decode

WITH_EXIF = [format for format in odd.FORMATS if format not in ("GIF", "BMP")]


@pytest.mark.parametrize("format", WITH_EXIF)
def test_the_moment_and_the_camera_are_read_from_exif(format):
    data = odd.captured(format, fraction="25", make="Acme", model="Shot 9", serial="0042")
    assert decode(data).taken == "2026-05-04T13:02:09.250|Acme Shot 9 0042"


def test_a_moment_without_fraction_or_camera_is_enough():
    assert decode(odd.captured("JPEG")).taken == "2026-05-04T13:02:09|"


def test_a_camera_without_a_moment_is_not():
    assert decode(odd.captured("JPEG", moment="", make="Acme")).taken == ""


@pytest.mark.parametrize(
    "data", [odd.encoded(odd.scene(), "JPEG"), odd.oriented("PNG", 6), odd.bad_exif("WEBP"), b"x"]
)
def test_what_has_no_moment_has_an_empty_one(data):
    assert decode(data).taken == ""


@pytest.mark.parametrize(
    "moment",
    [
        "0000:00:00 00:00:00",
        "2026:13:01 00:00:00",
        "2026:02:30 00:00:00",
        "2026:05:04 25:00:00",
        "    :  :     :  :  ",
        "2026-05-04",
        "yesterday",
        "2026:05:04 13:02:09 and more",
        "\u0662\u0660\u0662\u0666:05:04 13:02:09",
        b"\xff" * 20,
    ],
)
def test_a_moment_that_cannot_be_is_none(moment):
    assert decode(odd.captured("JPEG", moment=moment)).taken == ""


@pytest.mark.parametrize("fraction", ["", "abc", "-5", "  "])
def test_a_fraction_that_is_no_number_is_left_out(fraction):
    assert decode(odd.captured("JPEG", fraction=fraction)).taken == "2026-05-04T13:02:09|"


@pytest.mark.parametrize(
    ("fraction", "milliseconds"), [("5", "500"), ("25", "250"), ("062", "062"), ("123456", "123")]
)
def test_a_fraction_of_any_length_is_in_milliseconds(fraction, milliseconds):
    assert (
        decode(odd.captured("JPEG", fraction=fraction)).taken
        == f"2026-05-04T13:02:09.{milliseconds}|"
    )


def test_the_names_of_a_camera_are_short_printable_lines():
    taken = decode(
        odd.captured("JPEG", make="Ac\nme\0\x1b[31m", model="x" * 5000, serial=" 7\0\0")
    ).taken
    assert taken == f"2026-05-04T13:02:09|Ac me [31m {'x' * 32} 7"


@pytest.mark.parametrize("format", WITH_EXIF)
def test_damaged_exif_never_rejects_what_plain_pillow_decodes(format):
    data = odd.captured(format, make="Acme", model="Shot 9", fraction="25")
    begin = data.index(b"Acme") - 60
    assert begin > 0
    exif = [
        data[:begin] + part + data[begin + 160 :]
        for part in odd.damaged(data[begin : begin + 160], 150)
    ]
    verdicts = [decode(broken) for broken in exif]
    refused = [
        broken for broken, verdict in zip(exif, verdicts, strict=True) if verdict.status != "ok"
    ]
    assert not [broken for broken in refused if plain_pillow_decodes(broken)]
    assert all(verdict.taken.isprintable() and len(verdict.taken) < 130 for verdict in verdicts)


def plain_pillow_decodes(data):
    try:
        with warnings.catch_warnings(), Image.open(io.BytesIO(data), formats=odd.FORMATS) as img:
            warnings.simplefilter("ignore")
            img.load()
    except Exception:
        return False
    return True
