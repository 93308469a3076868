"""Build the documentation site into build/docs: `python docs/make_site.py`, or `make docs`.

The pages of `docs/pages` and the generated ones are put together in a folder of their own, so that
nothing generated lies among the sources. Any warning of the generator ends the build.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import reference

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
SOURCE = ROOT / "build" / "docs-source"
SITE = ROOT / "build" / "docs"


def write_source(folder: Path) -> Path:
    """Everything that the generator reads, in one new folder; returns it."""
    shutil.rmtree(folder, ignore_errors=True)
    pages = folder / "docs"
    shutil.copytree(HERE / "pages", pages)
    for file in (*HERE.glob("*.png"), HERE / "extra.css"):
        shutil.copy(file, pages)
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


def build(source: Path) -> Path:
    """Build the site of a source folder, where any warning is an error; returns its folder.

    Raises:
        subprocess.CalledProcessError: the generator found something wrong, and has said what.
    """
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    subprocess.run(command, cwd=source, check=True)
    return source / "site"


def main() -> None:
    """Write the source, build the site, and move it to its place."""
    try:
        site = build(write_source(SOURCE))
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)
    shutil.rmtree(SITE, ignore_errors=True)
    shutil.move(site, SITE)
    print(f"The site is in {SITE}. Look at it with: python -m http.server --directory {SITE}")


if __name__ == "__main__":
    main()
