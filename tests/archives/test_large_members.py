"""A large file in an archive is judged by its first bytes only where these rule an image out."""

import zipfile

import numpy as np
import pytest

from helpers import odd_images as odd
from tellapart.catalog.scan import scan
from tellapart.sources.containers import archives
from tellapart.sources.source import read_source


@pytest.mark.skipif("scan.dcm" not in odd.extra_files(), reason="pydicom is not installed")
def test_a_large_dicom_in_an_archive_is_read_to_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "PIECE_BYTES", 5000)
    grey = np.resize(odd.scene()[:, :, 0], (200, 200))
    text = {"ImageComments": "x" * 6000, "PatientComments": "y" * 6000}
    with zipfile.ZipFile(tmp_path / "scans.zip", "w") as archive:
        archive.writestr("a/0.dcm", odd.dicom(grey, **text))
        archive.writestr("b/0.dcm", odd.dicom(255 - grey, **text))
    catalog = scan(read_source(tmp_path / "scans.zip"))
    assert catalog.statuses.tolist() == ["ok", "ok"]
