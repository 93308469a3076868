"""The pages of the documentation, and the blocks of code in them.

A comment in the line above a block says how the block is treated; readers do not see it.

    no comment              Python is run, commands are parsed
    <!-- run -->            commands are run too
    <!-- not run: why -->   nothing is run; commands of tellapart are parsed
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from helpers.commands import run_command
from helpers.images import KINDS, write_classes, write_image

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
FOLDER = ROOT / "docs" / "pages"
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PAGES = [README, *sorted(FOLDER.rglob("*.md"))]

BLOCK = re.compile(
    r"(?:^[ ]*<!-- (?P<marker>[^\n]+?) -->\n)?"
    r"^(?P<indent>[ ]*)```(?P<language>\w+)\n(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
A_RUN = re.compile(r"runs/\d{8}-\d{6}-[\w-]+")


@dataclass(frozen=True)
class Block:
    """A block of code.

    Args:
        page: the file.
        line: where its code begins, from 1.
        language: as the fence names it.
        marker: the comment above it, "" without one.
        text: its code.
    """

    page: Path
    line: int
    language: str
    marker: str
    text: str

    @property
    def place(self) -> str:
        """Page and line, as an editor opens them."""
        return f"{self.page}:{self.line}"

    @property
    def skipped(self) -> bool:
        """Whether the block says that it cannot run here."""
        return self.marker.startswith("not run: ")

    def commands(self) -> Iterator[list[str]]:
        """The words of each command of tellapart, without its name and without pipes."""
        for line in self.text.replace("\\\n", " ").splitlines():
            for command in re.split(r" [|<] | && ", line):
                words = shlex.split(command, comments=True)
                if "tellapart" in words[:6] and words[0] not in ("pip", "$"):
                    yield words[words.index("tellapart") + 1 :]


def blocks(page: Path, *languages: str) -> list[Block]:
    """The blocks of a page, in order; of some languages, where any is named."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in BLOCK.finditer(text):
        block = Block(
            page.relative_to(ROOT),
            text.count("\n", 0, match.start("text")) + 1,
            match["language"],
            match["marker"] or "",
            match["text"],
        )
        if block.language in languages or not languages:
            found.append(block)
    return found


def inline_commands(page: Path) -> list[list[str]]:
    """The words of each command of tellapart that stands within a sentence or a table."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    spans = re.findall(r"`(?:[^`\n]* -m )?tellapart ([^`]+)`", text)
    return [shlex.split(span.replace("\\|", "|").rstrip("…")) for span in spans]


def page_name(page: Path) -> str:
    """A page as the name of a test."""
    return page.relative_to(FOLDER if FOLDER in page.parents else ROOT).as_posix()


def write_working_folder(folder: Path) -> Path:
    """What the pages speak of: photos/, more-photos/, new/, new.jpg and labels.csv; its path."""
    write_classes(folder / "photos", 12)
    write_classes(folder / "more-photos", 3, first_seed=100)
    write_classes(folder / "split-photos" / "train", 3, first_seed=200)
    write_classes(folder / "split-photos" / "test", 2, first_seed=300)
    colour, pattern = KINDS["leaf"]
    for name in ("new/0.jpg", "new/1.jpg", "new.jpg"):
        write_image(folder / name, 7, colour=colour, pattern=pattern)
    rows = [
        f"{path.relative_to(folder)},{path.parent.name},p{number % 9}"
        for number, path in enumerate(sorted((folder / "photos").rglob("*.jpg")))
    ]
    (folder / "labels.csv").write_text("\n".join(["path,label,patient", *rows]), encoding="utf-8")
    return folder


def run_page(page: Path, folder: Path) -> None:
    """Run what a page runs, in order and in one namespace, with `folder` as the current one."""
    namespace: dict[str, object] = {"__name__": "__main__"}
    with contextlib.chdir(folder):
        for block in blocks(page, "python", "sh"):
            if block.language == "python" and not block.skipped:
                exec(compile("\n" * (block.line - 1) + block.text, block.page, "exec"), namespace)
            elif block.marker == "run":
                _run_commands(block)


def code_cells(notebook: Path) -> list[str]:
    """The code of a notebook, a text for each cell."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def run_notebook(notebook: Path, folder: Path) -> None:
    """Run the cells of a notebook in order, with `folder` as the current one."""
    namespace: dict[str, object] = {"__name__": "__main__"}
    with contextlib.chdir(folder):
        for number, code in enumerate(code_cells(notebook), 1):
            exec(compile(code, f"{notebook.name}, code cell {number}", "exec"), namespace)


def _run_commands(block: Block) -> None:
    for words in block.commands():
        ended = run_command(*(A_RUN.sub(_newest_run, word) for word in words))
        assert ended.code == 0, f"{block.place}: {' '.join(words)}\n{ended.err}"


def _newest_run(named: re.Match[str]) -> str:
    """The newest run folder, for one that a page names by another date."""
    runs = [path for path in Path("runs").iterdir() if path.is_dir()]
    return max(runs, key=os.path.getmtime).as_posix()
