"""Cut, damaged and oversized files: no pixel is invented, and a bomb costs little."""

import json
import struct
import subprocess
import sys

import numpy as np
import pytest
from PIL import ImageFile

from helpers import odd_images as odd
from tellapart.decoders.rules import DecodeRules
from tellapart.decoding import STATUSES, decode

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
    assert decode(data, rules=DecodeRules(max_pixels=64 * 48)).status == "ok"
    over = decode(data, rules=DecodeRules(max_pixels=64 * 48 - 1))
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


SPEAK = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tellapart.decoding import decode_file
with ThreadPoolExecutor(4) as threads:
    print(*(image.status for image in threads.map(decode_file, map(Path, sys.argv[1:]))))
print("its own line", file=sys.stderr)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there libtiff is linked in without its names")
def test_libtiff_and_pillow_print_nothing_and_python_still_does(tmp_path):
    odd.tiffs_that_make_decoders_speak(tmp_path)
    command = [sys.executable, "-c", SPEAK, *map(str, tmp_path.iterdir())]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == {"corrupt", "unsupported"}
    assert done.stderr == "its own line\n"
