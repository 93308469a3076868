"""Where the cache is."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """The folder that keeps embeddings, scans and exported networks: $TELLAPART_CACHE, or the one
    that the system has for the user.
    """
    if named := os.environ.get("TELLAPART_CACHE"):
        return Path(named)
    import platformdirs

    return Path(platformdirs.user_cache_dir("tellapart", appauthor=False))
