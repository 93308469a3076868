"""The documentation holds: its code runs, its commands exist, and nothing is left out."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import make_site
import pytest
import reference

import tellapart
from helpers.documentation import (
    FOLDER,
    NOTEBOOKS,
    PAGES,
    README,
    ROOT,
    Block,
    blocks,
    inline_commands,
    page_name,
    run_notebook,
    run_page,
    write_working_folder,
)
from tellapart.recipe import recipe_keys

# Blocks that show other tools' code, fetch something, or start servers. Each says why above itself.
NOT_RUN = 27

COMMANDS = reference.click_commands()
SHELL = [block for page in PAGES for block in blocks(page, "sh")]
GENERATED = make_site.generated_pages()


def runs_something(page: Path) -> bool:
    """Whether any block of a page is run."""
    return any(
        block.marker == "run" or (block.language == "python" and not block.skipped)
        for block in blocks(page, "python", "sh")
    )


def link_targets(text: str) -> list[str]:
    """The relative targets of a page's links and images."""
    targets = re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    return [target for target in targets if not re.match(r"https?:|mailto:", target)]


def unnamed_arguments(name: str, words: list[str]) -> list[str]:
    """The arguments that a command needs, where a sentence names its options at most."""
    needed = [
        parameter
        for parameter in COMMANDS[name].params
        if parameter.param_type_name == "argument" and parameter.required
    ]
    return ["X"] * len(needed) if not words or words[0].startswith("-") else []


def nav_pages(entry: Any) -> Iterator[str]:
    """The pages that the menu of the site names."""
    if isinstance(entry, str):
        yield entry
    for child in entry.values() if isinstance(entry, dict) else entry:
        if not isinstance(entry, str):
            yield from nav_pages(child)


# ── the code in the pages ──


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if runs_something(page)],
    ids=page_name,
)
def test_the_code_of_a_page_runs_as_it_stands(page: Path, tmp_path: Path) -> None:
    run_page(page, write_working_folder(tmp_path))


@pytest.mark.parametrize("block", SHELL, ids=lambda block: block.place)
def test_the_commands_of_a_page_are_understood(block: Block) -> None:
    for name, *words in block.commands():
        COMMANDS[name].make_context(name, words)


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_the_commands_in_sentences_are_understood(page: Path) -> None:
    for name, *words in inline_commands(page):
        COMMANDS[name].make_context(name, [*words, *unnamed_arguments(name, words)])


@pytest.mark.parametrize("name", COMMANDS)
def test_the_examples_below_a_help_are_understood(name: str) -> None:
    examples = [line for line in reference.example_lines(COMMANDS[name].epilog) if line]
    block = Block(Path(name), 1, "sh", "", "\n".join(examples))
    assert [COMMANDS[verb].make_context(verb, words) for verb, *words in block.commands()]


def test_a_block_that_is_not_run_says_why() -> None:
    skipped = [block for page in PAGES for block in blocks(page) if block.skipped]
    assert len(skipped) == NOT_RUN


def test_a_marker_is_one_of_the_known_ones() -> None:
    markers = {block.marker for page in PAGES for block in blocks(page) if not block.skipped}
    assert markers <= {"", "run"}


# ── the notebooks ──


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_top_to_bottom(notebook: Path, tmp_path: Path) -> None:
    run_notebook(notebook, tmp_path)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_its_output(notebook: Path) -> None:
    assert '"outputs": []' in notebook.read_text(encoding="utf-8")
    assert '"output_type"' not in notebook.read_text(encoding="utf-8")


# ── the reference, which is read from the code ──


@pytest.mark.parametrize("name", COMMANDS)
def test_each_option_of_a_command_is_explained(name: str) -> None:
    section = GENERATED["command-line.md"].partition(f"\n## {name}\n")[2].partition("\n## ")[0]
    explained = set(re.findall(r"^\| `(.+?)` \| \S.* \|$", section, re.MULTILINE))
    assert explained == {reference.spelling(parameter) for parameter in COMMANDS[name].params}


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_is_shown_on_a_page_that_was_written(name: str) -> None:
    assert name in {words[0] for block in SHELL for words in block.commands()}


def test_each_recipe_key_is_explained() -> None:
    rows = re.findall(r"^\| `(\S+)` \| .*? \| \S.* \|$", GENERATED["recipe-keys.md"], re.M)
    assert rows == recipe_keys()


def test_each_public_name_is_explained() -> None:
    sections = re.split(r"^## (\w+)$", GENERATED["python.md"], flags=re.MULTILINE)
    explained = {
        name for name, text in zip(sections[1::2], sections[2::2], strict=True) if text.strip()
    }
    assert explained == set(tellapart.__all__)


def test_a_docstring_becomes_a_list_and_an_example() -> None:
    text = "Add.\n\nArgs:\n    one: the first\n        number.\n\n>>> add(1, 2)\n3"
    page = reference.docstring(text)
    assert "**Args**\n\n- `one`: the first\n  number." in page
    assert page.endswith("```pycon\n>>> add(1, 2)\n3\n```")


# ── the site ──


def test_the_menu_names_each_page_once() -> None:
    menu = tomllib.loads((ROOT / "docs" / "zensical.toml").read_text())["project"]["nav"]
    written = [path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*.md")]
    assert sorted(nav_pages(menu)) == sorted(
        [*written, *(f"reference/{name}" for name in GENERATED)]
    )


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_the_links_of_a_page_lead_somewhere(page: Path, tmp_path: Path) -> None:
    here = (
        page.parent
        if page == README
        else make_site.write_source(tmp_path) / "docs" / page.parent.relative_to(FOLDER)
    )
    missing = [
        target
        for target in link_targets(page.read_text(encoding="utf-8"))
        if target.partition("#")[0] and not (here / target.partition("#")[0]).exists()
    ]
    assert missing == []


def test_the_site_builds_without_a_warning_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    source = make_site.write_source(tmp_path / "source")
    make_site.build(source)
    pages = list((source / "site").rglob("*.html"))
    loaded = {
        address
        for page in pages
        for address in re.findall(
            r'<(?:script|link|img)[^>]+(?:src|href)="(https?:[^"]+)"', page.read_text()
        )
    }
    assert pages
    assert loaded == set()


def test_the_readme_is_one_screen_of_promise_and_one_of_use() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 110
