"""How networks run fastest on this machine, as it was measured before: a small file of JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tellapart.cache.location import cache_folder
from tellapart.errors import UserError
from tellapart.writing import write_whole

MOST_KEPT = 200  # the newest; each takes about 150 bytes


class RuntimeMemory:
    """What trials of networks measured: key → plain values.

    Two processes may write at once. The file stays whole, and one of them may measure again.

    Args:
        folder: the cache. None means the user's.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._file = (folder or cache_folder()) / "runtimes.json"

    def recall(self, key: str) -> Mapping[str, Any] | None:
        """What was measured for a key; None where nothing was."""
        values = self._read().get(key)
        return values if isinstance(values, dict) else None

    def remember(self, key: str, values: Mapping[str, Any]) -> None:
        """Keep what was measured. A cache that cannot be written to is no reason to stop."""
        kept = self._read()
        kept.pop(key, None)
        newest = list(kept.items())[-(MOST_KEPT - 1) :]
        try:
            write_whole(self._file, json.dumps(dict([*newest, (key, dict(values))])))
        except UserError:
            return

    def _read(self) -> dict[str, Any]:
        try:
            values = json.loads(self._file.read_text(encoding="utf-8"))
        except (OSError, ValueError):  # not there, or damaged
            return {}
        return values if isinstance(values, dict) else {}
