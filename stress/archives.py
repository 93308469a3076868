"""Archives and arrays made to do harm: bombs, a million entries, and many rounds of flipped and cut
bytes.

    python stress/archives.py [--rounds 5000] [--seed 0]

Every one is read in a process of its own, which must end by itself within the limits of time and
memory, either with a catalog or with one line of what to do. Nothing may be left in the temporary
folder.
"""

from __future__ import annotations

import argparse
import bz2
import gzip
import io
import itertools
import lzma
import os
import random
import re
import struct
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from tellapart.errors import UserError
from tellapart.sources.source import read_source

SECONDS = 120
ONE = b"BM" + bytes(12) + b"\x28" + bytes(40)
GIB = 2**30


def read_all(path: Path) -> str:
    """What a user would see of one source, after each of its files was asked for."""
    try:
        catalog = read_source(path)
    except UserError as error:
        return f"refused: {error}"
    read = sum(isinstance(catalog.files.read(name), bytes) for name in catalog.paths)
    return (
        f"{catalog.source}: {read:,} of {len(catalog):,} files read, ignored"
        f" {dict(catalog.ignored)}"
    )


# ── makers: each yields the bytes of one file ──


def zip_of(
    names: Iterator[str], data: bytes, *, packed: bytes | None = None, shared: bool = False
) -> Iterator[bytes]:
    """A zip whose members all have the same content; with `shared`, the same bytes."""
    body, method = (data, 0) if packed is None else (packed, 8)
    size = zlib.crc32(data), len(body), len(data)
    directory, at, count = io.BytesIO(), 0, 0
    for name in names:
        raw = name.encode()
        begin = 0 if shared else at
        if begin == at:
            yield (
                struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0, method, 0, 0, *size, len(raw), 0)
                + raw
                + body
            )
            at += 30 + len(raw) + len(body)
        directory.write(
            struct.pack(
                "<4s6H3I5H2I",
                b"PK\1\2",
                788,
                20,
                0,
                method,
                0,
                0,
                *size,
                len(raw),
                0,
                0,
                0,
                0,
                0,
                begin,
            )
            + raw
        )
        count += 1
    length = directory.tell()
    yield directory.getvalue()
    yield struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, length, at)
    yield struct.pack("<4sIQI", b"PK\6\7", 0, at + length, 1)
    yield struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 2**32 - 1, 2**32 - 1, 0)


def tar_of(names: Iterator[str]) -> Iterator[bytes]:
    """A tar of empty files."""
    header = bytearray(tarfile.TarInfo("x").tobuf(tarfile.USTAR_FORMAT))
    header[:100] = bytes(100)
    header[148:156] = b" " * 8
    rest = sum(header)
    for name in names:
        raw = name.encode()
        header[: len(raw)] = raw
        header[148:156] = b"%06o\0 " % (rest + sum(raw))
        yield bytes(header)
    yield bytes(1024)


def gzipped(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The same, packed."""
    engine = zlib.compressobj(1, wbits=31)
    for piece in pieces:
        yield engine.compress(piece)
    yield engine.flush()


def names(count: int) -> Iterator[str]:
    """File names in a hundred classes, all of one length."""
    return (f"c{number % 100:02}/{number:07}.bmp" for number in range(count))


def gzip_bomb(unpacked_bytes: int) -> Iterator[bytes]:
    """A tar.gz of one member of zeros, a thousand times smaller."""
    info = tarfile.TarInfo("cat/1.bmp")
    info.size = unpacked_bytes
    yield gzip.compress(info.tobuf(tarfile.GNU_FORMAT))
    zeros = gzip.compress(bytes(2**26))
    for _ in range(unpacked_bytes // 2**26):
        yield zeros


def zip_bomb(unpacked_bytes: int, members: int, *, shared: bool) -> Iterator[bytes]:
    """A zip of members of zeros, each a thousand times smaller."""
    data = ONE + bytes(unpacked_bytes)
    engine = zlib.compressobj(9, wbits=-15)
    packed = engine.compress(data) + engine.flush()
    return zip_of(names(members), data, packed=packed, shared=shared)


def long_names(count: int) -> Iterator[bytes]:
    """A zip of empty files, each in its own hundred of folders."""
    return zip_of((f"{number:05}/" * 100 + "x" for number in range(count)), b"")


def attributes(data: bytes) -> Iterator[bytes]:
    """A tar of one file with these attributes, which take older versions of tarfile hours, or all
    memory.
    """
    info = tarfile.TarInfo("cat/1.bmp")
    info.type, info.size = tarfile.XHDTYPE, len(data)
    yield info.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % 512)
    yield from tar_of(iter(["cat/1.bmp"]))


CASES: dict[str, Callable[[], Iterator[bytes]]] = {
    "zip, 1,000,000 entries": lambda: zip_of(names(1_000_000), ONE),
    "zip, 1,000,000 entries of 82 letters": lambda: zip_of(
        (name.replace("/", "/" + "n" * 67) for name in names(1_000_000)), ONE
    ),
    "zip, 1,000,001 entries": lambda: zip_of(names(1_000_001), b""),
    "tar, 1,000,000 entries": lambda: tar_of(names(1_000_000)),
    "tar.gz, 1,000,000 entries": lambda: gzipped(tar_of(names(1_000_000))),
    "zip, 20,000 names of 100 folders": lambda: long_names(20_000),
    "zip, 1000:1, 100 members of 1 GiB": lambda: zip_bomb(GIB, 100, shared=False),
    "zip, 1000:1, 200 members of 48 MiB": lambda: zip_bomb(48 * 2**20, 200, shared=False),
    "zip, 60,000 entries over one member of 48 MiB": lambda: zip_bomb(
        48 * 2**20, 60_000, shared=True
    ),
    "tar, attributes of 512 KiB without an end": lambda: attributes(b"2 " * 2**18 + b"x="),
    "tar, attributes of 512 KiB of digits": lambda: attributes(b"1" * 2**19),
    "tar.gz, 1000:1, 1 TiB": lambda: gzip_bomb(1024 * GIB),
    "gzip of 1 TiB of zeros": lambda: itertools.repeat(gzip.compress(bytes(2**26)), 2**14),
}


def samples() -> list[bytes]:
    """Small sources to damage."""
    members = {f"{name}/{n}.bmp": ONE * (n + 1) for name in ("cat", "dog") for n in range(4)}
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    tars = []
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        tar = io.BytesIO()
        with tarfile.open(fileobj=tar, mode="w", format=form) as packed:
            for name, content in {**members, "cat/" + "long" * 40 + ".bmp": ONE}.items():
                info = tarfile.TarInfo(name)
                info.size, info.mtime = len(content), 0
                packed.addfile(info, io.BytesIO(content))
        tars.append(tar.getvalue())
    idx = struct.pack(">4I", 0x803, 20, 5, 6) + bytes(600)
    return [
        data.getvalue(),
        *tars,
        gzip.compress(tars[0]),
        bz2.compress(tars[0]),
        lzma.compress(tars[0]),
        idx,
    ]


def fuzz(folder: Path, rounds: int, seed: int) -> str:
    """Damage each sample many times."""
    chance = random.Random(seed)
    (folder / "x-labels-idx1-ubyte").write_bytes(struct.pack(">2I", 0x801, 20) + bytes(range(20)))
    path, slowest, catalogs = folder / "x-images-idx3-ubyte", 0.0, 0
    for _ in range(rounds):
        sample = bytearray(chance.choice(samples_once))
        for _ in range(chance.choice((0, 1, 1, 2, 8))):
            sample[chance.randrange(len(sample))] = chance.choice((0, 0xFF, chance.randrange(256)))
        path.write_bytes(
            sample[: chance.choice((len(sample), len(sample), chance.randrange(len(sample) + 1)))]
        )
        begun = time.monotonic()
        catalogs += not read_all(path).startswith("refused")
        slowest = max(slowest, time.monotonic() - begun)
    return (
        f"{rounds:,} damaged files, {catalogs:,} of them still catalogs; the slowest took"
        f" {slowest:.2f} s"
    )


samples_once = samples()


def peak_mib() -> int:
    """The most memory that this process has had. Not `ru_maxrss`, which counts the one that started
    it too.
    """
    (peak,) = re.findall(r"VmHWM:\s+([0-9]+) kB", Path("/proc/self/status").read_text())
    return int(peak) // 1024


def measure(command: list[str], temporary: Path) -> tuple[int, str, float, int]:
    """Exit code, answer, seconds and peak MiB of one process."""
    begun = time.monotonic()
    settings = {**os.environ, "TMPDIR": str(temporary)}
    done = subprocess.run(
        command, env=settings, capture_output=True, text=True, check=False, timeout=10 * SECONDS
    )
    if done.returncode:
        return done.returncode, done.stderr, time.monotonic() - begun, 0
    *_, answer, peak = done.stdout.splitlines()
    return 0, answer, time.monotonic() - begun, int(peak)


def main() -> None:
    """Make, read in a process, judge."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--most-mib", type=int, default=1024, help="peak memory of one process")
    parser.add_argument("--read", type=Path, help="used by the script itself: read one file")
    parser.add_argument(
        "--fuzz", type=Path, help="used by the script itself: damage samples in a folder"
    )
    options = parser.parse_args()
    if options.read:
        print(read_all(options.read), peak_mib(), sep="\n")
        return
    if options.fuzz:
        print(fuzz(options.fuzz, options.rounds, options.seed), peak_mib(), sep="\n")
        return
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        temporary, source = Path(folder, "tmp"), Path(folder, "in", "data.bin")
        temporary.mkdir()
        source.parent.mkdir()
        own = [
            sys.executable,
            __file__,
            "--rounds",
            str(options.rounds),
            "--seed",
            str(options.seed),
        ]
        for name, make in {**CASES, "fuzz": None}.items():
            if make:
                with source.open("wb") as file:
                    file.writelines(make())
            packed_mib = source.stat().st_size / 2**20
            command = (
                [*own, "--read", str(source)] if make else [*own, "--fuzz", str(source.parent)]
            )
            code, line, seconds, peak = measure(command, temporary)
            well = code == 0 and seconds < SECONDS * (1 if make else 10) and peak < options.most_mib
            left = [
                str(path)
                for path in Path(folder).rglob("*")
                if path.parent not in (Path(folder), source.parent)
            ]
            failed += not well or bool(left)
            verdict = "ok" if well and not left else f"FAILED (exit {code}, left {left})"
            print(
                f"{verdict}: {name} ({packed_mib:.1f} MiB): {seconds:.1f} s, {peak:.0f} MiB\n "
                f" {line}",
                flush=True,
            )
    if failed:
        sys.exit(f"{failed} failed")


if __name__ == "__main__":
    main()
