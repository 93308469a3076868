"""Help and public names."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType

import pytest

import tellapart
from helpers.commands import VERBS
from tellapart import Run
from tellapart.jobs.runs import COLUMNS

# ── help ──


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_an_example(command, verb: str):
    result = command(verb, "--help")
    assert result.code == 0
    assert f"tellapart {verb} " in " ".join(result.out.split())
    assert f"\n tellapart {verb} " in result.out.split("Examples:")[1]


@pytest.mark.parametrize("verb", VERBS)
def test_a_flag_does_not_look_as_if_a_value_had_to_follow(command, verb: str):
    assert "<bool>" not in command(verb, "--help").out


@pytest.mark.parametrize("verb", VERBS)
def test_every_default_is_said_in_the_same_way(command, verb: str):
    text = " ".join(command(verb, "--help").out.split())
    assert "[default:" not in text
    assert "by default" not in text


def test_the_columns_of_runs_are_listed(command):
    text = " ".join(command("runs", "--help").out.split())
    assert f"Columns: {', '.join(COLUMNS)}." in text


def test_the_verbs_are_these(command):
    train = ["train", "find-rate", "recipes", "backbones"]
    experiments = ["cv", "tune", "pick", "runs", "compare"]
    use = ["predict", "evaluate", "inspect", "export", "drift", "serve"]
    assert ["explore", "audit", *train, *use, *experiments] == VERBS


@pytest.mark.parametrize(
    "words", [["--help"], ["--version"], *([verb, "--help"] for verb in VERBS)], ids=" ".join
)
def test_help_imports_nothing_heavy(words: list[str]):
    code = (
        "import sys; from tellapart.cli.main import main\ntry: main(sys.argv[1:])\nfinally:"
        " print(sorted({'torch', 'onnxruntime', 'numpy', 'PIL', 'polars'} & set(sys.modules)),"
        " file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=True
    )
    assert done.stderr.strip() == "[]"


def test_it_can_be_run_as_a_module():
    done = subprocess.run(
        [sys.executable, "-m", "tellapart", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"tellapart {tellapart.__version__}\n"


def test_what_libraries_print_while_it_works_is_no_result(
    command, run: Run, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(tellapart, "train", lambda *_, **__: print("view your run at …") or run)
    result = command("train", "photos", "--json")
    assert result.json["model"] == str(run.model)
    assert "view your run at …" in result.err


def test_what_libraries_print_at_the_very_end_is_none_either():
    code = (
        "import atexit, sys; atexit.register(print, 'bye'); from tellapart.cli.main import main;"
        " main(['--version'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == (f"tellapart {tellapart.__version__}\n", "bye\n")


# ── and in Python ──


def test_public_names_are_exactly_all():
    assert sorted(tellapart.__all__) == tellapart.__all__
    assert all(getattr(tellapart, name) is not None for name in tellapart.__all__)
    visible = {
        n
        for n, v in vars(tellapart).items()
        if not n.startswith("_") and not isinstance(v, ModuleType)
    }
    assert visible <= set(tellapart.__all__)
    assert set(dir(tellapart)) == {*tellapart.__all__, "__version__"}


def test_a_name_that_is_not_there_is_said():
    with pytest.raises(AttributeError, match="module 'tellapart' has no attribute 'trian'"):
        _ = tellapart.trian
