"""The papers beside the code: what they state of the tree, of the tools and of each other holds."""

from __future__ import annotations

from pathlib import Path

import pytest
from architecture import BEGIN, END, PACKAGE, file_list, with_list
from rooms import count_variables, count_words, files_plan, functions, plan_of, read_package, report

ROOT = Path(__file__).parents[1]


@pytest.fixture
def toys(tmp_path: Path) -> Path:
    """A package of six files: shop/ sells what workshop/ makes, and both use tools.py."""
    files = {
        "__init__.py": '"""Toys."""\nfrom toys.shop import till',
        "tools.py": '"""Hammer and saw. Handle with care."""\nimport json',
        "shop/__init__.py": "",
        "shop/till.py": "from toys.workshop.bench import make\nfrom toys import tools",
        "workshop/__init__.py": '"""Where toys are made."""',
        "workshop/bench.py": (
            "from typing import TYPE_CHECKING\n\nfrom ..tools import hammer\n"
            "if TYPE_CHECKING:\n    from toys.shop.till import Price\n\n\n"
            "def make(pictures):\n    from toys.workshop import paint\n\n"
            "    for one in pictures:\n        paint.dip(one)\n"
        ),
        "workshop/paint.py": "def dip(toy):\n    # Two coats: one is not enough.\n    return toy\n",
    }
    for name, text in files.items():
        path = tmp_path / "toys" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "toys"


def test_a_room_is_a_file_or_a_folder_and_an_arrow_a_pair_of_them(toys: Path):
    plan = plan_of(read_package(toys), "toys")
    assert plan.rooms == ("shop", "tools", "workshop")
    assert plan.arrows == {("shop", "workshop"), ("shop", "tools"), ("workshop", "tools")}


def test_the_floors_are_the_rooms_of_the_longest_chain_of_imports(toys: Path):
    plan = plan_of(read_package(toys), "toys")
    assert (plan.files, plan.floors, plan.circles) == (4, 3, [])


def test_imports_for_type_checkers_are_counted_apart(toys: Path):
    assert plan_of(read_package(toys), "toys").type_arrows == 1


def test_imports_within_functions_are_arrows(toys: Path):
    assert plan_of(read_package(toys), "toys", "workshop").arrows == {("bench", "paint")}


def test_file_by_file_each_file_is_a_room(toys: Path):
    plan = files_plan(read_package(toys), "toys")
    assert (len(plan.rooms), plan.floors, len(plan.arrows)) == (4, 3, 4)


def test_rooms_that_import_each_other_are_a_circle_on_one_floor(toys: Path):
    (toys / "tools.py").write_text("from toys.shop import till")
    plan = plan_of(read_package(toys), "toys")
    assert (plan.circles, plan.floors) == ([["shop", "tools", "workshop"]], 1)


def test_old_words_are_counted_in_the_text_and_old_variables_in_the_code(toys: Path):
    assert count_words(toys)["picture"] == 2
    assert count_words(toys)["for one in"] == 1
    assert count_variables(read_package(toys))["one"] == 1


def test_the_length_of_a_function_is_from_its_def_to_its_end(toys: Path):
    assert functions(read_package(toys)) == [
        (5, "toys.workshop.bench:make"),
        (3, "toys.workshop.paint:dip"),
    ]


def test_the_report_names_the_house_and_each_folder_that_is_asked_for(toys: Path):
    lines = list(report(toys, ["workshop"], arrows=True))
    assert lines[1].split() == ["toys/", "(the", "house)", "4", "3", "3", "3", "1", "0"]
    assert lines[3].split() == ["toys/workshop", "2", "2", "2", "1", "0", "0"]
    assert "    bench → paint" in lines


def test_a_line_of_the_list_is_the_first_sentence_of_the_docstring(toys: Path):
    rules = toys.parent / "pyproject.toml"
    rules.write_text(
        "[[tool.importlinter.contracts]]\ntype = 'layers'\n"
        "layers = ['toys.shop', 'toys.workshop', 'toys.tools']\n"
        "[[tool.importlinter.contracts]]\ntype = 'forbidden'\n"
        "source_modules = ['toys.tools']\nforbidden_modules = ['torch']\n"
    )
    assert list(file_list(toys, rules)) == [
        "- `tools.py` *(torch-free)*: Hammer and saw.",
        "- `workshop/`: Where toys are made.",
        "  - `bench.py`",
        "  - `paint.py`",
        "- `shop/`",
        "  - `till.py`",
        "- `__init__.py`: Toys.",
    ]


def test_only_what_stands_between_the_marks_is_replaced():
    assert with_list(f"above\n{BEGIN}\nold\n{END}\nbelow", ["new"]) == (
        f"above\n{BEGIN}\n\nnew\n\n{END}\nbelow"
    )


def test_a_paper_without_the_marks_is_no_place_for_the_list():
    with pytest.raises(ValueError, match="Put them back"):
        with_list("above", ["new"])


def test_the_list_of_files_is_what_the_tree_has():
    paper = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    lines = list(file_list(PACKAGE, ROOT / "pyproject.toml"))
    assert with_list(paper, lines) == paper, "Run: make architecture"
