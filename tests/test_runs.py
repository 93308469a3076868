"""`runs`: run folders as rows: sorted, filtered, with the settings that differ; damaged ones
named.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.run_folders import answers, write_run
from tellapart.errors import Refused, UserError
from tellapart.jobs.runs import COLUMNS, list_runs
from tellapart.runs.history import differing_settings, past_run, past_runs, read_history

HISTORY = [
    {"epoch": epoch, "val_loss": 1 / epoch, "val_accuracy": epoch / 4} for epoch in (1, 2, 3)
]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Three finished runs, the second the best and the third the newest, and one that can be
    resumed.
    """
    folder, right = tmp_path / "runs", [True] * 30
    write_run(folder / "20261101-080000-pets", answers([*right, *[False] * 10]), recipe={"seed": 3})
    write_run(
        folder / "20261102-080000-pets", answers([*right, *[False] * 2]), recipe={"head.folds": 3}
    )
    tuned = {"name": "finetune", "method": "finetune", "training.lr": 0.01}
    write_run(
        folder / "20261103-080000-birds",
        answers([*right, *[False] * 5]),
        recipe=tuned,
        history=HISTORY,
    )
    half = {
        "data": tmp_path / "data",
        "finished": False,
        "history": HISTORY,
        "val": answers([True] * 8),
    }
    write_run(folder / "20261102-090000-half", answers([True]), **half)
    return folder


def names(listed) -> list[str]:
    return [run.name for run in listed.runs]


def test_the_newest_run_comes_first(runs: Path):
    assert names(list_runs(runs)) == [
        "20261103-080000-birds",
        "20261102-090000-half",
        "20261102-080000-pets",
        "20261101-080000-pets",
    ]


def test_a_run_is_told_by_its_folder(runs: Path):
    run = past_run(runs / "20261101-080000-pets")
    assert (run.recipe, run.backbone, run.seed, run.state) == (
        "probe",
        "tf_efficientnet_lite0",
        3,
        "finished",
    )
    assert (run.date, run.seconds, run.splits) == ("2026-11-01 08:00:00", 61.5, "5" * 64)
    assert (
        f"{run.accuracy} {run.val_accuracy}"
        == "75.0 % (59.8 to 85.8, 40 images) 100.0 % (61.0 to 100.0, 6 images)"
    )


def test_a_run_that_can_be_resumed_shows_its_last_epoch(runs: Path):
    run = past_run(runs / "20261102-090000-half")
    assert (run.state, run.accuracy, run.seconds) == ("resumable", None, None)
    assert run.val_accuracy is not None
    assert (run.val_accuracy.value, run.val_accuracy.count) == (0.75, 8)


def test_a_run_is_sorted_by_any_column_and_those_without_a_value_come_last(runs: Path):
    ordered = names(list_runs(runs, sort="accuracy"))
    assert ordered == [
        f"2026110{day}" + rest
        for day, rest in ((2, "-080000-pets"), (3, "-080000-birds"), (1, "-080000-pets"))
    ] + ["20261102-090000-half"]
    assert names(list_runs(runs, sort="accuracy", descending=False)) == [
        *ordered[2::-1],
        ordered[3],
    ]
    assert names(list_runs(runs, sort="training.lr", descending=True))[0] == "20261103-080000-birds"


@pytest.mark.parametrize(
    ("where", "count"),
    [
        (["recipe=finetune"], 1),
        (["recipe==finetune"], 1),
        (["accuracy==0.75"], 1),
        (["recipe!=finetune"], 3),
        (["accuracy>0.8"], 2),
        (["accuracy <= 0.8"], 1),
        (["accuracy>0.8", "recipe=probe"], 1),
        (["run=*PETS*"], 2),
        (["training.lr=1e-2"], 1),
        (["date>=2026-11-02"], 3),
        (["state=resumable"], 1),
        (["test_images>100"], 0),
        (["splits=55555555"], 3),
        (["splits!=55555555"], 1),
        (["splits=5555555"], 0),
    ],
)
def test_filters_leave_the_runs_that_match(runs: Path, where: list[str], count: int):
    listed = list_runs(runs, where=where)
    assert (len(listed.runs), listed.left_out) == (count, 4 - count)
    assert any("not match" in line for line in listed.lines)


@pytest.mark.parametrize(
    "text", ["accuracy=>0.9", "accuracy=<0.9", "recipe===probe", "accuracy>>0.9"]
)
def test_what_is_no_filter_is_refused(runs: Path, text: str):
    with pytest.raises(UserError, match=r"is no filter. Write one like"):
        list_runs(runs, where=[text])


def test_a_cross_validation_is_told_from_a_training(runs: Path):
    file = runs / "20261101-080000-pets" / "metrics.json"
    folds = {"folds": 5, "repeats": 2, "model": {"by": "ensemble"}}
    file.write_text(json.dumps({**json.loads(file.read_text()), "folds": folds}))
    listed = list_runs(runs, settings=True, where=["cv.model=ensemble"])
    assert names(listed) == ["20261101-080000-pets"]
    assert listed.cells[0][1] == "probe, 5 folds"
    two = list_runs(runs, settings=True, where=["run=*pets*"])
    assert (two.settings["cv.folds"], two.settings["cv.repeats"]) == ([None, 5], [None, 2])


def test_settings_that_differ_are_columns(runs: Path):
    listed = list_runs(runs, settings=True, where=["state=finished"])
    assert {"head.folds", "training.lr", "method"} <= listed.settings.keys()
    assert not {"seed", "name", "split.test"} & listed.settings.keys()
    assert len(listed.heads) == len(listed.cells[0])
    assert listed.as_json()["runs"][0]["settings"]["training.lr"] == 0.01


def test_a_table_holds_every_number(runs: Path, tmp_path: Path):
    list_runs(runs, out=tmp_path / "runs.csv", settings=True)
    rows = list(csv.DictReader((tmp_path / "runs.csv").read_text().splitlines()))
    assert list(rows[0])[: len(COLUMNS)] == list(COLUMNS)
    assert (rows[3]["accuracy"], rows[3]["test_images"], rows[1]["accuracy"]) == ("0.75", "40", "")
    assert rows[0]["training.lr"] == "0.01"


def test_every_score_says_its_split_count_and_seed(runs: Path):
    entry = list_runs(runs, sort="date", descending=False).as_json()["runs"][0]
    assert (
        entry["test"]["accuracy"]["count"],
        entry["val"]["accuracy"]["count"],
        entry["seed"],
    ) == (40, 6, 3)
    json.dumps(entry, allow_nan=False)


def test_damaged_folders_are_named_and_stop_nothing(runs: Path):
    (runs / "20261101-080000-pets" / "metrics.json").write_text("{")
    (runs / "20261102-080000-pets" / "recipe.yaml").write_text("a: [")
    (runs / "20261102-090000-half" / "splits.parquet").write_bytes(b"no table")
    listed = list_runs(runs)
    assert names(listed) == ["20261103-080000-birds"]
    assert [line.split(":")[1].strip() for line in listed.lines] == sorted(listed.damaged)
    assert "metrics.json is gone or damaged" in listed.lines[0]
    assert len(listed.as_json()["damaged"]) == 3


def test_metrics_that_are_not_as_they_were_written_are_damage(runs: Path):
    for broken in (
        "no JSON",
        '{"seconds": {"all": "long"}}',
        '{"seed": 3, "folds": {"folds": 5}}',
        '{"test": {"accuracy": {"count": 3}}}',
        '{"seconds": 3}',
        '{"test": 3}',
    ):
        (runs / "20261101-080000-pets" / "metrics.json").write_text(broken)
        with pytest.raises(Refused, match=r"metrics\.json is gone or damaged"):
            past_run(runs / "20261101-080000-pets")


def test_a_damaged_history_is_named(tmp_path: Path):
    (tmp_path / "history.csv").write_bytes(b"loss\r\n0.1\r\n")
    with pytest.raises(Refused, match=r"history\.csv is damaged"):
        read_history(tmp_path)


def test_runs_inside_runs_are_listed_only_where_they_are_asked_for(runs: Path):
    inside = runs / "20261101-080000-pets" / "folds"
    write_run(inside / "1", answers([True] * 4))
    assert len(list_runs(runs).runs) == 4
    assert names(list_runs(inside)) == ["1"]


def test_of_a_search_its_last_run_is_listed_and_all_trials_when_it_is_asked_for(runs: Path):
    search = runs / "20261106-080000-pets"
    search.mkdir()
    (search / "study.json").write_text("{}")
    for name in ("best/20261106-090000-trial-0001", "trials/20261106-080100-trial-0000"):
        write_run(search / name, answers([True] * 4))
    assert names(list_runs(runs))[0] == "20261106-080000-pets/best/20261106-090000-trial-0001"
    assert len(list_runs(runs).runs) == 5
    assert names(list_runs(search)) == [
        "best/20261106-090000-trial-0001",
        "trials/20261106-080100-trial-0000",
    ]


def test_folders_that_are_no_runs_are_passed_over(runs: Path):
    (runs / "notes").mkdir()
    write_run(runs / ".20261105-080000-x.part", answers([True]))
    assert len(list_runs(runs).runs) == 4


def test_an_empty_folder_says_so(tmp_path: Path):
    assert list_runs(tmp_path).lines == [f"There are no runs in {tmp_path}."]
    with pytest.raises(UserError, match=r"is no folder.*Name the folder that holds the runs"):
        list_runs(tmp_path / "none")


def test_wrong_words_are_named_with_the_right_ones(runs: Path, tmp_path: Path):
    with pytest.raises(UserError, match=r"Unknown column 'acuracy'.*Did you mean 'accuracy'"):
        list_runs(runs, sort="acuracy")
    with pytest.raises(UserError, match=r"Unknown column 'reciep'.*'recipe'"):
        list_runs(runs, where=["reciep=probe"])
    with pytest.raises(UserError, match=r"'probe' is no filter\. Write one like recipe=finetune"):
        list_runs(runs, where=["probe"])
    with pytest.raises(UserError, match=r"compares with what is no number.*accuracy>0\.9"):
        list_runs(runs, where=["accuracy>high"])
    with pytest.raises(UserError, match=r"Unknown kind of table '\.txt'"):
        list_runs(runs, out=tmp_path / "x.txt")


def test_what_is_no_run_is_refused(tmp_path: Path):
    with pytest.raises(UserError, match=r"is no run folder\. Give the folder of a run"):
        past_run(tmp_path)


def test_a_setting_that_one_run_does_not_have_differs():
    assert differing_settings([{"a": 1}, {"a": 1, "b": None}, {"a": 1, "b": 2}]) == {
        "b": [None, None, 2]
    }


def test_listing_loads_neither_torch_nor_a_model(runs: Path):
    code = (
        "import sys; from tellapart.jobs.runs import list_runs; list_runs(sys.argv[1],"
        " settings=True);print({'torch', 'onnx', 'onnxruntime', 'sklearn'} & sys.modules.keys())"
    )
    assert (
        subprocess.check_output([sys.executable, "-c", code, str(runs)], text=True).strip()
        == "set()"
    )


def test_many_runs_are_read(runs: Path):
    found, damaged = past_runs(runs)
    assert (len(found), damaged) == (4, {})


def test_a_search_is_no_run_but_its_last_one_is_named(tmp_path: Path):
    search = tmp_path / "20261106-080000-pets"
    last = write_run(search / "best" / "20261106-090000-trial-0001", answers([True] * 4))
    (search / "study.json").write_text("{}")
    with pytest.raises(UserError, match=f"is no run folder. Its last run is {last}"):
        past_run(search)
