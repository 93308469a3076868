"""The tests themselves: each module stands alone, and what several share is in helpers."""

from __future__ import annotations

import ast
from pathlib import Path

TESTS = Path(__file__).parent
MODULES = sorted(TESTS.rglob("*.py"))


def imported_names(module: Path) -> set[str]:
    """The first words of all module names that a file imports."""
    names = set()
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names


def test_no_module_imports_a_test_module_or_conftest():
    test_modules = {module.stem for module in MODULES if module.parent.name != "helpers"}
    imports = {module.name: imported_names(module) & test_modules for module in MODULES}
    assert {name: found for name, found in imports.items() if found} == {}
