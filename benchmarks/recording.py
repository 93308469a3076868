"""What every benchmark records beside its numbers, and the threads that it sets."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tellapart.evaluation.intervals import wilson

THREADS = 2
PACKAGES = (
    "tellapart",
    "torch",
    "torchvision",
    "timm",
    "onnxruntime",
    "pillow",
    "numpy",
    "scikit-learn",
    "optuna",
)


def about(data: Sequence[str], seed: int = 0) -> dict[str, Any]:
    """Data, seed, threads, versions and machine."""
    return {
        "data": ", ".join(data),
        "seed": seed,
        "threads": THREADS,
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "machine": f"{_processor()}, {os.cpu_count()} cores",
    }


def environment(**variables: str) -> dict[str, str]:
    """The environment for a measured process."""
    return {
        **os.environ,
        "OMP_NUM_THREADS": str(THREADS),
        "MKL_NUM_THREADS": str(THREADS),
        **variables,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    flags = next((line for line in lines if line.startswith("flags")), "")
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return (names or [platform.processor()])[0] + (" with AVX-512" if "avx512f" in flags else "")


def found_share(found: int, planted: int) -> dict[str, Any]:
    """How many of the planted things were found, with Wilson's interval of the share."""
    return {
        "found": found,
        "planted": planted,
        "share": found / planted,
        "interval": list(wilson(found, planted)),
    }
