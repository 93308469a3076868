"""`explore`: what it finds, what it writes, when it refuses; and `--check`, one image's way through
the pipeline.
"""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import numpy as np
import polars
import pytest
from PIL import Image

import tellapart
from helpers.images import write_classes, write_image
from helpers.probes import SMALL
from tellapart import UserError
from tellapart.cli.main import main
from tellapart.errors import Refused
from tellapart.jobs.check import check
from tellapart.jobs.explore import COLUMNS, explore


def explored(data: Path, **options: object):
    return explore(data, out=data.parent / "page.html", quiet=True, **options)


def kinds(data: Path, **options: object) -> dict[str, str]:
    return {finding.kind: finding.text for finding in explored(data, **options).findings}


def copy_of(path: Path, to: Path) -> Path:
    """A re-encoded, smaller and brighter copy."""
    with Image.open(path) as img:
        smaller = img.resize((img.width * 3 // 4, img.height * 3 // 4))
    to.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((np.asarray(smaller) * 1.05).clip(0, 255).astype(np.uint8)).save(to, quality=80)
    return to


@pytest.fixture
def textured(tmp_path: Path) -> Path:
    """Two classes of 20 images each that look like nothing else."""
    rng = np.random.default_rng(0)
    for name in ("left", "right"):
        folder = tmp_path / "textured" / name
        folder.mkdir(parents=True)
        for number in range(20):
            coarse = Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8))
            coarse.resize((160, 120), Image.Resampling.BICUBIC).save(folder / f"{number:02}.png")
    return tmp_path / "textured"


# ── findings ──


def test_images_without_contrast_are_found_and_8_bits_have_no_range_to_set(textured: Path):
    Image.new("RGB", (160, 120), (90, 90, 90)).save(textured / "left" / "empty.png")
    text = kinds(textured)["low_contrast"]
    assert text.startswith("1 image has almost no contrast once read, for example 'left/empty.png'")
    assert "value_range" not in text


def test_clean_data_has_no_findings(textured: Path):
    assert kinds(textured) == {}


def test_a_near_duplicate_of_the_same_class_is_found_and_stays_on_one_side(textured: Path):
    copy_of(textured / "left" / "03.png", textured / "left" / "copy.jpg")
    exploration = explored(textured)
    (finding,) = exploration.findings
    assert finding.kind == "near_duplicate"
    assert finding.sets == (("left/03.png", "left/copy.jpg"),)
    splits = dict(zip(exploration.catalog.paths, exploration.splits, strict=True))
    assert splits["left/03.png"] == splits["left/copy.jpg"]


def test_a_near_duplicate_under_another_class_is_a_label_conflict(textured: Path):
    copy_of(textured / "left" / "03.png", textured / "right" / "copy.jpg")
    found = kinds(textured)
    assert "Of these, 1 differs in the bytes" in found["label_conflict"]


def test_a_near_duplicate_across_the_users_own_split_is_a_leak(textured: Path, tmp_path: Path):
    data = tmp_path / "data"
    data.mkdir()
    textured.rename(data / "train")
    copy_of(data / "train" / "left" / "03.png", data / "test" / "left" / "copy.jpg")
    for number in range(3):
        write_image(data / "test" / "right" / f"{number}.jpg", seed=number)
    assert "1 image or group is in more than one split (train and test)" in kinds(data)["leak"]


def test_one_image_that_is_there_too_often_is_warned_of(textured: Path):
    for number in range(6):
        copy_of(textured / "left" / "03.png", textured / "left" / f"copy{number}.jpg")
    found = explored(textured).findings
    assert [finding.kind for finding in found][:1] == ["large_cluster"]
    assert len(found[0].sets[0]) == 7


def test_with_copies_exact_only_identical_files_are_copies(textured: Path):
    copy_of(textured / "left" / "03.png", textured / "left" / "saved again.jpg")
    shutil.copy(textured / "left" / "04.png", textured / "left" / "identical.png")
    copies, remark = explored(textured, copies="exact").findings
    assert (copies.kind, copies.sets) == ("duplicate", (("left/04.png", "left/identical.png"),))
    assert "were not looked for, and may lie in different splits" in remark.text


def test_with_copies_off_no_image_is_a_copy_and_a_finding_says_so(textured: Path):
    shutil.copy(textured / "left" / "04.png", textured / "right" / "identical.png")
    (remark,) = explored(textured, copies="off").findings
    assert remark.text.startswith("Copies were not looked for (--copies off).")


def test_another_kind_of_copies_is_refused(textured: Path):
    with pytest.raises(UserError, match=r"split\.copies: 'some'. Choose one of: exact, near, off"):
        explored(textured, copies="some")


def test_rejected_files_are_found_each_status_by_itself(textured: Path):
    (textured / "left" / "a.jpg").write_bytes(b"")
    (textured / "left" / "b.jpg").write_bytes(b"%PDF-1.7")
    found = [finding for finding in explored(textured).findings if finding.kind == "rejected"]
    assert [finding.paths for finding in found] == [("left/a.jpg",), ("left/b.jpg",)]


def test_what_a_training_would_refuse_is_said_and_explored_all_the_same(tmp_path: Path):
    for number in range(4):
        write_image(tmp_path / "data" / "only" / f"{number}.jpg", seed=number)
    exploration = explored(tmp_path / "data")
    assert "A training would stop here: At least two classes" in exploration.findings[-1].text
    assert set(exploration.splits) == {""}


def test_groups_decide_the_splits_that_are_shown(textured: Path):
    exploration = explored(textured, group_by="name:^(.)")  # "0" and "1", over both classes
    sides = {
        (path.split("/")[1][0], split)
        for path, split in zip(exploration.catalog.paths, exploration.splits, strict=True)
    }
    assert len(sides) == 2


# ── what is written ──


def test_the_page_is_one_file_that_names_the_data(textured: Path):
    page = explored(textured).page.read_text()
    assert "textured" in page
    assert "http" not in page.replace("http-equiv", "")


def test_a_page_of_ours_is_replaced_and_nobody_elses(textured: Path, tmp_path: Path):
    explored(textured)
    explored(textured)
    (tmp_path / "mine.html").write_text("<p>my page</p>")
    with pytest.raises(UserError, match="is no page of ours"):
        explore(textured, out=tmp_path / "mine.html", quiet=True)
    assert (tmp_path / "mine.html").read_text() == "<p>my page</p>"


def test_the_page_is_named_for_the_data_in_the_current_folder(
    textured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    assert tellapart.explore(textured, quiet=True).page is None
    assert not list(tmp_path.glob("*.html"))


@pytest.mark.parametrize("name", ["files.csv", "files.jsonl", "files.parquet"])
def test_the_table_has_a_row_a_file(textured: Path, tmp_path: Path, name: str):
    (textured / "left" / "a.jpg").write_bytes(b"")
    explored(textured, table=tmp_path / name)
    if name.endswith(".csv"):
        rows = list(csv.DictReader(io.StringIO((tmp_path / name).read_text(), newline="")))
    elif name.endswith(".jsonl"):
        rows = [json.loads(line) for line in (tmp_path / name).read_text().splitlines()]
    else:
        rows = polars.read_parquet(tmp_path / name).to_dicts()
    assert len(rows) == 41
    assert list(rows[0]) == list(COLUMNS)
    broken = next(row for row in rows if row["path"] == "left/a.jpg")
    assert broken["status"] == "empty"
    assert broken["brightness"] in (None, "")
    assert 0 < float(rows[0]["brightness"]) < 255


def test_the_data_is_not_touched(textured: Path):
    before = {path: (path.stat().st_mtime_ns, path.stat().st_mode) for path in textured.rglob("*")}
    explored(textured)
    assert {
        path: (path.stat().st_mtime_ns, path.stat().st_mode) for path in textured.rglob("*")
    } == before


# ── strict ──


@pytest.mark.parametrize("harm", ["near copy", "exact copy", "broken file"])
def test_strict_refuses_what_was_found_and_the_page_is_there(textured: Path, harm: str):
    original = textured / "left" / "03.png"
    if harm == "near copy":
        copy_of(original, textured / "left" / "copy.jpg")
    elif harm == "exact copy":
        (textured / "left" / "copy.png").write_bytes(original.read_bytes())
    else:
        (textured / "left" / "a.jpg").write_bytes(b"")
    with pytest.raises(Refused):
        explored(textured, strict=True)
    assert (textured.parent / "page.html").exists()


def test_strict_has_nothing_against_clean_data(textured: Path):
    explored(textured, strict=True)


# ── the command ──


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str]):
    def run(*words: object) -> tuple[int, str]:
        with pytest.raises(SystemExit) as end:
            main(list(map(str, words)))
        return int(end.value.code or 0), capsys.readouterr().out

    return run


def test_the_command_tells_what_was_found(tell, textured: Path, tmp_path: Path):
    copy_of(textured / "left" / "03.png", textured / "left" / "copy.jpg")
    code, out = tell("explore", textured, "--out", tmp_path / "x.html", "-q")
    assert code == 0
    assert "41 images in 2 classes; every file can be used." in out
    assert "Near-duplicates: 1 image is there more than once" in out
    assert str(tmp_path / "x.html") in out


def test_json_is_one_object(tell, textured: Path, tmp_path: Path):
    (textured / "left" / "a.jpg").write_bytes(b"")
    code, out = tell("explore", textured, "--out", tmp_path / "x.html", "--json")
    assert code == 3
    found = json.loads(out)
    assert found["statuses"] == {"empty": 1, "ok": 40}
    assert found["classes"] == {"left": 20, "right": 20}
    assert found["findings"][0]["sets"] == [["left/a.jpg"]]


def test_strict_names_every_finding_and_the_page(
    textured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (textured / "left" / "broken.png").write_bytes(b"no image")
    (textured / "left" / "copy.png").write_bytes((textured / "left" / "00.png").read_bytes())
    page = tmp_path / "x.html"
    with pytest.raises(Refused):
        explore(textured, out=page, strict=True)
    err = capsys.readouterr().err
    assert "exact copy" in err and "broken.png" in err
    assert f"page: {page}" in err


def test_strict_is_exit_code_five(tell, textured: Path, tmp_path: Path):
    (textured / "left" / "a.jpg").write_bytes(b"")
    assert tell("explore", textured, "--out", tmp_path / "x.html", "--strict", "-q")[0] == 5


@pytest.mark.parametrize(
    "words", [["--image", "left/00.png"], ["--check", "--strict"], ["--check", "--table", "x.csv"]]
)
def test_options_that_do_not_go_together_are_wrong_use(
    tell, textured: Path, tmp_path: Path, words: list[str]
):
    assert tell("explore", textured, "--out", tmp_path / "x.html", *words, "-q")[0] == 2
    assert not (tmp_path / "x.html").exists()


# ── one image's way ──


def test_a_image_is_walked_from_its_file_to_the_embedding(textured: Path, tmp_path: Path):
    found = check(textured, set=SMALL, out=tmp_path / "x.html", quiet=True)
    assert [step.name for step in found.steps] == [
        "File",
        "Decoded",
        "Resized",
        "Normalised",
        "Embedding",
    ]
    assert found.image == "left/00.png"
    assert found.steps[1].facts["shape"] == "(120, 160, 3) uint8"
    assert found.steps[2].facts["shape"] == "(64, 64, 3) uint8"
    assert found.steps[3].facts["shape"] == "(3, 64, 64) float32"
    assert found.steps[4].facts["shape"] == "(1,280,) float32"
    assert "left/00.png" in (tmp_path / "x.html").read_text()


def test_with_a_model_it_ends_with_the_answer(tmp_path: Path, tell):
    data = write_classes(tmp_path / "photos", 12)
    run = tellapart.train(data, set=SMALL, out=tmp_path / "runs", quiet=True)
    words = ["--check", "--image", "sky/003.jpg", "--model", run.path, "--out", tmp_path / "x.html"]
    code, out = tell("explore", data, *words, "--json")
    assert code == 0
    steps = {step["name"]: step for step in json.loads(out)["steps"]}
    expected = run.predictor().predict(data / "sky" / "003.jpg")
    assert steps["Answer"][expected.answer] == f"{expected.confidence:.4f}"


def test_the_first_image_that_can_be_used_is_taken(textured: Path, tmp_path: Path):
    (textured / "left" / "00.png").write_bytes(b"")
    assert check(textured, set=SMALL, out=tmp_path / "x.html", quiet=True).image == "left/01.png"


def test_a_image_that_is_named_and_broken_is_told_why(textured: Path, tmp_path: Path):
    (textured / "left" / "00.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"left/00\.png is empty"):
        check(textured, image="left/00.png", set=SMALL, out=tmp_path / "x.html", quiet=True)


def test_a_image_that_is_not_there_is_answered_with_the_nearest(textured: Path, tmp_path: Path):
    with pytest.raises(UserError, match=r"left/0"):
        check(textured, image="left/00.pgn", set=SMALL, out=tmp_path / "x.html", quiet=True)
