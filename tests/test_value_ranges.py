"""Images of more than 8 bits: the range is taken from the data set once, and is the same everywhere."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers import odd_images as odd
from tellapart.cache import ScanMemory
from tellapart.catalog.duplicates import link_copies
from tellapart.catalog.scan import drop_empty_classes, scan
from tellapart.decoders.levels import Levels, range_of_set
from tellapart.decoders.rules import DecodeRules, rules_of
from tellapart.decoding import decode, decode_file
from tellapart.errors import UserError
from tellapart.options import DecodingOptions
from tellapart.pipeline.findings import find_all
from tellapart.sources.source import read_source

ASK = rules_of(DecodingOptions())


def write_deep(folder: Path, bits: int, count: int = 4, dtype=np.uint16) -> Path:
    """Drawings of two classes whose values use some of the bits of their type."""
    for number in range(2 * count):
        path = folder / "ab"[number % 2] / f"{number}.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        grey = odd.scene(number)[:, :, 0].astype(dtype)
        path.write_bytes(odd.encoded(Image.fromarray(grey * 2 ** (bits - 8)), "TIFF"))
    return folder


class Seen:
    """A hook that keeps what it was shown."""

    def __init__(self) -> None:
        self.shown: dict[str, tuple[np.ndarray, str]] = {}

    def known(self, digest: str, decoded_by: str) -> bool:
        return False

    def visit(self, digest: str, pixels: np.ndarray, decoded_by: str) -> None:
        assert digest not in self.shown
        self.shown[digest] = pixels, decoded_by


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_the_range_is_the_depth_that_holds_the_data(tmp_path, bits):
    catalog = scan(read_source(write_deep(tmp_path, bits)), rules=ASK)
    assert catalog.rules.range_of("16-bit") == (0, 2**bits - 1)


def test_twelve_bits_in_sixteen_look_as_eight_do(tmp_path):
    catalog = scan(read_source(write_deep(tmp_path, 12)), rules=ASK)
    pixels = decode_file(tmp_path / "a" / "0.tif", rules=catalog.rules).pixels
    assert np.abs(pixels[:, :, 0] - odd.scene(0)[:, :, 0].astype(int)).max() <= 1


def test_a_hook_is_shown_the_pixels_of_the_range_and_only_those(tmp_path):
    hook = Seen()
    catalog = scan(read_source(write_deep(tmp_path, 12)), rules=ASK, hook=hook)
    pixels, decoded_by = hook.shown[catalog.digests[0]]
    assert np.array_equal(pixels, decode_file(tmp_path / "a" / "0.tif", rules=catalog.rules).pixels)
    assert decoded_by == "16-bit values from 0.0 to 4095.0"


def test_the_range_is_told_in_one_remark(tmp_path):
    remarks = scan(read_source(write_deep(tmp_path, 12)), rules=ASK).remarks
    assert [r for r in remarks if "16-bit values from 0 to 4,095" in r] == list(remarks)


def test_a_full_range_is_no_news(tmp_path):
    assert scan(read_source(write_deep(tmp_path, 16)), rules=ASK).remarks == ()


def test_every_file_counts_as_one_step(tmp_path):
    steps = []
    scan(read_source(write_deep(tmp_path, 12)), rules=ASK, advance=lambda: steps.append(1))
    assert len(steps) == 8


def test_a_given_range_is_not_asked_of_the_data(tmp_path):
    rules = rules_of(DecodingOptions(value_range=(0.0, 1023.0)))
    catalog = scan(read_source(write_deep(tmp_path, 12)), rules=rules)
    assert catalog.rules.range_of("16-bit") == (0, 1023)


def test_a_remembered_scan_of_the_same_data_reads_nothing(tmp_path, monkeypatch):
    data = write_deep(tmp_path / "data", 12)
    before = remembered_scan(data, tmp_path / "cache", monkeypatch)
    monkeypatch.setattr("tellapart.catalog.inspect.decode", None)
    after = remembered_scan(data, tmp_path / "cache", monkeypatch)
    assert after.rules == before.rules
    assert after.statuses.tolist() == ["ok"] * 8


def test_another_range_makes_other_thumbnails(tmp_path, monkeypatch):
    data = write_deep(tmp_path / "data", 12)
    remembered_scan(data, tmp_path / "cache", monkeypatch)
    (data / "a" / "0.tif").unlink()
    write_deep(data / "a" / "more", 16, count=2)
    catalog = read_source([(p, p.parent.name) for p in sorted(data.rglob("*.tif"))])
    with ScanMemory(tmp_path / "cache", "elsewhere", ASK) as memory:
        catalog = scan(catalog, rules=ASK, memory=memory)
        dark = memory.thumbnail_of(catalog.digests[0])
    assert catalog.rules.range_of("16-bit") == (0, 65535)
    assert max(dark[:1024]) < 20


def remembered_scan(data: Path, cache: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tellapart.cache.scans.SETTLED_SECONDS", -1.0)
    catalog = read_source(data)
    with ScanMemory(cache, catalog.files.place, ASK) as memory:
        return link_copies(scan(catalog, rules=ASK, memory=memory), memory)


def test_ten_bits_in_sixteen_are_no_copies_of_each_other(tmp_path, monkeypatch):
    data = write_deep(tmp_path / "data", 10)
    catalog = remembered_scan(data, tmp_path / "cache", monkeypatch)
    assert catalog.copies.tolist() == list(range(8))


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_numbers_without_a_range_of_their_own_get_that_of_the_set(tmp_path, dtype):
    catalog = scan(read_source(write_deep(tmp_path, 12, dtype=dtype)), rules=ASK)
    assert catalog.statuses.tolist() == ["ok"] * 8
    pixels = decode_file(tmp_path / "a" / "0.tif", rules=catalog.rules).pixels
    assert np.corrcoef(pixels[:, :, 0].ravel(), odd.scene(0)[:, :, 0].ravel())[0, 1] > 0.999


def test_a_model_that_saw_no_such_numbers_refuses_them():
    refused = decode(odd.float_tiff(), rules=DecodeRules())
    assert refused.status == "unsupported"
    assert "floating-point numbers, whose range is not known" in refused.detail


def test_what_is_no_number_is_black_and_noted():
    values = np.array([[0.0, np.nan], [1.0, np.inf]], np.float32)
    rules = DecodeRules(ranges=(("float", 0.0, 1.0),))
    decoded = decode(odd.encoded(Image.fromarray(values), "TIFF"), rules=rules)
    assert decoded.notes == ("range_scaled", "not_finite")
    assert decoded.pixels[:, :, 0].tolist() == [[0, 0], [255, 255]]


@pytest.mark.parametrize(
    ("kind", "low", "high", "expected"),
    [
        ("16-bit", 0, 200, (0, 255)),
        ("16-bit", 12, 4090, (0, 4095)),
        ("16-bit", 40, 16_000, (0, 16_383)),
        ("16-bit", 30_100, 33_000, (28_672, 36_863)),
        ("integer", -1000, 2900, (-1000, 2900)),
        ("integer", 5, 3000, (0, 4095)),
        ("float", 0.01, 0.98, (0, 1)),
        ("float", 3, 240, (0, 255)),
        ("float", -7.13, 12.2, (-8, 13)),
    ],
)
def test_ranges_are_rounded_outwards(kind, low, high, expected):
    assert range_of_set([Levels(kind, low, high)]) == expected


def test_one_odd_image_among_many_does_not_move_the_range():
    usual = [Levels("16-bit", 0, 3000 + number) for number in range(200)]
    assert range_of_set([*usual, Levels("16-bit", 0, 65_535)]) == (0, 4095)


def test_one_image_more_does_not_move_the_range():
    usual = [Levels("float", -7.1, 12.2 + number / 1000) for number in range(20)]
    assert range_of_set(usual) == range_of_set([*usual, Levels("float", -7.11, 12.3)])


def test_rules_survive_the_card_of_a_model():
    rules = DecodeRules(max_pixels=9, colour="ignore", ranges=(("float", -1.5, 2.0),))
    assert DecodeRules.from_json(rules.as_json()) == rules


def test_a_card_of_an_earlier_tellapart_means_the_old_contract():
    rules = DecodeRules.from_json({"max_pixels": 9})
    assert (rules.colour, rules.ranges, rules.contract) == ("ignore", (), 2)


def test_images_without_contrast_are_one_finding(tmp_path):
    write_deep(tmp_path, 12)
    for number in range(3):
        flat = Image.fromarray(np.full((48, 64), 90 + number, np.uint8))
        (tmp_path / "a" / f"flat{number}.png").write_bytes(odd.encoded(flat))
    findings = find_all(scan(read_source(tmp_path), rules=ASK), None)
    (finding,) = [finding for finding in findings if finding.kind == "low_contrast"]
    assert finding.text.startswith(
        "3 images have almost no contrast once read, for example 'a/flat0"
    )
    assert finding.paths == ("a/flat0.png", "a/flat1.png", "a/flat2.png")


def test_each_kind_that_is_not_read_is_a_finding_with_its_way_out(tmp_path, monkeypatch):
    write_deep(tmp_path, 12)
    for number in range(2):
        (tmp_path / "a" / f"bands{number}.tif").write_bytes(odd.bands_tiff(13, 16))
    findings = find_all(scan(read_source(tmp_path), rules=ASK), None)
    assert [finding.text for finding in findings if finding.kind == "rejected"] == [
        "2 files are unsupported, for example 'a/bands0.tif'. It is a TIFF of 13 bands of 16 bits."
        " Choose three and save them as RGB."
    ]


def test_the_final_error_shows_the_commonest_detail(tmp_path):
    for label in "ab":
        (tmp_path / label).mkdir()
        (tmp_path / label / "0.tif").write_bytes(odd.bands_tiff(13, 16))
    with pytest.raises(UserError, match="none has any") as error:
        drop_empty_classes(scan(read_source(tmp_path), rules=ASK))
    assert error.value.hint.startswith("Statuses: 2 unsupported. It is a TIFF of 13 bands")


def test_near_black_images_are_no_copies_of_each_other(tmp_path, monkeypatch):
    full = rules_of(DecodingOptions(value_range=(0.0, 65535.0)))
    data = write_deep(tmp_path / "data", 12)
    catalog = read_source(data)
    with ScanMemory(tmp_path / "cache", catalog.files.place, full) as memory:
        catalog = link_copies(scan(catalog, rules=full, memory=memory), memory)
    assert all("low_contrast" in note for note in catalog.notes)
    assert catalog.copies.tolist() == list(range(8))


def test_a_plain_placeholder_saved_twice_is_still_one_image(tmp_path):
    write_deep(tmp_path / "data", 12)
    for quality in (60, 90):
        plain = odd.encoded(Image.new("RGB", (64, 48), (90, 90, 90)), "JPEG", quality=quality)
        (tmp_path / "data" / "a" / f"plain{quality}.jpg").write_bytes(plain)
    catalog = read_source(tmp_path / "data")
    with ScanMemory(tmp_path / "cache", catalog.files.place, ASK) as memory:
        catalog = link_copies(scan(catalog, rules=ASK, memory=memory), memory)
    assert len(set(catalog.copies.tolist())) == 9


# ── colours of 16 bits ──


def deep_colours(bits: int, kind: str, number: int = 0) -> bytes:
    """A drawing in colour whose values use some of 16 bits."""
    pixels = odd.scene(number).astype(np.uint16) << (bits - 8)
    if kind == "png":
        return odd.rgb16_png(pixels)
    if kind == "tif":
        return odd.tiff(64, 48, pixels.tobytes(), bits=(16,) * 3, photometric=2)
    infrared = np.dstack([pixels, 4095 - pixels[:, :, :1]])
    return odd.tiff(64, 48, infrared.tobytes(), bits=(16,) * 4, photometric=2, tags={338: (0,)})


@pytest.mark.parametrize("kind", ["png", "tif", "infrared"])
def test_colours_of_twelve_bits_in_sixteen_look_as_eight_do(kind):
    rules = DecodeRules(ranges=(("16-bit", 0.0, 4095.0),))
    decoded = decode(deep_colours(12, kind), rules=rules)
    assert "16_bit_scaled" in decoded.notes
    assert np.abs(decoded.pixels.astype(int) - odd.scene()).max() <= 1


@pytest.mark.parametrize("kind", ["png", "tif", "infrared"])
def test_the_levels_of_deep_colours_are_measured(kind):
    levels = decode(deep_colours(12, kind), rules=ASK).levels
    assert (levels.kind, 2048 < levels.high < 4096) == ("16-bit", True)


def test_one_transparent_deep_colour_is_laid_on_white():
    pixels = odd.scene().astype(np.uint16) << 4
    pixels[:20] = 77
    data = odd.rgb16_png(pixels, (b"tRNS", np.array([77] * 3, ">u2").tobytes()))
    decoded = decode(data, rules=DecodeRules(ranges=(("16-bit", 0.0, 4095.0),)))
    assert decoded.notes == ("16_bit_scaled", "alpha_on_white")
    assert decoded.pixels[:20].min() == 255


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_images_in_memory_get_the_range_of_the_set_too(dtype):
    greys = [odd.scene(number)[:, :, 0].astype(dtype) * 16 for number in range(4)]
    pairs = [(Image.fromarray(grey), "ab"[number % 2]) for number, grey in enumerate(greys)]
    catalog = scan(read_source(pairs), rules=ASK)
    pixels = decode(catalog.files.read(catalog.paths[0]), rules=catalog.rules).pixels
    assert np.corrcoef(pixels[:, :, 0].ravel(), odd.scene(0)[:, :, 0].ravel())[0, 1] > 0.999
