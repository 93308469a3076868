"""Measure how a package is built: its rooms, who imports whom, how long things are.

    python tools/rooms.py                             # src/tellapart, and its jobs/ and pipeline/
    python tools/rooms.py src/tellapart report/run    # the house and the folder report/run
    python tools/rooms.py ../other/src/other --arrows

Only the standard library is needed, and the package that is measured is never imported.

- A *room* of a folder is a file in it or a folder in it; all that lies in that folder is one room.
  `__init__.py` and `__main__.py` are no rooms, and a folder without Python files is none either.
- An *arrow* is a pair of rooms of which one imports the other, at the top or within a function.
  Imports under `if TYPE_CHECKING:` do not happen when the program runs: they are counted apart.
- The *floors* are the rooms of the longest chain of imports. Rooms of one circle share a floor.
- A *circle* is a group of rooms that import each other, directly or by way of others.

The numbers are signals for a reader, not limits.
"""

from __future__ import annotations

import argparse
import ast
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).parents[1]
LINE_LIMIT = 100
NOT_ROOMS = ("__init__", "__main__")
OLD_WORDS = (
    "picture", "talk", "moment", "listener", "learner", "material", "surroundings", "execution",
    "onlooker", "visitor", "eyes", "looks", "prints", "harmless",
)  # fmt: skip
OLD_VARIABLES = ("one", "said", "told")
TEXT_SUFFIXES = {".py", ".yaml", ".jinja", ".css", ".js"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Module:
    """One Python file, parsed."""

    path: Path
    name: str  # dotted, with the package in front; a package's `__init__` has the package's name
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        """The parsed text."""
        return ast.parse(self.text)

    @property
    def summary(self) -> str:
        """The first sentence of the docstring; empty without one."""
        paragraph = (ast.get_docstring(self.tree) or "").partition("\n\n")[0]
        return re.split(r"(?<=[.?!])\s", " ".join(paragraph.split()), maxsplit=1)[0]

    @property
    def imports(self) -> Iterator[tuple[str, bool]]:
        """(dotted name, whether only type checkers import it) for each import in the file.

        `from a import b` is told as `a.b`: the caller knows whether that is a module.
        """
        for_types = set(_below_type_checking(self.tree))
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from ((alias.name, node in for_types) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                base = self._base(node)
                yield from ((f"{base}.{alias.name}", node in for_types) for alias in node.names)

    def _base(self, node: ast.ImportFrom) -> str:
        """The module that `from … import` names, with the leading dots resolved."""
        if not node.level:
            return node.module or ""
        package = self.name.split(".")
        dropped = node.level - (self.path.stem == "__init__")
        package = package[: len(package) - dropped]
        return ".".join([*package, *([node.module] if node.module else [])])


def _below_type_checking(tree: ast.Module) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for statement in node.body:
                yield from ast.walk(statement)


def read_package(folder: Path) -> list[Module]:
    """The Python files of a package, sorted by path. `folder` holds its `__init__.py`."""
    modules = []
    for path in sorted(folder.rglob("*.py")):
        names = [folder.name, *path.relative_to(folder).with_suffix("").parts]
        name = ".".join(names[:-1] if path.stem == "__init__" else names)
        modules.append(Module(path, name, path.read_text(encoding="utf-8")))
    return modules


@dataclass(frozen=True)
class Plan:
    """The rooms of one folder and the arrows between them."""

    title: str
    files: int
    rooms: tuple[str, ...]
    arrows: frozenset[tuple[str, str]]  # (who imports, what is imported)
    type_arrows: int  # further arrows, which only type checkers follow

    @cached_property
    def circles(self) -> list[list[str]]:
        """The groups of rooms that import each other; each sorted."""
        reach = {room: self._reached(room) for room in self.rooms}
        groups = {
            tuple(sorted({room, *(other for other in reach[room] if room in reach[other])}))
            for room in self.rooms
        }
        return sorted(list(group) for group in groups if len(group) > 1)

    @cached_property
    def floors(self) -> int:
        """Rooms on the longest chain of imports; those of one circle count as one."""
        home = {room: circle[0] for circle in self.circles for room in circle}
        below: dict[str, set[str]] = {home.get(room, room): set() for room in self.rooms}
        for source, target in self.arrows:
            low, high = home.get(target, target), home.get(source, source)
            below[high] |= {low} - {high}
        heights: dict[str, int] = {}

        def height(room: str) -> int:
            if room not in heights:
                heights[room] = 1 + max(map(height, below[room]), default=0)
            return heights[room]

        return max(map(height, below), default=0)

    def _reached(self, room: str) -> set[str]:
        reached: set[str] = set()
        waiting = [room]
        while waiting:
            source = waiting.pop()
            targets = {target for first, target in self.arrows if first == source} - reached
            reached |= targets
            waiting += targets
        return reached

    @property
    def lines(self) -> Iterator[str]:
        """What is printed: one line of numbers, then one a circle."""
        yield (
            f"{self.title:<24} {self.files:>5} {len(self.rooms):>6} {self.floors:>7} "
            f"{len(self.arrows):>7} {self.type_arrows:>10} {len(self.circles):>8}"
        )
        yield from (f"    circle: {' ↔ '.join(circle)}" for circle in self.circles)


def plan_of(modules: list[Module], package: str, folder: str = "") -> Plan:
    """The plan of a folder of the package, written `jobs` or `report/run`; by default of it all."""
    prefix = ".".join([package, *folder.split("/")]).rstrip(".") + "."
    inside = {module for module in modules if module.name.startswith(prefix)}
    rooms = {module.name.removeprefix(prefix).partition(".")[0] for module in _files(inside)}
    # The `__init__` of a folder below belongs to that room, the measured folder's own to none.
    homes = {module.name: module.name.removeprefix(prefix).partition(".")[0] for module in inside}
    homes = {name: room for name, room in homes.items() if room in rooms}
    title = f"{package}/{folder}" if folder else f"{package}/ (the house)"
    return _plan(title, inside, homes)


def files_plan(modules: list[Module], package: str) -> Plan:
    """The plan with every file for a room, whatever folder it lies in."""
    homes = {module.name: module.name for module in _files(modules)}
    return _plan(f"{package}/ (file by file)", modules, homes)


def _files(modules: Iterable[Module]) -> list[Module]:
    return [module for module in modules if module.path.stem not in NOT_ROOMS]


def _plan(title: str, modules: Iterable[Module], homes: dict[str, str]) -> Plan:
    """The plan of rooms, given the room of each module that lies in one."""
    real: set[tuple[str, str]] = set()
    for_types: set[tuple[str, str]] = set()
    for module in modules:
        source = homes.get(module.name)
        for name, only_types in module.imports:
            # What is imported is a module, or a name in one.
            target = homes.get(name) or homes.get(name.rpartition(".")[0])
            if source and target and source != target:
                (for_types if only_types else real).add((source, target))
    rooms = tuple(sorted(set(homes.values())))
    files = len(_files(modules))
    return Plan(title, files, rooms, frozenset(real), len(for_types - real))


def percentiles(lengths: list[int]) -> str:
    """Median, 90th and 99th percentile and the largest, by nearest rank."""
    if not lengths:
        return "none"
    ranked = sorted(lengths)
    median, p90, p99 = (ranked[min(len(ranked) - 1, len(ranked) * p // 100)] for p in (50, 90, 99))
    return f"median {median}, p90 {p90}, p99 {p99}, max {ranked[-1]}"


def functions(modules: list[Module]) -> list[tuple[int, str]]:
    """(lines from `def` to its end, where it stands) of every function and method."""
    return [
        (node.end_lineno - node.lineno + 1, f"{module.name}:{node.name}")
        for module in modules
        for node in ast.walk(module.tree)
        if isinstance(node, Function) and node.end_lineno
    ]


def public_definitions(module: Module) -> Iterator[ast.AST]:
    """The module, and its classes, functions and methods without a leading underscore."""
    waiting: list[ast.Module | ast.ClassDef] = [module.tree]
    while waiting:
        parent = waiting.pop()
        for node in parent.body:
            if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
                yield node
                waiting += [node] if isinstance(node, ast.ClassDef) else []
    yield module.tree


def count_words(folder: Path) -> Counter[str]:
    """How often each old word stands in the texts of a package, singular and plural, any case."""
    text = "\n".join(
        path.read_text(encoding="utf-8")
        for path in sorted(folder.rglob("*"))
        if path.suffix in TEXT_SUFFIXES
    )
    counts = Counter(
        {
            # An underscore is a boundary too: `picture_count` has the word.
            word: len(re.findall(rf"(?<![a-z]){word}s?(?![a-z])", text, re.IGNORECASE))
            for word in OLD_WORDS
        }
    )
    counts["for one in"] = len(re.findall(r"\bfor one in\b", text))
    return counts


def count_variables(modules: list[Module]) -> Counter[str]:
    """How often each old variable is assigned to or is a parameter."""
    counts = Counter(dict.fromkeys(OLD_VARIABLES, 0))
    for module in modules:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                counts[node.id] += node.id in OLD_VARIABLES
            elif isinstance(node, ast.arg):
                counts[node.arg] += node.arg in OLD_VARIABLES
    return Counter({name: counts[name] for name in OLD_VARIABLES})


def text_lines(modules: list[Module]) -> Iterator[str]:
    """What is printed of lines, lengths and docstrings."""
    lines = [line for module in modules for line in module.text.splitlines() if line.strip()]
    total = max(1, len(lines))
    wide = sum(len(line) > LINE_LIMIT for line in lines)
    comments = sum(line.lstrip().startswith("#") for line in lines)
    lengths = functions(modules)
    definitions = [node for module in modules for node in public_definitions(module)]
    documented = sum(bool(ast.get_docstring(node)) for node in definitions)  # type: ignore[arg-type]
    longest = max(lengths, default=(0, "none"))
    yield f"files                {len(modules)}, {len(lines):,} lines that are not empty"
    yield f"file length          {percentiles([len(m.text.splitlines()) for m in modules])}"
    yield f"functions            {len(lengths)}; the longest is {longest[1]}"
    yield f"function length      {percentiles([length for length, _ in lengths])}"
    yield f"lines over {LINE_LIMIT}       {wide} ({wide / total:.1%})"
    yield f"comment lines        {comments} ({comments / total:.1%})"
    share = documented / max(1, len(definitions))
    yield f"public and documented {documented} of {len(definitions)} ({share:.1%})"


def report(folder: Path, inner: list[str], *, arrows: bool = False) -> Iterator[str]:
    """All lines of the report on a package and some of its folders."""
    modules = read_package(folder)
    plans = [
        plan_of(modules, folder.name),
        files_plan(modules, folder.name),
        *(plan_of(modules, folder.name, name.strip("/")) for name in inner),
    ]
    header = f"{'':<24} files  rooms  floors  arrows  for types  circles"
    yield header
    for plan in plans:
        yield from plan.lines
    if arrows:
        for plan in plans[:1] + plans[2:]:
            yield f"\narrows of {plan.title}"
            yield from (f"    {source} → {target}" for source, target in sorted(plan.arrows))
    yield ""
    yield from text_lines(modules)
    yield ""
    yield "words of the old language, by count"
    yield "    " + ", ".join(f"{word} {count}" for word, count in count_words(folder).items())
    yield "variables of the old language, by count"
    yield "    " + ", ".join(f"{name} {count}" for name, count in count_variables(modules).items())


def main() -> None:
    """Print the report on what the command line names."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("package", nargs="?", type=Path, default=ROOT / "src" / "tellapart")
    parser.add_argument("folders", nargs="*", help="folders of it; jobs and pipeline by default")
    parser.add_argument("--arrows", action="store_true", help="list who imports whom")
    words = parser.parse_args()
    if not (words.package / "__init__.py").is_file():
        parser.error(f"{words.package} is no package. Name a folder with an __init__.py.")
    package = words.package.resolve()
    inner = words.folders or [n for n in ("jobs", "pipeline") if (package / n).is_dir()]
    print("\n".join(report(package, inner, arrows=words.arrows)))


if __name__ == "__main__":
    main()
