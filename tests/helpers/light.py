"""Which tests need PyTorch, for an environment without it."""

from __future__ import annotations

import ast
from pathlib import Path

TESTS = Path(__file__).parents[1]
WITH_TORCH = (
    "accelerate",
    "fsspec",
    "make_site",  # the documentation, which names everything
    "psutil",
    "tellapart.images",
    "tellapart.models",
    "tellapart.pipeline.fine_tuned",
    "tellapart.training",
    "timm",
    "torch",
    "torchvision",
)


def needs_torch(module: Path) -> bool:
    """Whether a module of the tests imports PyTorch, or what is built on it, when it is read.

    >>> needs_torch(TESTS / "test_losses.py"), needs_torch(TESTS / "test_light.py")
    (True, False)
    """
    names = _imported(module)
    helpers = [TESTS / f"{name.replace('.', '/')}.py" for name in names if "helpers" in name]
    return any(f"{name}.".startswith(f"{root}.") for name in names for root in WITH_TORCH) or any(
        needs_torch(helper) for helper in helpers if helper.exists()
    )


def _imported(module: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.parse(module.read_text("utf-8")).body:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names
