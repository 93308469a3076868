"""`evaluate --slices`: the columns of the user's table reach the run and the result."""

from __future__ import annotations

from pathlib import Path

import pytest

import tellapart
from helpers.commands import run_command
from helpers.images import write_classes
from helpers.probes import SMALL
from tellapart import Run, UserError
from tellapart.runs.saved_columns import read_slice_columns
from tellapart.sources.source import read_source


def write_table(folder: Path) -> Path:
    """A table of 14 images a class; every second is of the old camera, and some are test images."""
    write_classes(folder, 14)
    lines = ["image,label,split,camera,lens,caption"]
    for number, path in enumerate(sorted(folder.rglob("*.jpg"))):
        split = "train" if number % 14 < 6 else "test"
        camera = ("old", "new")[number % 2]
        lines.append(
            f"{path.relative_to(folder)},{path.parent.name},{split},{camera},{number},c{number}"
        )
    (folder / "table.csv").write_text("\n".join(lines) + "\n")
    return folder / "table.csv"


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_table(tmp_path_factory.mktemp("slices") / "photos")


@pytest.fixture(scope="module")
def run(table: Path) -> Run:
    return tellapart.train(table, set=SMALL, out=table.parent.parent / "runs", quiet=True)


def test_a_catalog_keeps_the_other_columns_of_a_table(table: Path):
    catalog = read_source(table)
    assert list(catalog.extras) == ["camera", "lens"]
    chosen = catalog.rows(catalog.paths == catalog.paths[3])
    assert chosen.extras["camera"].tolist() == [catalog.extras["camera"][3]]


def test_a_run_is_measured_again_from_what_it_kept(run: Run):
    again = tellapart.evaluate(run.path, quiet=True)
    assert again.metrics.accuracy == run.metrics.accuracy
    assert (again.split, again.slices) == ("test", None)


def test_a_run_knows_the_columns_of_its_table(run: Run):
    slices = tellapart.evaluate(run.path, slices=["camera"], quiet=True).as_json()["slices"]
    assert {(entry["value"], entry["images"]) for entry in slices["tested"]} == {
        ("new", 12),
        ("old", 12),
    }


def test_images_give_the_slices_that_the_run_kept(run: Run, table: Path):
    kept = tellapart.evaluate(run.path, slices=["all"], quiet=True).slices
    measured = tellapart.evaluate(run.path, table, slices=["all"], quiet=True).slices
    assert kept and measured and kept.tested
    assert [entry.as_json() for entry in measured.tested] == [e.as_json() for e in kept.tested]


def test_every_column_has_a_value_for_each_image(run: Run):
    paths = run.predictions().paths
    columns = read_slice_columns(run.path, paths)
    assert {"camera", "lens", "brightness", "short side"} <= columns.keys()
    assert {len(column) for column in columns.values()} == {len(paths)}


def test_an_unknown_column_is_refused_by_name(run: Run):
    with pytest.raises(UserError, match="camera"):
        tellapart.evaluate(run.path, slices=["kamera"], quiet=True)


def test_the_command_prints_the_slices(run: Run):
    lines = run_command("evaluate", run.path, "--slices", "camera").out.splitlines()
    assert any(line.startswith("None of 2 slices by 1 column") for line in lines)
    assert [line.split("\t")[:2] for line in lines if line.startswith("camera")] == [
        ["camera: new", "12"],
        ["camera: old", "12"],
    ]


def test_the_form_of_data_needs_data(run: Run):
    result = run_command("evaluate", run.path, "--crops")
    assert result.code == 2
    assert "need DATA" in result.err


def test_without_images_a_run_folder_is_needed(run: Run):
    with pytest.raises(UserError, match="Nothing says which images"):
        tellapart.evaluate(run.model, quiet=True)
