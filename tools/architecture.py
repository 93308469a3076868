"""Write the list of files in ARCHITECTURE.md from the docstrings of the modules.

    python tools/architecture.py            # rewrite the list; `make architecture` does this
    python tools/architecture.py --check    # exit code 1 if the list is not what the tree has

The rooms stand in the order in which they import, which is read from the import rules in
pyproject.toml. Each line is the first sentence of a docstring, so it is changed there.
"""

from __future__ import annotations

import argparse
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from rooms import ROOT, Module, read_package

PAPER = ROOT / "ARCHITECTURE.md"
PACKAGE = ROOT / "src" / "tellapart"
BEGIN = "<!-- files: begin. Written by `make architecture`; change the docstrings instead. -->"
END = "<!-- files: end -->"


def import_order(pyproject: Path) -> list[list[str]]:
    """The rooms from the first, which imports nothing of ours, to the last, which sees all.

    Rooms that stand in one list are equals: they do not import each other.
    """
    rules = tomllib.loads(pyproject.read_text(encoding="utf-8"))["tool"]["importlinter"]
    (layers,) = (rule["layers"] for rule in rules["contracts"] if rule["type"] == "layers")
    return [[name.strip().split(".", 1)[1] for name in row.split("|")] for row in layers[::-1]]


def torch_free(pyproject: Path) -> set[str]:
    """The rooms that an import rule keeps free of torch."""
    rules = tomllib.loads(pyproject.read_text(encoding="utf-8"))["tool"]["importlinter"]
    (names,) = (
        rule["source_modules"]
        for rule in rules["contracts"]
        if rule["type"] == "forbidden" and "torch" in rule["forbidden_modules"]
    )
    return {name.split(".", 1)[1] for name in names}


def file_list(package: Path, pyproject: Path) -> Iterator[str]:
    """The lines of the list: one a room, and below a folder one a file."""
    modules = {module.path.relative_to(package): module for module in read_package(package)}
    free = torch_free(pyproject)
    order = [name for equals in import_order(pyproject) for name in sorted(equals)]
    for name in order:
        mark = " *(torch-free)*" if name in free else ""
        if Path(f"{name}.py") in modules:
            yield _line(f"{name}.py", modules.pop(Path(f"{name}.py")), mark)
        else:
            yield _line(f"{name}/", modules.pop(Path(name, "__init__.py")), mark)
            yield from (f"  {line}" for line in _folder_lines(modules, name))
    yield from (_line(path.as_posix(), module) for path, module in sorted(modules.items()))


def _folder_lines(modules: dict[Path, Module], room: str) -> Iterator[str]:
    """The files of a room, taken out of `modules`. A folder's `__init__` speaks for the folder."""
    for path in sorted(path for path in modules if path.parts[0] == room):
        module = modules.pop(path)
        name = path.relative_to(room).as_posix()
        if path.name != "__init__.py":
            yield _line(name, module)
        elif module.summary:
            yield _line(name.removesuffix("__init__.py"), module)


def _line(name: str, module: Module, mark: str = "") -> str:
    return f"- `{name}`{mark}: {module.summary}" if module.summary else f"- `{name}`{mark}"


def with_list(paper: str, lines: list[str]) -> str:
    """The paper with the list between its two marks replaced."""
    before, _, rest = paper.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise ValueError(f"{PAPER.name} lacks the lines {BEGIN!r} and {END!r}. Put them back.")
    return "\n".join([before + BEGIN, "", *lines, "", END + after])


def main() -> None:
    """Rewrite ARCHITECTURE.md, or say whether that would change it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 if outdated")
    words = parser.parse_args()
    paper = PAPER.read_text(encoding="utf-8")
    renewed = with_list(paper, list(file_list(PACKAGE, ROOT / "pyproject.toml")))
    if words.check and renewed != paper:
        sys.exit("The list of files in ARCHITECTURE.md is outdated. Run: make architecture")
    if not words.check:
        PAPER.write_text(renewed, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
