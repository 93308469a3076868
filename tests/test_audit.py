"""`audit`: what it finds in a small set, what it writes, and what it leaves as it is."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tellapart
from helpers.images import KINDS, write_classes, write_image
from helpers.probes import SMALL
from tellapart import Audit, UserError
from tellapart.cli.main import main
from tellapart.evaluation.label_errors import Power
from tellapart.evaluation.oddities import oddity
from tellapart.evaluation.overlap import find_overlaps
from tellapart.evaluation.teaching import teaching_order
from tellapart.report.audit.page import AuditInput, audit_lines

WRONG = "leaf/wrong.jpg"  # shows a brick


def write_set(folder: Path) -> Path:
    """Three classes with one wrong label, one copy in two classes, one black and one long image."""
    write_classes(folder, 20)
    write_image(folder / WRONG, 900, colour=KINDS["brick"][0], pattern="checks")
    (folder / "sky" / "copy.jpg").write_bytes((folder / "brick" / "003.jpg").read_bytes())
    Image.new("RGB", (64, 48), (3, 3, 3)).save(folder / "sky" / "black.png")
    write_image(folder / "sky" / "long.jpg", 901, colour=KINDS["sky"][0], size=(200, 40))
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("audit") / "photos")


@pytest.fixture(scope="module")
def found(photos: Path) -> Audit:
    folder = photos.parent / "new"
    write_image(folder / "1.jpg", 700, colour=(150, 150, 150), pattern="rings")
    write_image(folder / "2.jpg", 701, colour=KINDS["sky"][0], pattern="rings")
    (folder / "known.jpg").write_bytes((photos / "sky" / "001.jpg").read_bytes())
    runs = photos.parent / "runs"
    return tellapart.audit(photos, runs=runs, unlabelled=folder, set=SMALL, quiet=True)


def of_kind(found: Audit, kind: str) -> list[tellapart.AuditFinding]:
    return [finding for finding in found.findings if finding.kind == kind]


def test_a_wrong_label_is_the_first_of_the_labels_that_are_no_copies(found: Audit):
    first = [finding.images[0] for finding in of_kind(found, "label")]
    named = [image for image in first if image.path == WRONG]
    assert len(named) == 1
    assert (named[0].label, named[0].proposal) == ("leaf", "brick")
    assert WRONG in [image.path for image in first[:3]]


def test_a_copy_under_two_labels_is_certain(found: Audit):
    (copies,) = of_kind(found, "copies")
    assert {image.path for image in copies.images} == {"brick/003.jpg", "sky/copy.jpg"}
    assert copies.number == 1 and copies.score == 1


def test_poor_images_are_named_with_what_is_poor(found: Audit):
    titles = {finding.images[0].path: finding.title for finding in of_kind(found, "quality")}
    assert titles["sky/black.png"].endswith("is flat")
    assert titles["sky/long.jpg"].endswith("is long and narrow")


def test_the_findings_are_numbered_from_the_worst_on(found: Audit):
    assert [finding.number for finding in found.findings] == list(range(1, len(found.findings) + 1))
    scores = [finding.score for finding in found.findings]
    assert scores == sorted(scores, reverse=True)


def test_an_image_that_has_a_label_already_is_not_proposed_for_labelling(found: Audit):
    names = [finding.images[0].path for finding in of_kind(found, "unlabelled")]
    assert sorted(name.rpartition("/")[2] for name in names) == ["1.jpg", "2.jpg"]
    assert found.findings[-1].images[0].label is None


def test_the_files_hold_the_findings_and_the_summary(found: Audit):
    lines = (found.folder / "findings.jsonl").read_text("utf-8").splitlines()
    first = json.loads(lines[0])
    assert len(lines) == len(found.findings)
    assert list(first) == ["number", "kind", "title", "text", "score", "images"]
    assert list(first["images"][0]) == [
        "path",
        "digest",
        "label",
        "split",
        "proposal",
        "confidence",
    ]
    summary = json.loads((found.folder / "audit.json").read_text("utf-8"))
    assert summary["power"][0]["planted"] > 0 and summary["findings"]["copies"] == 1


def lines_of(expected: float, low: float, high: float, stop: int, held: float) -> str:
    """The sentence about the number of errors, of an audit of 500 images."""
    power = (Power("random", 500, 0.84),)
    audited = AuditInput({"train": 500}, (), power, expected, (low, high), stop, held, (), 1.0)
    return audit_lines(audited)[2]


def test_the_number_of_errors_is_told_with_its_interval_and_where_to_stop():
    assert lines_of(15.2, 6.8, 23.1, 40, 13.7) == (
        "About 15 labels are wrong, between 7 and 23. Read the list up to place 40, which holds"
        " about 14 of them. Behind it fewer than one in 20 is expected to be wrong."
    )
    assert lines_of(1.2, 0, 3, 0, 0) == (
        "About 1 label is wrong, between 0 and 3, too thinly spread to look for."
    )
    assert lines_of(0, 0, 4, 0, 0).startswith("Most likely no label is wrong, and at most 4. ")


def test_the_summary_holds_the_interval_of_the_number_of_errors(found: Audit):
    summary = json.loads((found.folder / "audit.json").read_text("utf-8"))
    low, high = summary["expected_between"]
    assert low <= summary["expected_errors"] <= high
    assert summary["expected_in_read"] <= summary["read_first"] + 0.1


def test_data_is_trained_on_and_its_run_holds_the_audit(found: Audit):
    assert found.run and found.folder == found.run / "audit"
    assert tellapart.Run.open(found.run).classes == ("brick", "leaf", "sky")


def test_the_page_shows_the_findings_and_loads_nothing(found: Audit):
    page = (found.folder / "audit.html").read_text("utf-8")
    assert "Likely label errors" in page and "data:image/jpeg" in page
    assert "http://" not in page.replace("http://www.w3.org", "") and 'src="http' not in page


def test_the_command_audits_a_run_and_changes_nothing(found: Audit, photos: Path, capsys):
    before, out = tree_digest(photos), photos.parent / "again"
    with pytest.raises(SystemExit, match="0"):
        main(["audit", str(found.run), "--data", str(photos), "--out", str(out), "--quiet"])
    printed = capsys.readouterr().out
    assert printed.startswith("1\tcopies\tThe same file is in")
    assert "The first 5 % of the list hold" in printed and f"findings  {out}" in printed
    assert (out / "findings.jsonl").read_text("utf-8").count("label") >= 3
    assert tree_digest(photos) == before


def tree_digest(folder: Path) -> str:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def test_a_run_whose_data_is_gone_says_how_to_name_it(found: Audit, tmp_path: Path):
    alone = shutil.copytree(found.run, tmp_path / "a" / "run")
    with pytest.raises(UserError, match="which is gone") as error:
        tellapart.audit(alone, quiet=True)
    assert "--data DATA" in error.value.hint


def test_a_run_keeps_its_settings(found: Audit, photos: Path):
    with pytest.raises(UserError, match="A run keeps its settings, and seed would change them"):
        tellapart.audit(found.run, data=photos, seed=3, quiet=True)


def test_data_does_not_go_with_data(photos: Path):
    with pytest.raises(UserError, match="is no finished run"):
        tellapart.audit(photos, data=photos, quiet=True)


def test_one_class_has_no_wrong_label(tmp_path: Path):
    write_classes(tmp_path / "photos", 4)
    with pytest.raises(UserError, match="class"):
        tellapart.audit(tmp_path / "photos" / "sky", out=tmp_path / "out", set=SMALL, quiet=True)


def test_a_missing_folder_of_unlabelled_images_is_one_line(photos: Path, tmp_path: Path):
    with pytest.raises(UserError, match="nowhere does not exist"):
        tellapart.audit(photos, out=tmp_path / "out", unlabelled="nowhere", set=SMALL, quiet=True)


def test_values_far_above_the_median_are_odd():
    values = np.append(np.random.default_rng(0).normal(0, 1, 500), 8.0)
    assert np.flatnonzero(oddity(values) > 4).tolist() == [500]


def test_two_classes_that_are_one_overlap_and_others_do_not():
    rng = np.random.default_rng(0)
    labels = np.arange(150) % 3
    logits = rng.normal(0, 1, (150, 3)).astype(np.float32)
    logits[labels == 2, 2] += 20
    logits[labels < 2, 2] -= 20
    overlaps = find_overlaps(logits, labels, np.arange(150))
    assert [overlap.classes for overlap in overlaps] == [(0, 1)]


def test_of_two_alike_images_only_the_first_teaches():
    probs = np.array([[0.5, 0.5], [0.5, 0.5], [0.7, 0.3]])
    embeddings = np.array([[1.0, 0], [1.0, 0], [0, 1.0]])
    places, _ = teaching_order(probs, embeddings, 3)
    assert places.tolist() == [0, 2]
