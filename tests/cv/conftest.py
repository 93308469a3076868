"""Fixtures of the tests of cross-validation: images, their catalog, and a division of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from helpers.catalogs import scan_folder
from helpers.images import write_classes
from tellapart.catalog.splits import make_splits
from tellapart.catalog.table import Catalog
from tellapart.experiments.fold_plan import FoldPlan, plan_folds, pool_of
from tellapart.options import SplitOptions


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_classes(tmp_path_factory.mktemp("cv") / "photos", 12)


@pytest.fixture(scope="session")
def catalog(data: Path) -> Catalog:
    return scan_folder(data)


@pytest.fixture(scope="session")
def pool(catalog: Catalog) -> Any:
    return pool_of(make_splits(catalog, SplitOptions(), 0))


@pytest.fixture(scope="session")
def plan(catalog: Catalog, pool: Any) -> FoldPlan:
    return plan_folds(catalog, pool, 3, 2, 0)
