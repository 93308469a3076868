"""The rooms: the upper half, which uses a model, does without everything that only training
needs.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

import tellapart
from helpers.commands import run_python
from helpers.images import write_classes
from tellapart import Run

UPPER = [
    "tellapart",
    "tellapart.errors",
    "tellapart.recipe",
    "tellapart.recipe_files",
    "tellapart.keyed",
    "tellapart.threads",
    "tellapart.progress",
    "tellapart.writing",
    "tellapart.decoding",
    "tellapart.cache",
    "tellapart.datasets",
    "tellapart.cli.main",
    "tellapart.jobs.predict",
    "tellapart.jobs.evaluate",
]
UPPER_FOLDERS = ["catalog", "evaluation", "explain", "modelfile", "runs", "report"]
TRAIN_ONLY = [
    "torch",
    "torchvision",
    "timm",
    "sklearn",
    "scipy",
    "onnx",
    "polars",
    "safetensors",
    "huggingface_hub",
]

WITHOUT = f"""
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {TRAIN_ONLY}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
"""
RUN = WITHOUT + "from tellapart.cli.main import main\nmain(sys.argv[1:])"


def without_the_extra(code: str, *words: object) -> subprocess.CompletedProcess[str]:
    """Runs code where the packages of the train extra cannot be imported."""
    return run_python(code, *words)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_classes(tmp_path_factory.mktemp("rooms") / "photos", 12)


@pytest.fixture(scope="module")
def run(data: Path) -> Run:
    changes = {"preprocessing.size_px": 64, "head.folds": 2, "head.c_values": (0.01, 0.1)}
    return tellapart.train(data, set=changes, out=data.parent / "runs", quiet=True)


def test_the_upper_half_imports_without_the_train_extra():
    package = Path(tellapart.__file__).parent
    files = [file for folder in UPPER_FOLDERS for file in sorted((package / folder).glob("*.py"))]
    modules = [
        *UPPER,
        *(f"tellapart.{file.parent.name}.{file.stem}" for file in files if file.stem != "__init__"),
    ]
    code = (
        WITHOUT
        + "from importlib import import_module\nfor name in sys.argv[1:]: import_module(name)"
    )
    done = without_the_extra(code, *modules)
    assert (done.returncode, done.stderr) == (0, "")


def test_predict_runs_without_the_train_extra(run: Run, data: Path, tmp_path: Path):
    done = without_the_extra(RUN, "predict", run.model, data / "sky", "--json", "-q")
    assert (done.returncode, done.stderr) == (0, "")
    assert {answer["answer"] for answer in json.loads(done.stdout)["answers"]} == {"sky"}


def test_explanations_need_no_train_extra(run: Run, data: Path, tmp_path: Path):
    photo, why = data / "sky" / "000.jpg", tmp_path / "why"
    done = without_the_extra(RUN, "predict", run.path, photo, "--explain", why, "-q")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Nearest training images" in (why / "index.html").read_text()


@pytest.mark.parametrize("table", ["answers.csv", "answers.jsonl"])
def test_predict_writes_tables_without_the_train_extra(
    run: Run, data: Path, tmp_path: Path, table: str
):
    done = without_the_extra(
        RUN, "predict", run.model, data / "sky", "--out", tmp_path / table, "-q"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len((tmp_path / table).read_text().splitlines()) in (12, 13)


def test_evaluate_runs_without_the_train_extra_and_says_the_same(run: Run, data: Path):
    done = without_the_extra(RUN, "evaluate", run.model, data, "--json", "-q")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == json.loads(
        json.dumps(tellapart.evaluate(run.model, data, quiet=True).as_json())
    )


def test_the_library_predicts_without_the_train_extra(run: Run, data: Path):
    code = (
        WITHOUT + "import tellapart; print(tellapart.load(sys.argv[1]).predict(sys.argv[2]).answer)"
    )
    done = without_the_extra(code, run.path, data / "leaf" / "000.jpg")
    assert (done.stdout, done.stderr) == ("leaf\n", "")


def test_train_without_its_extra_says_in_one_line_how_to_get_it(data: Path, tmp_path: Path):
    done = without_the_extra(RUN, "train", data, "--out", tmp_path / "runs")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "pip install 'tellapart[train]'" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_train_without_its_extra_says_so_as_json_too(data: Path):
    done = without_the_extra(RUN, "train", data, "--json")
    assert json.loads(done.stdout)["error"]["hint"] == "Run: pip install 'tellapart[train]'"
    assert done.returncode == 2


def test_train_without_its_extra_says_so_in_python_too(data: Path):
    code = (
        WITHOUT + "import tellapart\n"
        "try: tellapart.train(sys.argv[1], quiet=True)\n"
        "except tellapart.UserError as error: print(error.hint)"
    )
    assert without_the_extra(code, data).stdout == "Run: pip install 'tellapart[train]'\n"


def test_parquet_without_its_extra_is_refused_before_any_work(run: Run, data: Path, tmp_path: Path):
    done = without_the_extra(RUN, "predict", run.model, data, "--out", tmp_path / "x.parquet")
    assert done.returncode == 2
    assert (
        "This needs polars, which is not installed. Run: pip install 'tellapart[train]'"
        in done.stderr
    )
    assert not (tmp_path / "x.parquet").exists()


def test_explore_runs_without_the_train_extra(data: Path, tmp_path: Path):
    done = without_the_extra(RUN, "explore", data, "--out", tmp_path / "page.html", "-q", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "page.html").exists()


def test_runs_are_listed_without_the_train_extra(run: Run):
    done = without_the_extra(RUN, "runs", run.path.parent, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert [row["state"] for row in json.loads(done.stdout)["runs"]] == ["finished"]
