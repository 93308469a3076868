"""ONNX Runtime Web, which runs the model in a browser: one pinned version, known by its digests.

It is 14 MB, so it does not come with tellapart. npm fetches it once, and the cache keeps it.
"""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Mapping
from os import PathLike
from pathlib import Path

from tellapart.cache import cache_folder
from tellapart.catalog.names import nearest_path
from tellapart.errors import UserError
from tellapart.home import user_path
from tellapart.writing import write_whole

VERSION = "1.30.0"
ARCHIVE = f"onnxruntime-web-{VERSION}.tgz"
FETCH = f"npm pack onnxruntime-web@{VERSION}"
LICENCE = "onnxruntime-licence.txt"

# Name in an export → path in npm's archive, and SHA-256. A file called .mjs is refused by browsers
# where a host does not know the ending, so it is called .js.
_FILES = {
    "ort.js": (
        "package/dist/ort.wasm.bundle.min.mjs",
        "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
    ),
    "ort.wasm": (
        "package/dist/ort-wasm-simd-threaded.wasm",
        "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
    ),
}
_MOST_BYTES = 32_000_000  # of a file in the archive; the largest has 14 MB


def runtime_files(archive: str | PathLike[str] | None = None) -> dict[str, bytes]:
    """Name in an export → content of each file of the runtime.

    Args:
        archive: what npm packed. The files are then kept in the cache, where later exports find
            them. None takes them from there.

    Raises:
        UserError: they are not in the cache, or the archive is another version.
    """
    if archive is not None:
        files = _unpacked(user_path(archive))
        for name, content in files.items():
            write_whole(_folder() / name, content)
        return files
    kept = {name: _kept(_folder() / name) for name in _FILES}
    if wrong := _wrong(kept):
        raise UserError(
            f"{wrong[0]} of ONNX Runtime Web {VERSION} is not in the cache.",
            f"Fetch it once with {FETCH}, and give the file: --runtime {ARCHIVE}",
        )
    return kept


def _folder() -> Path:
    return cache_folder() / "web" / VERSION


def _kept(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        return b""


def _wrong(files: Mapping[str, bytes]) -> list[str]:
    """The names of files that are not what is pinned."""
    return [
        name
        for name, (_, digest) in _FILES.items()
        if hashlib.sha256(files[name]).hexdigest() != digest
    ]


def _unpacked(archive: Path) -> dict[str, bytes]:
    files = dict.fromkeys(_FILES, b"")
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for name, (path, _) in _FILES.items():
                member = tar.extractfile(path)
                files[name] = member.read(_MOST_BYTES) if member else b""
    except FileNotFoundError:
        raise UserError(
            f"{archive} does not exist.", nearest_path(archive, f"Make it: {FETCH}")
        ) from None
    except (OSError, KeyError, EOFError, tarfile.TarError):
        pass  # what could not be read has a wrong digest
    if wrong := _wrong(files):
        raise UserError(
            f"{archive} has not the {wrong[0]} of ONNX Runtime Web {VERSION}.",
            f"Make it anew: {FETCH}",
        )
    return files
