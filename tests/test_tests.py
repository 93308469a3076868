"""The tests themselves: each module stands alone, and none patches what is private."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
MODULES = sorted(TESTS.rglob("*.py"))


def imported_names(text: str) -> set[str]:
    """The first words of all module names that a source imports."""
    names = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names


def private_patches(text: str) -> list[str]:
    """What a source patches by `setattr` or by assignment, where a part of its name is private."""
    return [target for target in patches(ast.parse(text)) if is_private(target)]


def patches(tree: ast.Module) -> Iterator[str]:
    """The dotted names that a source patches; those of its own objects (`self`) are left out."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("setattr"):
            owner, name = (ast.unparse(argument) for argument in node.args[:2])
            is_whole = isinstance(node.args[0], ast.Constant)
            yield owner.strip("'") if is_whole else f"{owner}.{name}".replace("'", "")
        for target in getattr(node, "targets", []):
            if isinstance(target, ast.Attribute) and not ast.unparse(target).startswith("self."):
                yield ast.unparse(target)


def is_private(name: str) -> bool:
    return any(part.startswith("_") and not part.startswith("__") for part in name.split("."))


def test_no_module_imports_a_test_module_or_conftest():
    test_modules = {module.stem for module in MODULES if module.parent.name != "helpers"}
    imports = {
        module.name: imported_names(module.read_text("utf-8")) & test_modules for module in MODULES
    }
    assert {name: found for name, found in imports.items() if found} == {}


def test_no_module_patches_a_private_name():
    found = {module.name: private_patches(module.read_text("utf-8")) for module in MODULES}
    assert {name: patched for name, patched in found.items() if patched} == {}


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("monkeypatch.setattr(workers.Worker, '_start', f)", ["workers.Worker._start"]),
        ("patch.setattr('tellapart.a._b', 1)", ["tellapart.a._b"]),
        ("monkeypatch.setattr(tune._Work, 'run', f)", ["tune._Work.run"]),
        ("inputs._images = None", ["inputs._images"]),
        ("monkeypatch.setattr(scans, 'SECONDS', 1)", []),
        ("monkeypatch.setattr(ZipInfo, '__init__', None)", []),
        ("self._count = 1", []),
    ],
)
def test_a_private_patch_is_found(line: str, found: list[str]):
    assert private_patches(line) == found
