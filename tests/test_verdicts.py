"""The verdict on every odd image is pinned, in verdicts.txt: one line a file, so that a change is
seen and meant.

A line is: name, status, notes, width x height; between tabs, in the order of the names. After a
change that is meant, `python tests/test_verdicts.py` writes the file anew, and its diff goes into
the commit.
"""

import difflib
import tempfile
from pathlib import Path

import pytest

from helpers import odd_images as odd
from tellapart.decoding import decode_file

PINNED = Path(__file__).with_name("verdicts.txt")


def line(path: Path) -> str:
    decoded = decode_file(path)
    size = f"{decoded.width}x{decoded.height}" if decoded.status == "ok" else "-"
    return "\t".join([path.name, decoded.status, ",".join(decoded.notes) or "-", size])


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("gallery")
    return [folder / name for name in odd.gallery(folder)]


@pytest.fixture(scope="module")
def verdicts(gallery: list[Path]) -> list[str]:
    return [line(path) for path in gallery]


def test_every_verdict_is_the_pinned_one(verdicts: list[str]):
    made = {line.split("\t")[0] for line in verdicts}
    pinned = [
        line
        for line in PINNED.read_text().splitlines()
        # Not every Pillow reads AVIF and JPEG 2000, and extras may be missing.
        if line.split("\t")[0] in made or not line.startswith(("extra_", "wavelets_"))
        if odd.HAS_AVIF or ".avif" not in line
    ]
    changed = list(difflib.unified_diff(pinned, verdicts, lineterm="", n=0))
    assert not changed, "\n".join(["verdicts changed: - pinned, + now", *changed[2:]])


def test_the_table_is_long_sorted_and_names_no_file_twice():
    names = [line.split("\t")[0] for line in PINNED.read_text().splitlines()]
    assert len(names) > 150
    assert names == sorted(set(names))


RANGE, RAW, INVENTED = "a range that is not known", "camera raw", "rows that the file does not hold"
REFUSED_BY_RULE = {  # what plain Pillow decodes and we do not, and the rule by which
    "broken_too_few_rows.png": INVENTED,
    "unended_row_of_zeros.jpg": INVENTED,
    "deep_32_bits.tif": RANGE,
    "deep_32_bits_signed.tif": RANGE,
    "deep_float.tif": RANGE,
    "deep_signed.tif": RANGE,
    "unsupported_camera.dng": RAW,
    "unsupported_float.tif": RANGE,
    "unsupported_int32.tif": RANGE,
}


@pytest.mark.filterwarnings("ignore")
def test_what_plain_pillow_decodes_is_accepted_but_for_stated_rules(
    gallery: list[Path], verdicts: list[str]
):
    judged = {
        path: line.split("\t")[1]
        for path, line in zip(gallery, verdicts, strict=True)
        if path.is_file()
    }
    refused = [path for path, status in judged.items() if status not in ("ok", "too_large")]
    assert {path.name for path in refused if odd.plain_pillow_decodes(path)} == set(REFUSED_BY_RULE)


def test_what_is_accepted_is_what_plain_pillow_decodes(gallery: list[Path], verdicts: list[str]):
    accepted = [
        path for path, line in zip(gallery, verdicts, strict=True) if line.split("\t")[1] == "ok"
    ]
    refused = {path.name for path in accepted if not odd.plain_pillow_decodes(path)}
    assert {name for name in refused if not name.startswith(("extra_", "unended"))} == set()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        PINNED.write_text(
            "".join(f"{line(Path(folder, name))}\n" for name in odd.gallery(Path(folder)))
        )
