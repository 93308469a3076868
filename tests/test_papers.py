"""The papers beside the code: what they state of the tree, of the tools and of each other holds."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from architecture import BEGIN, END, PACKAGE, file_list, with_list
from oldest import constraints, floors
from rooms import count_variables, count_words, files_plan, functions, plan_of, read_package, report

import tellapart

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "tellapart"
PAPERS = sorted(ROOT.glob("*.md"))
YAML_FILES = [
    *sorted((ROOT / ".github").rglob("*.yml")),
    ROOT / ".pre-commit-config.yaml",
    ROOT / "CITATION.cff",
]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def read(name: str) -> str:
    """The text of a file at the root of the repository."""
    return (ROOT / name).read_text(encoding="utf-8")


def project() -> dict[str, object]:
    """The table `project` of pyproject.toml."""
    return tomllib.loads(read("pyproject.toml"))["project"]


def name_of(path: Path) -> str:
    """A path as the name of a test."""
    return path.relative_to(ROOT).as_posix()


# ── tools/rooms.py and tools/architecture.py ──


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
    paper = read("ARCHITECTURE.md")
    lines = list(file_list(PACKAGE, ROOT / "pyproject.toml"))
    assert with_list(paper, lines) == paper, "Run: make architecture"


# ── the papers and the code ──


def test_each_promise_names_a_file_and_tests_that_are_there():
    table = re.findall(r"^\| \*\*.*\| (.*) \| (.*) \|$", read("ARCHITECTURE.md"), re.MULTILINE)
    files = {name for kept, _ in table for name in re.findall(r"`([^`]+)`", kept)}
    named = {name for _, held in table for name in re.findall(r"`(test_\w+)`", held)}
    texts = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("*.py"))
    assert {name for name in files if not ((SOURCE / name).exists() or (ROOT / name).exists())} == (
        set()
    )
    assert named - set(re.findall(r"def (test_\w+)\(", texts)) == set()
    assert len(table) >= 10


def excerpts() -> list[tuple[str, str]]:
    """(file, text) of each excerpt in STYLE.md; its first line names the file."""
    return re.findall(r"```python\n# (src/\S+)\n(.*?)```", read("STYLE.md"), re.DOTALL)


@pytest.mark.parametrize(("file", "text"), excerpts(), ids=[file for file, _ in excerpts()])
def test_each_excerpt_of_the_style_guide_stands_in_the_code(file: str, text: str):
    # The format tool indents an excerpt as it likes.
    assert " ".join(text.split()) in " ".join(read(file).split())


def test_no_code_of_the_style_guide_is_without_its_file():
    assert len(excerpts()) == read("STYLE.md").count("```python") >= 4


@pytest.mark.parametrize("paper", PAPERS, ids=name_of)
def test_links_between_the_papers_lead_somewhere(paper: Path):
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", paper.read_text(encoding="utf-8"))
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.parametrize("paper", ["CONTRIBUTING.md", "STYLE.md", "SECURITY.md"])
def test_each_file_that_a_paper_names_is_there(paper: str):
    names = re.findall(r"`([\w./-]+/(?:[\w.-]+\.(?:py|yml|md))?)`", read(paper))
    lost = [name for name in names if not ((ROOT / name).exists() or (SOURCE / name).exists())]
    assert lost == []


def make_targets() -> set[str]:
    """The targets of the Makefile."""
    return set(re.findall(r"^([a-z-]+):", read("Makefile"), re.MULTILINE))


def test_contributing_tells_of_every_make_target_and_of_no_other():
    told = set(re.findall(r"(?:`|\$ )make ([a-z-]+)", read("CONTRIBUTING.md")))
    assert make_targets() - {"clean"} - told == set()
    assert told - make_targets() == set()


def test_what_is_run_on_a_submission_is_make_check():
    assert read(".ci/run").splitlines()[-1] == "make check"


# ── what machines read ──


@pytest.mark.parametrize("path", YAML_FILES, ids=name_of)
def test_yaml_can_be_read(path: Path):
    assert isinstance(yaml.safe_load(path.read_text(encoding="utf-8")), dict)


@pytest.mark.parametrize("path", WORKFLOWS, ids=name_of)
def test_a_workflow_may_only_read_and_names_the_version_of_each_action(path: Path):
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    actions = re.findall(r"uses: (\S+)", path.read_text(encoding="utf-8"))
    assert workflow["permissions"] == {"contents": "read"}
    assert [name for name in actions if not re.search(r"@(v\d+|release/v\d+)$", name)] == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=name_of)
def test_a_workflow_calls_targets_that_the_makefile_has(path: Path):
    called = re.findall(r"run: make ([a-z-]+)", path.read_text(encoding="utf-8"))
    assert set(called) - make_targets() == set()


def test_the_suite_runs_on_each_python_and_system_that_is_promised():
    jobs = yaml.safe_load(read(".github/workflows/test.yml"))["jobs"]
    matrix = jobs["newest"]["strategy"]["matrix"]
    promised = [name.rpartition(" :: ")[2] for name in project()["classifiers"] if ":: 3." in name]
    assert matrix["python"] == promised
    assert matrix["os"] == ["ubuntu-latest", "macos-latest", "windows-latest"]


def test_only_the_job_that_publishes_may_ask_for_a_token():
    jobs = yaml.safe_load(read(".github/workflows/release.yml"))["jobs"]
    assert {name: job.get("permissions") for name, job in jobs.items()} == {
        "build": None,
        "publish": {"id-token": "write"},
    }


def test_the_citation_names_the_version_and_the_licence_of_the_code():
    citation = yaml.safe_load(read("CITATION.cff"))
    assert citation["version"] == tellapart.__version__
    assert citation["license"] == project()["license"]
    assert citation["repository-code"] == project()["urls"]["Homepage"]


def test_the_changelog_has_a_heading_for_the_version_of_the_code():
    assert f"\n## {tellapart.__version__}" in read("CHANGELOG.md")


# ── dependencies ──


def test_the_oldest_versions_are_the_floors_of_pyproject():
    text = constraints(ROOT / "pyproject.toml")
    assert read("constraints-oldest.txt") == text, "Run: python tools/oldest.py"


def test_what_make_installs_is_nowhere_below_the_floors():
    held = dict(re.findall(r"^([\w.-]+)==(\S+)$", read("constraints.txt").lower(), re.MULTILINE))
    lowest = floors(ROOT / "pyproject.toml")
    below = [name for name in lowest.keys() & held if numbers(held[name]) < numbers(lowest[name])]
    assert below == []


def numbers(version: str) -> list[int]:
    """The numbers of a version, for comparing."""
    return [int(number) for number in re.findall(r"\d+", version)]


def test_a_package_without_a_floor_is_told(tmp_path: Path):
    pyproject = tmp_path / "pyproject.toml"
    pyproject.write_text(
        "[project]\ndependencies = ['numpy>=1.26', 'rich']\n[project.optional-dependencies]\n"
        "[dependency-groups]\ndev = []\n"
    )
    with pytest.raises(ValueError, match="'rich' has no lowest version"):
        floors(pyproject)
