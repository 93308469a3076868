"""The decode contract: any file becomes RGB pixels, or a named status. Never an exception, never a
substitute.
"""

import io
import json
import os
import struct
import subprocess
import sys
import threading
import tracemalloc
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from helpers import odd_images as odd
from tellapart.decoding import (
    NOTES,
    STATUSES,
    Decoded,
    decode,
    decode_file,
    encode_thumbnail,
    read_file,
)

WITH_EXIF = [format for format in odd.FORMATS if format not in ("GIF", "BMP")]
WITH_FRAMES = [format for format in [*odd.FORMATS, "MPO"] if format not in ("JPEG", "BMP")]


def pixels_of(data: bytes) -> np.ndarray:
    decoded = decode(data)
    assert decoded.status == "ok", decoded
    assert decoded.pixels is not None
    return decoded.pixels.astype(int)


def mean_difference(data: bytes, expected: np.ndarray) -> float:
    return float(np.abs(pixels_of(data) - expected).mean())


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


# ── when and by which camera ──


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
    sizes, keys = (1, 2, 5, 9, 21), (False, True) if colour < 4 else (False,)
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
    one, other = (pixels_of(odd.transparent(kind, hidden)) for hidden in (90, 250))
    assert np.array_equal(one, other)


def test_half_transparent_is_half_white():
    black = Image.new("RGBA", (4, 4), (0, 0, 0, 128))
    assert np.abs(pixels_of(odd.encoded(black)) - 127).max() <= 1


def test_an_alpha_channel_that_hides_nothing_is_no_news():
    assert decode(odd.in_mode("RGBA", "PNG")).notes == ()


def test_a_transparent_grey_of_four_bits_is_found():
    grey = pixels_of(odd.four_bit_png_with_a_key())[0, :, 0]
    assert grey.tolist() == [255 if level == 5 else level * 17 for level in range(16)]


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
        ("Convert it to JPEG or PNG first.", "Save it with 8 or 16 bits first.")
    )


@pytest.mark.skipif(not odd.HAS_AVIF, reason="this Pillow reads no AVIF")
def test_an_avif_in_a_general_container_is_told_from_a_heif():
    data = odd.encoded(odd.scene(), "AVIF")
    assert decode(data.replace(b"ftypavif", b"ftypmif1", 1)).format == "AVIF"


# ── cut and damaged files ──


@pytest.mark.parametrize("percent", [1, 10, 50, 90, 99])
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF"])
def test_a_cut_file_is_truncated(format, percent):
    decoded = decode(odd.cut(odd.encoded(odd.scene(), format), percent))
    assert (decoded.status, decoded.format) == ("truncated", format)


CUTTABLE = {
    **{format: {} for format in odd.FORMATS},
    "progressive JPEG": {"progressive": True},
    "JPEG with a thumbnail": {"exif": b"Exif\0\0" + odd.encoded(odd.scene(9), "JPEG")},
    "lossless WEBP": {"lossless": True},
    "deflated TIFF": {"compression": "tiff_adobe_deflate"},
    "LZW TIFF": {"compression": "tiff_lzw"},
    "big TIFF": {"big_tiff": True},
}


@pytest.mark.parametrize("kind", CUTTABLE)
def test_wherever_a_file_is_cut_no_pixel_is_ever_invented(kind):
    data = odd.encoded(
        odd.scene(),
        kind.split()[-1] if kind != "JPEG with a thumbnail" else "JPEG",
        **CUTTABLE[kind],
    )
    whole = decode(data).pixels
    cuts = [decode(data[:length]) for length in range(12, len(data), 1 + len(data) // 200)]
    assert {cut.status for cut in cuts} <= {"truncated", "ok"}
    assert all(np.array_equal(cut.pixels, whole) for cut in cuts if cut.status == "ok")


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG"])
def test_a_cut_animation_keeps_its_first_frame_or_is_truncated(format):
    data = odd.animated(format)
    whole = decode(data).pixels
    cuts = [decode(data[:length]) for length in range(12, len(data), 1 + len(data) // 100)]
    assert {cut.status for cut in cuts} <= {"truncated", "ok"}
    assert all(np.array_equal(cut.pixels, whole) for cut in cuts if cut.status == "ok")


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "BMP"])
def test_a_library_that_accepts_cut_files_does_not_change_the_verdict(format, monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    assert decode(odd.cut(odd.encoded(odd.scene(), format), 50)).status == "truncated"


def test_a_whole_file_of_nonsense_is_corrupt():
    nonsense = odd.png(64, 48, 8, 2, b"far too few rows")
    assert decode(nonsense).status == "corrupt"


@pytest.mark.parametrize("number", [2**63, 2**64 - 1])
def test_a_directory_that_lies_beyond_every_file_is_a_verdict(number):
    counts = struct.pack("<2sHHHQQ", b"II", 43, 8, 0, 16, number)
    offset = struct.pack("<2sHHHQ", b"II", 43, 8, 0, number)
    assert {decode(counts + bytes(20)).status, decode(offset + bytes(20)).status} == {"truncated"}


def test_a_png_with_a_broken_stream_stays_broken_although_metadata_is_read():
    data = bytearray(odd.encoded(odd.scene()))
    data[len(data) // 2] ^= 0xFF
    assert decode(bytes(data)).status == "corrupt"


@pytest.mark.parametrize(
    "error", [ValueError, SyntaxError, KeyError, TypeError, IndexError, RuntimeError, OSError]
)
def test_whatever_a_decoder_raises_becomes_a_status(error, monkeypatch):
    def fail(*_: object) -> None:
        raise error("/secret/path at 0x7f00")

    data = odd.encoded(odd.scene(), "JPEG")
    monkeypatch.setattr(ImageFile.ImageFile, "load", fail)
    assert decode(data).status == "corrupt"


def test_a_image_that_does_not_fit_into_memory_is_too_large(monkeypatch):
    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(ImageFile.ImageFile, "load", fail)
    assert decode(odd.encoded(odd.scene(), "JPEG")).status == "too_large"


@pytest.mark.parametrize("format", odd.FORMATS)
def test_random_damage_always_gets_a_verdict(format):
    verdicts = [decode(data) for data in odd.damaged(odd.encoded(odd.scene(), format), 300)]
    assert {verdict.status for verdict in verdicts} <= set(STATUSES)
    assert all((verdict.pixels is None) == (verdict.status != "ok") for verdict in verdicts)


@pytest.mark.parametrize(
    "make", [odd.bad_exif, lambda _: odd.animated("MPO"), lambda _: odd.animated("TIFF")]
)
def test_random_damage_to_metadata_always_gets_a_verdict(make):
    verdicts = [
        decode(data[:300] + make("JPEG")[300:]) for data in odd.damaged(make("JPEG"), 300, seed=1)
    ]
    assert {verdict.status for verdict in verdicts} <= set(STATUSES)


# ── limits ──


def test_the_pixel_limit_holds_before_anything_is_decoded():
    data = odd.encoded(odd.scene())
    assert decode(data, max_pixels=64 * 48).status == "ok"
    over = decode(data, max_pixels=64 * 48 - 1)
    assert over.status == "too_large"
    assert "64 × 48" in over.detail


COST = """
import json, resource, sys, time
from pathlib import Path
from tellapart.decoding import decode_file
children = []
sys.addaudithook(lambda event, _: children.append(event) if event in
    ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "socket.connect") else None)
decode_file(Path(sys.argv[1]) / "warm_up.tif")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
verdicts = {}
for path in sorted(Path(sys.argv[1]).iterdir()):
    start = time.process_time()
    status = decode_file(path).status
    verdicts[path.name] = (status, time.process_time() - start)
growth_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
print(json.dumps({"verdicts": verdicts, "growth_mib": growth_mib, "children": children}))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured in the units of Linux")
def test_bombs_and_impostors_cost_little_and_start_no_program(tmp_path):
    bombs = odd.bombs()
    files = bombs | odd.more_bombs() | {name: data for name, (data, _) in odd.impostors().items()}
    files |= {"warm_up.tif": odd.encoded(odd.scene(), "TIFF"), "long.gif": odd.long_gif()}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    done = subprocess.run(
        [sys.executable, "-c", COST, str(tmp_path)], capture_output=True, text=True, check=True
    )
    cost = json.loads(done.stdout)
    assert max(seconds for _, seconds in cost["verdicts"].values()) < 1
    assert cost["growth_mib"] < 200
    assert cost["children"] == []
    assert done.stderr == ""
    assert {cost["verdicts"][name][0] for name in bombs} <= {"too_large", "corrupt"}


def test_a_bomb_of_pixels_is_too_large():
    data = odd.bit_bomb()
    assert len(data) < 200_000
    assert decode(data).status == "too_large"


# ── files ──


def test_a_folder_of_odd_files_gets_the_expected_verdicts(tmp_path):
    expected = odd.salt(tmp_path)
    assert {name: decode_file(tmp_path / name).status for name in expected} == expected
    assert {path.name for path in tmp_path.iterdir()} == set(expected)


def test_the_verdict_on_a_file_is_that_on_its_bytes(tmp_path):
    odd.salt(tmp_path)
    contents = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    pairs = [(decode_file(path), decode(data, name=path.name)) for path, data in contents.items()]
    assert all((a.status, a.notes, a.format) == (b.status, b.notes, b.format) for a, b in pairs)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")
def test_a_pipe_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "x.jpg")
    reader = threading.Thread(target=read_file, args=(tmp_path / "x.jpg",), daemon=True)
    reader.start()
    reader.join(timeout=5)
    assert not reader.is_alive()


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no devices on this system")
def test_a_device_is_not_a_file():
    assert decode_file(Path("/dev/zero")).status == "not_a_file"


def test_a_pipe_that_takes_the_place_of_a_file_is_seen_once_open(tmp_path, monkeypatch):
    (tmp_path / "x.jpg").write_bytes(odd.encoded(odd.scene(), "JPEG"))
    pipe, _ = ends = os.pipe()
    monkeypatch.setattr(os, "open", lambda *_: pipe)
    assert read_file(tmp_path / "x.jpg").status == "not_a_file"
    os.close(ends[1])


@pytest.mark.parametrize("path", ["nowhere.jpg", "a.jpg/b.jpg", "zero\0byte.jpg"])
def test_a_path_that_leads_nowhere_is_missing(tmp_path, path):
    (tmp_path / "a.jpg").write_bytes(b"x")
    assert decode_file(tmp_path / path).status == "missing"


@pytest.mark.parametrize(
    "error", [PermissionError(13, "Permission denied"), OSError(5, "Input/output error")]
)
def test_a_file_that_cannot_be_read_is_unreadable(tmp_path, monkeypatch, error):
    def fail(*_: object) -> int:
        raise error

    (tmp_path / "a.jpg").write_bytes(b"x")
    monkeypatch.setattr(os, "open", fail)
    assert decode_file(tmp_path / "a.jpg").status == "unreadable"


def test_a_name_that_is_too_long_is_unreadable(tmp_path):
    assert decode_file(tmp_path / ("x" * 300 + ".jpg")).status == "unreadable"


def test_an_empty_file_is_empty(tmp_path):
    (tmp_path / "a.jpg").touch()
    assert decode_file(tmp_path / "a.jpg").status == "empty"
    assert decode(b"").status == "empty"


def sparse(path: Path, head: bytes, size: int) -> Path:
    path.write_bytes(head)
    os.truncate(path, size)
    return path


def test_a_huge_file_that_is_no_image_is_not_read(tmp_path):
    video = sparse(tmp_path / "x.jpg", odd.impostors()["mp4.jpg"][0], 10 * 2**30)
    assert decode_file(video).status == "not_an_image"


def test_a_image_file_of_more_than_a_gibibyte_is_too_large(tmp_path):
    image = sparse(tmp_path / "x.tif", odd.encoded(odd.scene(), "TIFF"), 2**30 + 1)
    assert decode_file(image).status == "too_large"


# ── words ──


def test_every_status_and_note_has_a_sentence():
    sentences = [*STATUSES.values(), *NOTES.values()]
    assert all(sentence[0].isupper() and sentence.endswith(".") for sentence in sentences)


def test_every_status_and_note_occurs_in_the_folder_of_odd_files(tmp_path):
    verdicts = [decode_file(tmp_path / name) for name in odd.salt(tmp_path)]
    assert {verdict.status for verdict in verdicts} | {"unreadable"} == set(STATUSES)
    assert {note for verdict in verdicts for note in verdict.notes} == set(NOTES) - {
        "link_outside"
    }  # the scan's


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
    assert decode(wide, max_pixels=9500 * 9500).status == "ok"
    assert len(recwarn) == 0


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
