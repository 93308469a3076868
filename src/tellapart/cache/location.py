"""Where the cache is."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Where features, scans and exported networks are kept: $TELLAPART_CACHE, or the system's own
    for the user.
    """
    if named := os.environ.get("TELLAPART_CACHE"):
        return Path(named)
    import platformdirs

    return Path(platformdirs.user_cache_dir("tellapart", appauthor=False))
