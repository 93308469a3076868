"""`report`: the pages of a run, made anew from what its folder keeps."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import tellapart
from helpers.images import write_classes
from helpers.pages import Page
from helpers.probes import train_probe
from tellapart import Refused, Run, UserError
from tellapart.catalog.files import Folder
from tellapart.pipeline.report_evidence import evidence_of
from tellapart.pipeline.run_report import read_report
from tellapart.report.run.evidence import MOST_EXPLAINED
from tellapart.runs.folder import RunFolder

PAGES = ("report.html", "report.json", "model-card.md")
FINDING = {
    "number": 1,
    "kind": "label",
    "title": "leaf/003.jpg may be a brick",
    "text": "Look at it.",
    "score": 0.9,
    "images": [{"path": "leaf/003.jpg", "label": "leaf", "proposal": "brick", "confidence": 0.8}],
}
STEP = {"value": 0.9, "low": 0.8, "high": 0.95, "count": 20, "clusters": 20}
STRESS = {
    "changes": [
        {
            "name": "darker",
            "breaks_at": "0.25",
            "points": [
                {"strength": "none", "accuracy": STEP, "coverage": STEP},
                {"strength": "0.25", "accuracy": {**STEP, "value": 0.5}, "coverage": STEP},
            ],
        }
    ]
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train_probe(write_classes(tmp_path_factory.mktemp("anew") / "photos", 12))


@pytest.fixture
def run(trained: Run, tmp_path: Path) -> Path:
    """A copy of the run, with its images beside it."""
    shutil.copytree(trained.path.parent.parent, tmp_path / "moved")
    return tmp_path / "moved" / "runs" / trained.path.name


def page_of(run: Path) -> Page:
    return Page((run / "report.html").read_text())


def facts_of(run: Path) -> dict:
    return json.loads((run / "report.json").read_text())


def test_the_pages_are_those_that_the_training_wrote(run: Path):
    before = {name: (run / name).read_bytes() for name in PAGES}
    written = tellapart.write_report(run, quiet=True)
    assert {name: (run / name).read_bytes() for name in PAGES} == before
    assert (written.page, written.no_pictures) == (run / "report.html", "")


def test_where_the_images_are_gone_the_page_says_so_and_does_without(run: Path):
    shutil.rmtree(run.parent.parent / "photos")
    written = tellapart.write_report(run, quiet=True)
    assert "no longer where the run has them" in written.no_pictures
    assert written.no_pictures in page_of(run).text
    assert pictures_of(run) == set()
    assert facts_of(run)["no_pictures"] == written.no_pictures


def test_the_place_of_the_images_can_be_named(run: Path, trained: Run):
    before = (run / "report.html").read_bytes()
    shutil.rmtree(run.parent.parent / "photos")
    tellapart.write_report(run, data=trained.path.parent.parent / "photos", quiet=True)
    assert (run / "report.html").read_bytes() == before


def pictures_of(run: Path) -> set[str]:
    """The paths of the images that the page shows, which are their alternative texts."""
    return {alt for alt in alts_of(run) if not alt.startswith("The heat map")}


def alts_of(run: Path) -> list[str]:
    return [str(attrs["alt"]) for tag, attrs in page_of(run).tags if tag == "img"]


def test_an_image_that_changed_has_no_picture(run: Path):
    path = sorted(pictures_of(run))[0]
    photo = run.parent.parent / "photos" / path
    photo.write_bytes(photo.read_bytes() + b" ")
    before = pictures_of(run)
    tellapart.write_report(run, quiet=True)
    assert before - pictures_of(run) == {path}


def test_images_worth_a_look_have_their_heat_maps_and_neighbours(run: Path):
    heat = [alt for alt in alts_of(run) if alt.startswith("The heat map of the answer ")]
    assert 1 <= len(heat) <= MOST_EXPLAINED
    assert page_of(run).values("aria-label").count("The nearest training images") == len(heat)
    assert "likeness" in page_of(run).text


def test_without_an_index_the_page_has_no_neighbours(run: Path):
    (run / "neighbours.npz").unlink()
    tellapart.write_report(run, quiet=True)
    assert "likeness" not in page_of(run).text
    assert any(alt.startswith("The heat map") for alt in alts_of(run))


def test_without_the_model_the_page_has_no_evidence(run: Path):
    (run / "model.onnx").unlink()
    tellapart.write_report(run, quiet=True)
    assert pictures_of(run) == set(alts_of(run))
    assert "likeness" not in page_of(run).text


def test_what_the_model_learned_from_gets_neighbours_and_no_heat_map(run: Path):
    folder = RunFolder(run)
    report = read_report(folder, Folder(run.parent.parent / "photos"))
    found = evidence_of(run, report.catalog, report.shown, learned_from=True)
    assert {entry.heat for entry in found.values()} == {b""}
    assert {len(entry.nearest) for entry in found.values()} == {3}


def test_a_run_of_an_earlier_tellapart_is_reported_as_far_as_it_kept(run: Path):
    accuracy = facts_of(run)["scores"]["accuracy"]
    (run / "facts.json").unlink()
    (run / "data.json").unlink()
    written = tellapart.write_report(run, quiet=True)
    assert "does not say where its images are" in written.no_pictures
    assert "An earlier tellapart made this run." in page_of(run).text
    assert facts_of(run)["scores"]["accuracy"] == accuracy


def test_what_is_no_run_is_refused(tmp_path: Path):
    with pytest.raises(UserError, match="is no run folder"):
        tellapart.write_report(tmp_path, quiet=True)


def test_a_run_that_is_not_finished_has_no_report_yet(run: Path):
    (run / "log.txt").unlink()
    with pytest.raises(UserError, match="is not finished"):
        tellapart.write_report(run, quiet=True)


@pytest.mark.parametrize(
    "name", ["metrics.json", "facts.json", "catalog.parquet", "predictions-test.parquet"]
)
def test_a_damaged_file_is_named(run: Path, name: str):
    (run / name).write_text("{}")
    with pytest.raises(Refused, match=name):
        tellapart.write_report(run, quiet=True)


def test_an_audit_is_shown_with_its_images(run: Path):
    (run / "audit").mkdir()
    (run / "audit" / "audit.json").write_text('{"text": ["Stop reading at number 12."]}')
    (run / "audit" / "findings.jsonl").write_text(json.dumps(FINDING) + "\n")
    tellapart.write_report(run, quiet=True)
    assert FINDING["title"] in page_of(run).text
    assert "Stop reading at number 12." in page_of(run).text
    assert facts_of(run)["audit"]["counts"] == {"label": 1}
    assert "1 likely label error" in facts_of(run)["questions"][2]["answer"]


def test_a_stress_test_answers_whether_it_works_at_night(run: Path):
    (run / "stress.json").write_text(json.dumps(STRESS))
    tellapart.write_report(run, quiet=True)
    assert "The promise breaks at 0.25." in page_of(run).text
    assert "50.0\u202f% at 0.25" in facts_of(run)["questions"][3]["answer"]


def test_slices_are_measured_by_the_columns_that_the_run_keeps(run: Path):
    tellapart.write_report(run, quiet=True)
    assert "brightness" in facts_of(run)["slices"]["skipped"]
    assert "No slice has enough images to be tested." in page_of(run).text
