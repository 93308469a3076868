"""Some thousands of odd and broken files through the command line: one verdict each, and nothing
else happens.

    python stress/odd_files.py [--count 4000] [--seed 0] [--keep FOLDER]

A corpus is made: every odd image of tests/helpers/odd_images.py, and damaged copies of them (cut, bits
turned, parts zeroed, doubled or swapped with other files, numbers set to extremes, other
extensions). A small model is trained on good images; then the corpus goes through `predict` as a
folder, and through `train` as one class among good ones.

Checked are: no death by signal, no hang, no traceback, one verdict a file and the same from both,
memory and time, and, where strace is installed, that no program is started and no connection made.
At last plain Pillow, kept to the same formats, is asked about every file: what it decodes and we
refuse is counted, listed, and must have a stated rule.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from PIL import Image
from running import TELLAPART, Checks, files_below, run, train, write_classes

from tellapart.image_kinds import HEAD_BYTES, recognise

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
odd: Any = import_module("helpers.odd_images")

EXTRA = ("HEIF", "JXL", "DICOM")
SCAN_SECONDS = 120
MEMORY_MIB = 1024
# A range is otherwise taken from the data, and that of the corpus is another than that of the good
# images alone.
SETTINGS = ("decoding.value_range=0,65535",)
LARGEST_MUTATED = 300_000  # bytes; the bombs go in as they are


def mutations(contents: dict[str, bytes], count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """`count` names and damaged contents, the same for the same seed."""
    rng = np.random.default_rng(seed)
    bases = [name for name, data in sorted(contents.items()) if 16 < len(data) <= LARGEST_MUTATED]
    ends = [*odd.SUFFIXES.values(), "JPG", "jpeg", "tiff", "mpo", "heic", "txt", "bin"]
    for number in range(count):
        base, other = (bases[int(rng.integers(len(bases)))] for _ in range(2))
        kind = str(rng.choice([*DAMAGE]))
        data = DAMAGE[kind](rng, contents[base], contents[other])
        end = base.rpartition(".")[2] if rng.random() < 0.8 else str(rng.choice(ends))
        yield f"m{number:05}_{kind}_{base.rpartition('.')[0]}.{end}", data


def _place(rng: np.random.Generator, data: bytes) -> int:
    """A place in the data; every other time within its first 200 bytes, where headers are."""
    return int(rng.integers(min(len(data), 200) if rng.random() < 0.5 else len(data)))


def _cut(rng: np.random.Generator, data: bytes, _: bytes) -> bytes:
    return data[: int(rng.integers(1, len(data)))]


def _turn_bits(rng: np.random.Generator, data: bytes, _: bytes) -> bytes:
    changed = bytearray(data)
    for _number in range(int(rng.integers(1, 9))):
        changed[_place(rng, data)] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def _set_bytes(rng: np.random.Generator, data: bytes, _: bytes) -> bytes:
    changed = bytearray(data)
    for _number in range(int(rng.integers(1, 9))):
        changed[_place(rng, data)] = int(rng.integers(256))
    return bytes(changed)


def _set_number(rng: np.random.Generator, data: bytes, _: bytes) -> bytes:
    numbers = [0, 1, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]
    number = numbers[int(rng.integers(len(numbers)))]
    size, at = int(rng.choice([2, 4])), _place(rng, data)
    order: Any = str(rng.choice(["little", "big"]))
    return data[:at] + (number % (1 << 8 * size)).to_bytes(size, order) + data[at + size :]


def _zero(rng: np.random.Generator, data: bytes, _: bytes) -> bytes:
    at, size = _place(rng, data), int(rng.integers(1, 200))
    return data[:at] + bytes(size) + data[at + size :]


def _drop(rng: np.random.Generator, data: bytes, _: bytes) -> bytes:
    at = _place(rng, data)
    return data[:at] + data[at + int(rng.integers(1, 200)) :]


def _double(rng: np.random.Generator, data: bytes, _: bytes) -> bytes:
    at, size = _place(rng, data), int(rng.integers(1, 200))
    return data[: at + size] + data[at:]


def _insert(rng: np.random.Generator, data: bytes, _: bytes) -> bytes:
    at = _place(rng, data)
    noise: bytes = rng.bytes(int(rng.integers(1, 50)))
    return data[:at] + noise + data[at:]


def _head_of_other(rng: np.random.Generator, data: bytes, other: bytes) -> bytes:
    at = int(rng.integers(4, 64))
    return other[:at] + data[at:]


def _part_of_other(rng: np.random.Generator, data: bytes, other: bytes) -> bytes:
    at = _place(rng, data)
    return data[:at] + other[int(rng.integers(len(other))) :]


def _tail_of_other(rng: np.random.Generator, data: bytes, other: bytes) -> bytes:
    return data + other


def _nothing(rng: np.random.Generator, data: bytes, _: bytes) -> bytes:
    return data


DAMAGE: dict[str, Callable[[np.random.Generator, bytes, bytes], bytes]] = {
    "cut": _cut,
    "bits": _turn_bits,
    "bytes": _set_bytes,
    "number": _set_number,
    "zero": _zero,
    "drop": _drop,
    "double": _double,
    "insert": _insert,
    "head": _head_of_other,
    "part": _part_of_other,
    "tail": _tail_of_other,
    "same": _nothing,
}


def write_corpus(folder: Path, count: int, seed: int) -> None:
    """About `count` odd files in a folder that does not exist yet."""
    folder.mkdir(parents=True)
    names = odd.gallery(folder)
    for name, data in mutations(odd.gallery_contents(), max(0, count - len(names)), seed):
        (folder / name).write_bytes(data)
    (folder / "forbidden.jpg").write_bytes(odd.encoded(odd.scene(), "JPEG"))
    (folder / "forbidden.jpg").chmod(0)


def rule_for(path: Path, status: str) -> str:
    """The stated rule by which a file that Pillow decodes is refused, or ""."""
    if status == "too_large":
        return "over the limit"
    if status == "unreadable":
        return "not permitted"
    with Image.open(path, formats=[*odd.FORMATS, "PPM", "JPEG2000"]) as img:
        if status == "unsupported":
            return "camera raw"
        # Without an end marker, libjpeg fills what is missing where any bytes follow.
        if status == "truncated" and img.format in ("JPEG", "MPO"):
            return "rows that the file does not hold"
        if status == "corrupt" and img.format == "PNG":
            img.load()
            rows = (
                img.crop((0, row, img.width, row + 1)).getbbox()
                for row in range(max(0, img.height - 2), img.height)
            )
            if img.height < 2 or not all(rows):
                return "rows that the file does not hold"
    return ""


def check_against_pillow(
    checks: Checks, corpus: Path, statuses: dict[str, str], mended: set[str]
) -> None:
    """What Pillow decodes is accepted, or refused by a stated rule; what we accept, Pillow
    decodes.

    Args:
        mended: names of JPEGs that lack only their end marker.
    """
    plain = {
        path.name
        for path in corpus.iterdir()
        if path.name in statuses and path.is_file() and odd.plain_pillow_decodes(path)
    }
    ours = {name for name, status in statuses.items() if status == "ok"}
    rules = {name: rule_for(corpus / name, statuses[name]) for name in sorted(plain - ours)}
    print(f"plain Pillow decodes {len(plain)}, tellapart {len(ours)}")
    for rule, number in Counter(rules.values()).most_common():
        print(f"        {number} refused by rule: {rule or 'NONE'}")
    unruled = [f"{name} ({statuses[name]})" for name, rule in rules.items() if not rule]
    checks.that(not unruled, "what Pillow decodes is refused by a stated rule only", unruled)
    others = {name for name in ours - plain if recognise(head_of(corpus / name))[1] in EXTRA}
    print(f"        {len(mended)} lack only an end marker, {len(others)} are decoded by an extra")
    strange = ours - plain - mended - others
    checks.that(not strange, "what is accepted, Pillow decodes", sorted(strange))


def head_of(path: Path) -> bytes:
    """The first bytes of a file."""
    with path.open("rb") as file:
        return file.read(HEAD_BYTES)


def check_system_calls(checks: Checks, command: list[str], folder: Path) -> None:
    """No program but the command itself, and no connection."""
    if not shutil.which("strace"):
        print("left out: strace is not installed here (apt-get install strace)")
        return
    trace = folder / "trace.txt"
    run(
        ["strace", "-f", "-qq", "-e", "trace=execve,connect", "-o", str(trace), *command],
        folder,
        limit_seconds=1200,
    )
    calls = [
        line for line in trace.read_text().splitlines() if "execve(" in line or "connect(" in line
    ]
    started = [line for line in calls if "execve(" in line and "= 0" in line]
    checks.that(bool(calls), "strace saw the command itself start")
    checks.that(len(started) == 1, "no program was started", started[1:])
    checks.that(not any("connect(" in line for line in calls), "no connection was made", calls)


def main() -> None:
    """Make, run, compare."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--keep", type=Path, help="a new folder for the corpus and what became of it"
    )
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # Pillow's, of odd files: hundreds
    checks = Checks()
    with tempfile.TemporaryDirectory() as scratch:
        folder = (options.keep or Path(scratch)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        data = write_classes(folder / "data", 20)
        small, model = train(data, folder, "small", SETTINGS)
        corpus = data / "odd"
        write_corpus(corpus, options.count, options.seed)
        # Text beside images is passed over by its name.
        names = sorted(path.name for path in corpus.iterdir() if path.suffix != ".txt")
        texts = sum(path.suffix == ".txt" for path in corpus.iterdir())
        print(
            f"{len(names)} files,"
            f" {sum(p.stat().st_size for p in corpus.iterdir() if p.is_file()) / 2**20:.0f} MiB"
        )

        table = folder / "answers.jsonl"
        predict = [*TELLAPART, "predict", str(model), str(corpus), "--out", str(table), "--quiet"]
        done = run(predict, folder)
        checks.ended_well(done, "predict", codes=(3,))
        checks.that(
            done.seconds < SCAN_SECONDS,
            f"predict took {done.seconds:.0f} s",
            f"more than {SCAN_SECONDS}",
        )
        checks.that(
            done.peak_mib < MEMORY_MIB,
            f"predict took {done.peak_mib:.0f} MiB",
            f"more than {MEMORY_MIB}",
        )
        answers = [json.loads(line) for line in table.read_text().splitlines()]
        statuses = {Path(answer["path"]).name: str(answer["status"]) for answer in answers}
        checks.that(
            sorted(Path(a["path"]).name for a in answers) == names,
            "predict gave each file one verdict",
        )
        print(
            "        "
            + ", ".join(
                f"{number} {status}" for status, number in Counter(statuses.values()).most_common()
            )
        )
        foreign = Counter(line for line in done.errors.splitlines() if line)
        print(
            f"        {foreign.total()} lines on standard error, the most frequent:"
            f" {foreign.most_common(5)}"
        )

        done, _ = whole = train(data, folder, "whole", SETTINGS)
        checks.ended_well(done, "train", codes=(3,))
        took = (
            f"train took {done.seconds:.0f} s and {done.peak_mib:.0f} MiB, {small.peak_mib:.0f}"
            " without the corpus"
        )
        checks.that(done.peak_mib < small.peak_mib + MEMORY_MIB, took)
        catalog = pl.read_parquet(whole[1] / "catalog.parquet")
        rows = [
            (str(path), str(status))
            for path, status in catalog.select("path", "status").iter_rows()
        ]
        checks.that(
            len(rows) == len(names) + 60 == len(dict(rows)),
            "train gave each file one verdict",
            len(rows),
        )
        trained = {
            path.removeprefix("odd/"): status for path, status in rows if path.startswith("odd/")
        }
        differing = {name: (statuses.get(name), trained.get(name)) for name in names}
        differing = {name: pair for name, pair in differing.items() if pair[0] != pair[1]}
        checks.that(not differing, "predict and train gave the same verdicts", differing)
        checks.that(
            len(files_below(data)) == len(names) + texts + 60 - 1, "no file came or went"
        )  # one is an empty folder

        check_system_calls(checks, predict, folder)
        mended = {
            Path(answer["path"]).name
            for answer in answers
            if "no_end_marker" in str(answer.get("note", ""))
        }
        check_against_pillow(checks, corpus, statuses, mended)
    checks.finish()


if __name__ == "__main__":
    main()
