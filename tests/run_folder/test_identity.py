"""What a run is: its number, its data and its format."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from tellapart.errors import Refused
from tellapart.runs.identity import FORMAT, VERSION, RunIdentity, new_identity


def identity_of(run: Path, data: Path) -> RunIdentity:
    made = new_identity(run, name="x", data=data, options={"strict": True})
    assert RunIdentity.from_json(json.loads(json.dumps(made.as_json()))) == made
    return made


@pytest.mark.parametrize("name", ["photos", os.fsdecode(b"caf\xe9 \\ x")])
def test_a_run_finds_its_data_again_also_where_both_were_moved(tmp_path: Path, name: str):
    made = identity_of(tmp_path / "runs" / "x", tmp_path / name)
    assert made.data.startswith("../../")
    assert made.data_of(tmp_path / "runs" / "x") == tmp_path / name
    assert made.data_of(tmp_path / "moved" / "runs" / "y") == tmp_path / "moved" / name


def test_a_run_behind_a_link_finds_its_data_too(tmp_path: Path):
    (tmp_path / "disk" / "far" / "runs").mkdir(parents=True)
    (tmp_path / "runs").symlink_to(tmp_path / "disk" / "far" / "runs")
    made = identity_of(tmp_path / "runs" / "x", tmp_path / "photos")
    assert made.data_of(tmp_path / "runs" / "x") == tmp_path / "photos"


def test_each_run_has_a_number_of_its_own(tmp_path: Path):
    first, second = (identity_of(tmp_path / "x", tmp_path) for _ in range(2))
    assert re.fullmatch("[0-9a-f]{32}", first.id)
    assert first.id != second.id


def test_a_run_of_another_format_is_refused_with_both_versions(tmp_path: Path):
    values = identity_of(tmp_path / "x", tmp_path).as_json() | {
        "format": FORMAT + 1,
        "tellapart": "9.1",
    }
    says = (
        rf"made by tellapart 9\.1 in format {FORMAT + 1}; this is tellapart {re.escape(VERSION)},"
        rf" of format {FORMAT}"
    )
    with pytest.raises(Refused, match=says):
        RunIdentity.from_json(values)


@pytest.mark.parametrize("name", ["id", "ema"])
def test_an_identity_with_unknown_or_missing_fields_is_refused(tmp_path: Path, name: str):
    values = identity_of(tmp_path / "x", tmp_path).as_json()
    unlike = {key: values.get(key) for key in values.keys() ^ {name}}
    with pytest.raises(Refused, match=f"has unknown or missing fields: {name}"):
        RunIdentity.from_json(unlike)
