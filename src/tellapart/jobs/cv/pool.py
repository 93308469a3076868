"""What all folds begin with: the data scanned once, test set aside, the rest divided into folds."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tellapart.catalog.findings import Finding
from tellapart.catalog.table import Catalog
from tellapart.experiments.fold_plan import FoldPlan, plan_folds, plan_remarks, pool_of
from tellapart.pipeline.data import Data, divide, scan_images, tell_findings
from tellapart.pipeline.findings import find_all
from tellapart.pipeline.request import Request
from tellapart.probe.embeddings import FeatureExtractor
from tellapart.progress import Console


@dataclass(frozen=True)
class FoldOptions:
    """What a cross-validation is asked for beside what a training is.

    Args:
        folds: into how many parts the images are divided.
        repeats: how often they are divided anew.
        ensemble: whether the folds' models are shipped as one file.
    """

    folds: int = 5
    repeats: int = 1
    ensemble: bool = False


def load_pool(
    request: Request,
    catalog: Catalog,
    options: FoldOptions,
    features: FeatureExtractor | None,
    console: Console,
) -> tuple[Data, FoldPlan]:
    """Scan the data once, set test aside, and divide the rest.

    Args:
        catalog: as `read_data` gives it.
        features: the hook of a frozen backbone, which embeds each image while it is decoded.

    Returns:
        The data, whose train split is the pool that the folds divide, and the plan of the folds.
    """
    catalog = divide(request, scan_images(request, catalog, console, features), console)
    catalog = catalog.with_splits(pool_of(catalog.splits))
    recipe = request.recipe
    plan = plan_folds(catalog, catalog.splits, options.folds, options.repeats, recipe.seed)
    split_options = replace(recipe.split, val=0.0) if request.own_splits else None
    with console.step("Checking the data"):
        findings = [
            *find_all(catalog, split_options, needs_val=False)
        ]  # the folds do what val does
    findings += [Finding("remark", text) for text in plan_remarks(catalog, plan)]
    tell_findings(findings, request, console)
    num_test = len(catalog.split("test"))
    console.say(f"{len(plan.rows):,} images in {plan.folds} folds, {num_test:,} set aside for test")
    return Data(catalog, tuple(findings), request.splits_digest(catalog)), plan
