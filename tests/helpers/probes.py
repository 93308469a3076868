"""Probes of small images: a second a training."""

from __future__ import annotations

from pathlib import Path

import polars

import tellapart
from tellapart import Run

SMALL = {"preprocessing.size_px": 64, "head.folds": 2, "head.c_values": (0.01, 0.1)}


def train_probe(data: Path, out: Path | None = None, **options: object) -> Run:
    return tellapart.train(data, out=out or data.parent / "runs", set=SMALL, quiet=True, **options)


def splits_of(run: Run) -> polars.DataFrame:
    return polars.read_parquet(run.path / "splits.parquet")
