"""`predict --explain`: a picture for each image, and a page that opens without a network."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tellapart
from helpers.commands import run_command
from tellapart import Run, UserError
from tellapart.jobs import predict as predict_job
from tellapart.runs.index_file import FILE


@pytest.fixture(scope="module")
def explained(run: Run, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of explanations of three images and one that is none."""
    folder = tmp_path_factory.mktemp("folder")
    (folder / "none.jpg").write_bytes(b"no image")
    names = [photos / kind / "000.jpg" for kind in ("sky", "leaf")]
    images = [*names, folder / "none.jpg", photos / "sky" / "001.jpg"]
    tellapart.predict(run.path, images, explain=folder / "why", quiet=True)
    return folder / "why"


def text(folder: Path) -> str:
    return (folder / "index.html").read_text("utf-8")


def test_each_image_has_a_picture_and_what_is_none_says_so(explained: Path):
    pictures = sorted(path.name for path in explained.glob("0*.jpg"))
    assert pictures == ["0001.jpg", "0002.jpg", "0004.jpg"]
    assert "Not used: not_an_image" in text(explained)


def test_the_page_names_answers_runner_ups_and_neighbours(explained: Path):
    found = text(explained)
    assert re.search(r"sky, \d+\.\d % \(\w+\); runner-up \w+, \d+\.\d %", found)
    assert len(re.findall(r"<li>\w+: \w+/\d+\.jpg, similarity 0\.\d\d</li>", found)) == 9
    assert "add up to" in found


def test_an_image_of_the_training_is_not_among_its_own_neighbours(explained: Path):
    first = text(explained).split("<h2>")[2]
    assert "000.jpg" in first.partition("</h2>")[0]
    assert "sky/000.jpg" not in first.partition("</h2>")[2]


def test_the_page_shows_both_checks(explained: Path):
    found = text(explained)
    assert "With random weights in place of the head" in found
    assert "The most telling part of each image" in found
    with Image.open(explained / "checks.jpg") as img:
        assert img.width == 812


def test_the_page_loads_its_own_pictures_and_nothing_else(explained: Path):
    found = text(explained)
    assert "default-src 'none'" in found and "http:" not in found and "https:" not in found
    sources = re.findall(r'src="([^"]*)"', found)
    assert len(sources) == 4 and all((explained / name).is_file() for name in sources)


def test_names_of_files_are_text_and_no_markup(run: Run, photos: Path, tmp_path: Path):
    odd = tmp_path / "<b>x.jpg"
    shutil.copy(photos / "sky" / "000.jpg", odd)
    tellapart.predict(run.path, odd, explain=tmp_path / "why", quiet=True)
    assert "&lt;b&gt;x" in text(tmp_path / "why") and "<b>x" not in text(tmp_path / "why")


def test_the_answers_are_those_without_explanations(run: Run, photos: Path, tmp_path: Path):
    plain = tellapart.predict(run.path, photos / "sky", quiet=True)
    shown = tellapart.predict(
        run.path, photos / "sky", explain=tmp_path / "why", sets=0.9, quiet=True
    )
    assert [found.probabilities for found in shown.answers] == [
        found.probabilities for found in plain.answers
    ]
    assert all(found.prediction_set for found in shown.answers)


def test_of_many_images_the_first_are_explained_and_that_is_said(
    run: Run, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(predict_job, "EXPLAINED", 2)
    found = tellapart.predict(run.path, photos, explain=tmp_path / "why", quiet=True)
    assert found.statuses == {"ok": 36}
    assert sorted(path.name for path in (tmp_path / "why").glob("0*")) == ["0001.jpg", "0002.jpg"]
    assert "Only the first 2 images are explained" in text(tmp_path / "why")


def test_a_file_alone_or_a_run_without_an_index_says_how_to_get_neighbours(
    run: Run, photos: Path, tmp_path: Path
):
    bare = shutil.copytree(run.path, tmp_path / "bare", ignore=shutil.ignore_patterns(FILE))
    photo = photos / "sky" / "000.jpg"
    tellapart.predict(bare, photo, explain=tmp_path / "a", quiet=True)
    tellapart.predict(run.model, photo, explain=tmp_path / "b", quiet=True)
    assert "has no index of its training images" in text(tmp_path / "a")
    assert "Train it again" in text(tmp_path / "a")
    assert "where the model is given as its run folder" in text(tmp_path / "b")


def test_training_images_that_are_gone_are_named_and_not_shown(
    run: Run, photos: Path, tmp_path: Path
):
    moved = shutil.copytree(run.path, tmp_path / "far" / "away" / "run")
    tellapart.predict(moved, photos / "sky" / "000.jpg", explain=tmp_path / "why", quiet=True)
    assert "named only, since their data is not where it was" in text(tmp_path / "why")
    assert "<li>sky: sky/" in text(tmp_path / "why")


def test_a_folder_of_other_files_is_refused_and_left_alone(run: Run, photos: Path, tmp_path: Path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="holds other files"):
        tellapart.predict(run.path, photos, explain=tmp_path, quiet=True)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_explanations_of_earlier_are_replaced(run: Run, explained: Path, photos: Path):
    again = shutil.copytree(explained, explained.parent / "again")
    tellapart.predict(run.path, np.zeros((64, 64, 3), np.uint8), explain=again, quiet=True)
    assert "1. image" in text(again) and "2. " not in text(again)


def test_explanations_go_with_no_resume(run: Run, photos: Path, tmp_path: Path):
    with pytest.raises(UserError, match="cannot go with --resume or --engine"):
        tellapart.predict(
            run.path,
            photos,
            explain=tmp_path / "why",
            out=tmp_path / "a.csv",
            resume=True,
            keep=False,
            quiet=True,
        )


def test_the_command_says_where_the_page_is(run: Run, photos: Path, tmp_path: Path):
    why, photo = tmp_path / "why", photos / "sky" / "000.jpg"
    found = run_command("predict", run.path, photo, "--explain", why)
    assert (found.code, found.out.splitlines()[-1]) == (0, f"explained {why / 'index.html'}")
    found = run_command("predict", run.path, photo, "--explain", why, "--json")
    assert found.json["explained"] == str(why / "index.html")
