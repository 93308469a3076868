"""Where a run was made: versions, machine, threads. Nothing that identifies a person or a path."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from typing import Any

from tellapart.cores import usable_cores

PACKAGES = (
    "numpy",
    "onnxruntime",
    "pillow",
    "scikit-learn",
    "torch",
    "torchvision",
    "timm",
    "accelerate",
    "optuna",
    "onnx",
    "polars",
)


def environment() -> dict[str, Any]:
    """Versions and machine as plain values. Packages are looked up, not imported."""
    return {
        "tellapart": _version("tellapart"),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": _processor(),
        "cores": usable_cores(),
        "cores_in_machine": os.cpu_count(),
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            return next(
                line.split(":", 1)[1].strip() for line in file if line.startswith("model name")
            )
    except (OSError, StopIteration):
        return platform.processor() or "unknown"
