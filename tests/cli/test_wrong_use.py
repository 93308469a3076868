"""Wrong use: one line that helps, and exit code two."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from helpers.commands import SMALL, VERBS, is_one_line
from helpers.images import write_image
from tellapart import Run

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
    "unknown kind of table": (
        ["predict", "MODEL", "x.jpg", "--out", "x.jsn"],
        "Did you mean '.jsonl'?",
    ),
    "misspelt folder": (["train", "PHOTO"], "Did you mean"),
    "value out of range": (
        ["train", "DATA", "--set", "split.test=1.5"],
        "must be in [0, 1), got 1.5",
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
    "image without check": (
        ["explore", "DATA", "--image", "x.jpg"],
        "--image goes with --check or --augment only",
    ),
    "two looks at once": (
        ["explore", "DATA", "--check", "--augment", "finetune"],
        "--augment does not go with --check",
    ),
}

if find_spec("timm"):  # which knows the names of all backbones
    WRONG |= {
        "unknown backbone": (
            ["train", "DATA", "--set", "backbone.name=resnet81"],
            "Did you mean 'resnet18'",
        ),
        "no such backbone": (["backbones", "resnet81"], "No backbone's name contains 'resnet81'"),
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
def test_wrong_use_is_one_line_that_helps(command, words_of, case: str):
    result = command(
        *words_of(case),
        *(["-q"] if WRONG[case][0][0] in ("train", "predict", "explore", "evaluate") else []),
    )
    assert (result.code, result.out) == (2, "")
    assert is_one_line(result.err)
    assert WRONG[case][1] in result.err
    assert not Path("runs").exists()


@pytest.mark.parametrize("case", WRONG)
def test_wrong_use_is_one_json_object_where_json_was_asked_for(command, words_of, case: str):
    result = command(*words_of(case), "--json")
    assert result.code == 2
    assert result.json["error"].keys() == {"kind", "message", "hint"}
    assert result.json["error"]["kind"] == "usage"
    assert WRONG[case][1] in f"{result.json['error']['message']} {result.json['error']['hint']}"


def test_a_class_that_the_model_does_not_know_is_answered_with_the_nearest(
    command, run: Run, tmp_path: Path
):
    for name in ("leafs", "sky"):
        write_image(tmp_path / "new" / name / "x.jpg")
    result = command("evaluate", run.model, tmp_path / "new", "-q")
    assert result.code == 2
    assert "Did you mean 'leaf'?" in result.err


def test_no_word_at_all_shows_what_there_is(command):
    result = command()
    assert all(verb in result.out for verb in VERBS)
    assert (result.code, result.err) == (2, "")
