"""HEIC, JPEG XL and DICOM: decoded where their extra is installed, and named where it is not."""

import numpy as np
import pytest

from helpers import odd_images as odd
from tellapart.catalog.scan import scan
from tellapart.decoders import opening
from tellapart.decoders.jxl import size_of
from tellapart.decoders.rules import DecodeRules
from tellapart.decoding import decode
from tellapart.sources.source import read_source

EXTRAS = {"phone.heic": "heic", "new.jxl": "jxl", "scan.dcm": "dicom"}
FILES = odd.extra_files()

needs_heif = pytest.mark.skipif("phone.heic" not in FILES, reason="pillow-heif is not installed")
needs_jxl = pytest.mark.skipif("new.jxl" not in FILES, reason="pillow-jxl-plugin is not installed")
needs_dicom = pytest.mark.skipif("scan.dcm" not in FILES, reason="pydicom is not installed")


@pytest.mark.parametrize("name", FILES)
def test_an_extra_decodes_its_format(name):
    decoded = decode(FILES[name], name=name)
    assert (decoded.status, decoded.notes, decoded.width) == ("ok", (), 64)
    assert opening.is_decoder(decoded.decoded_by)


@pytest.mark.parametrize("name", FILES)
def test_without_the_extra_the_detail_names_the_command(name, monkeypatch):
    monkeypatch.setattr(opening, "find_spec", lambda module: None)
    refused = decode(FILES[name])
    assert refused.status == "unsupported"
    assert refused.detail.endswith(f"pip install 'tellapart[{EXTRAS[name]}]'.")


@pytest.mark.parametrize("percent", [30, 50, 90, 99])
@pytest.mark.parametrize("name", FILES)
def test_a_cut_file_gives_no_pixels(name, percent):
    assert decode(odd.cut(FILES[name], percent)).status in ("truncated", "corrupt")


@pytest.mark.parametrize("name", FILES)
def test_the_limit_of_pixels_holds_before_anything_is_decoded(name):
    refused = decode(FILES[name], rules=DecodeRules(max_pixels=3071))
    assert refused.status == "too_large"


@pytest.mark.parametrize("name", FILES)
def test_random_damage_always_gets_a_verdict(name):
    statuses = {decode(data).status for data in odd.damaged(FILES[name], 60)}
    assert statuses <= {"ok", "corrupt", "truncated", "unsupported", "too_large", "not_an_image"}


@needs_heif
def test_the_rules_of_a_scan_say_which_decoder_was_needed(tmp_path):
    for number, label in enumerate("aabb"):
        (tmp_path / label).mkdir(exist_ok=True)
        (tmp_path / label / f"{number}.heic").write_bytes(odd.heic(number))
    rules = scan(read_source(tmp_path)).rules
    assert [decoder.split()[0] for decoder in rules.decoders] == ["pillow-heif"]


@needs_heif
def test_a_heic_shows_its_colours():
    difference = decode(odd.heic()).pixels.astype(int) - odd.scene()
    assert np.abs(difference).mean() < 9


@needs_jxl
def test_a_jpeg_xl_without_loss_shows_its_pixels():
    assert np.array_equal(decode(odd.jxl()).pixels, odd.scene())


@needs_jxl
def test_the_size_of_a_jpeg_xl_is_read_without_decoding():
    assert size_of(odd.jxl()) == (64, 48)


GREY = odd.scene()[:, :, 0]


@needs_dicom
def test_a_dicom_of_8_bits_shows_its_greys():
    assert np.array_equal(decode(odd.dicom(GREY)).pixels[:, :, 1], GREY)


@needs_dicom
def test_monochrome1_is_inverted():
    data = odd.dicom(GREY, PhotometricInterpretation="MONOCHROME1")
    assert np.array_equal(decode(data).pixels[:, :, 1], 255 - GREY)


@needs_dicom
def test_the_window_of_the_file_and_its_slope_make_the_greys():
    values = (GREY.astype(np.int16) - 100) * 4
    data = odd.dicom(
        values // 2, RescaleSlope=2, RescaleIntercept=0, WindowCenter=-400 + 510.5, WindowWidth=1021
    )
    assert np.abs(decode(data).pixels[:, :, 0].astype(int) - GREY).max() <= 1


@needs_dicom
def test_a_dicom_without_a_window_gets_the_range_of_the_set():
    data = odd.dicom(GREY.astype(np.uint16) * 16)
    rules = DecodeRules(ranges=(("16-bit", 0.0, 4095.0),))
    decoded = decode(data, rules=rules)
    assert decoded.notes == ("16_bit_scaled",)
    assert np.abs(decoded.pixels[:, :, 0].astype(int) - GREY).max() <= 1


@needs_dicom
def test_of_several_frames_the_first_is_used():
    decoded = decode(odd.dicom(np.stack([GREY, 255 - GREY])))
    assert decoded.notes == ("first_frame",)
    assert np.array_equal(decoded.pixels[:, :, 0], GREY)


@needs_dicom
def test_a_compression_that_is_not_read_is_named():
    refused = decode(odd.dicom(GREY, syntax="1.2.840.10008.1.2.4.80"))
    assert refused.status == "unsupported"
    assert "compressed as JPEG-LS Lossless" in refused.detail


@needs_dicom
def test_a_dicom_in_the_preamble_of_a_tiff_is_a_dicom():
    data = odd.dicom(GREY)
    assert decode(b"II*\0" + data[4:]).format == "DICOM"
