"""Build the documentation site into build/docs: `python docs/build.py`, or `make docs`.

The pages of `docs/pages` and the generated ones are put together in a folder of their own, so that
nothing generated lies among the sources. Any warning of the generator ends the build.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import reference  # noqa: E402 - it lies beside this file, which is no package

ROOT = HERE.parent
SOURCE = ROOT / "build" / "docs-source"
SITE = ROOT / "build" / "docs"


def write_source(folder: Path) -> Path:
    """Everything that the generator reads, in one new folder; returns it."""
    shutil.rmtree(folder, ignore_errors=True)
    pages = folder / "docs"
    shutil.copytree(HERE / "pages", pages)
    for image in HERE.glob("*.png"):
        shutil.copy(image, pages)
    for name, page in generated_pages().items():
        (pages / "reference" / name).write_text(page, encoding="utf-8")
    shutil.copy(HERE / "zensical.toml", folder)
    return folder


def generated_pages() -> dict[str, str]:
    """File name in reference/ → its Markdown."""
    return {
        "command-line.md": reference.command_line(),
        "recipe-keys.md": reference.recipe_keys(),
        "python.md": reference.python_api(),
    }


def main() -> None:
    """Write the source, build the site, and move it to its place."""
    source = write_source(SOURCE)
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    finished = subprocess.run(command, cwd=source, check=False)
    if finished.returncode:
        sys.exit(finished.returncode)
    shutil.rmtree(SITE, ignore_errors=True)
    shutil.move(source / "site", SITE)
    print(f"The site is in {SITE}; look at it with: python -m http.server --directory {SITE}")


if __name__ == "__main__":
    main()
