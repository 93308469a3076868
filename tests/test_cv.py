"""Cross-validation: every image is judged by a model that never saw it, and the test set stays
aside to the end.
"""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars
import pytest

import tellapart
from helpers.catalogs import scan_folder
from helpers.images import KINDS, write_classes, write_image, write_tiny
from helpers.models import small_card
from helpers.runs import SHORT, StopAt, history_of, metrics_of
from tellapart import UserError
from tellapart.catalog.splits import make_splits
from tellapart.catalog.table import Catalog, text_column
from tellapart.errors import Interrupted, Refused
from tellapart.evaluation.calibration import fit_temperature, softmax
from tellapart.evaluation.fold_scores import score_folds
from tellapart.evaluation.intervals import wilson
from tellapart.evaluation.predictions import Predictions
from tellapart.experiments.fold_plan import FoldPlan, fold_splits, plan_folds, plan_remarks, pool_of
from tellapart.experiments.fold_probes import fit_fold_probes
from tellapart.experiments.out_of_fold import (
    OutOfFold,
    calibrate_out_of_fold,
    logits_of,
    thresholds_out_of_fold,
)
from tellapart.jobs.cv import by_gradient, fold_runs
from tellapart.jobs.cv.cross_validate import cross_validate
from tellapart.jobs.cv.result import CrossValidated
from tellapart.options import AnswerOptions, HeadOptions, SplitOptions
from tellapart.pipeline.request import Request
from tellapart.recipe import recipe_from
from tellapart.runs.folder import RunFolder
from tellapart.runs.saved_predictions import read_predictions
from tellapart.runs.saved_splits import save_splits

SMALL = {"preprocessing.size_px": 64, "head.folds": 2, "head.c_values": (0.01, 0.1)}
# Two folds of two epochs and three steps each.
QUICK = {
    **SHORT,
    "training.epochs": 2,
    "training.batch_size": 6,
    "training.trackers": "",
    "seed": 3,
}


def cross(data: Path | None, out: Path | None = None, **options: Any) -> CrossValidated:
    return cross_validate(
        data,
        **{"folds": 3, "out": out or data.parent / "runs", "set": SMALL, "quiet": True, **options},
    )


def cross_by_gradient(data: Path | None, out: Path | None = None, **options: Any) -> CrossValidated:
    if "resume" in options:
        return cross_validate(data, quiet=True, **options)
    return cross(data, out, **{"folds": 2, "recipe": "cifar10-lenet", "set": QUICK, **options})


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_classes(tmp_path_factory.mktemp("cv") / "photos", 12)


@pytest.fixture(scope="module")
def catalog(data: Path) -> Catalog:
    return scan_folder(data)


@pytest.fixture(scope="module")
def pool(catalog: Catalog) -> Any:
    return pool_of(make_splits(catalog, SplitOptions(), 0))


@pytest.fixture(scope="module")
def plan(catalog: Catalog, pool: Any) -> FoldPlan:
    return plan_folds(catalog, pool, 3, 2, 0)


# ── the division ──


def test_each_image_that_is_not_test_is_held_out_once_a_repeat(
    catalog: Catalog, pool: Any, plan: FoldPlan
):
    assert set(plan.rows) == set(np.flatnonzero(pool == "train"))
    assert plan.fold_of.shape == (2, 30)
    assert all((np.bincount(held, minlength=3) == 10).all() for held in plan.fold_of)
    assert not (plan.fold_of[0] == plan.fold_of[1]).all()


def test_the_seed_decides_the_folds(catalog: Catalog, pool: Any, plan: FoldPlan):
    assert (plan_folds(catalog, pool, 3, 2, 0).fold_of == plan.fold_of).all()
    assert not (plan_folds(catalog, pool, 3, 2, 1).fold_of == plan.fold_of).all()


def test_groups_are_held_out_whole(catalog: Catalog):
    groups = text_column(f"{path[:-6]}{int(path[-6:-4]) // 3}" for path in catalog.paths)
    every = text_column(["train"] * len(catalog))
    plan = plan_folds(catalog.replace(groups=groups), every, 4, 1, 0)
    assert all(len(set(plan.fold_of[0][groups == name])) == 1 for name in set(groups))


def test_more_folds_than_groups_are_refused_with_the_most_that_there_can_be(
    catalog: Catalog, pool: Any
):
    groups = text_column(f"{path[:-6]}{int(path[-6:-4]) // 3}" for path in catalog.paths)
    every = text_column(["train"] * len(catalog))
    with pytest.raises(
        UserError, match=r"5 folds are more than the images allow.+fills 4\. Use --folds 4\."
    ):
        plan_folds(catalog.replace(groups=groups), every, 5, 1, 0)


def test_one_group_a_class_cannot_be_divided(catalog: Catalog, pool: Any):
    groups = text_column(path.split("/")[0] for path in catalog.paths)
    with pytest.raises(UserError, match="or group them more finely"):
        plan_folds(catalog.replace(groups=groups), pool, 2, 1, 0)


def test_a_small_class_is_named_and_no_reason_to_refuse(catalog: Catalog, pool: Any):
    few = pool.copy()
    few[np.flatnonzero((pool == "train") & (catalog.labels == 0))[2:]] = ""
    few[np.flatnonzero((pool == "train") & (catalog.labels == 2))[1:]] = ""
    plan = plan_folds(catalog, few, 3, 1, 0)
    some, never = plan_remarks(catalog, plan)
    assert some.startswith(
        "1 class is not in every fold, as there are too few different images: 'brick' (2 of 3)."
    )
    assert never.startswith("1 class is in no fold and never judged: 'sky' (1 image).")
    assert plan_remarks(catalog, plan_folds(catalog, pool, 3, 1, 0)) == []


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"folds": 1}, "needs 2 folds or more, got 1"),
        ({"repeats": 0}, "at least once, got 0 repeats"),
        ({"folds": 2.5}, r"folds must be a whole number, got 2\.5"),
        ({"repeats": "2"}, "repeats must be a whole number, got '2'"),
    ],
)
def test_numbers_that_mean_nothing_are_refused(photos: Path, wrong: dict[str, Any], says: str):
    with pytest.raises(UserError, match=says):
        cross(photos, **wrong)


def test_a_fold_is_tested_on_what_it_holds_out_and_val_is_cut_from_the_rest(
    catalog: Catalog, pool: Any, plan: FoldPlan
):
    for repeat, fold in plan.each:
        splits = fold_splits(catalog, plan, repeat, fold, SplitOptions(val=0.15))
        assert set(np.flatnonzero(splits == "test")) == set(plan.rows[plan.fold_of[repeat] == fold])
        assert (catalog.counts(splits == "val") == 1).all()
        assert set(splits[pool == "test"]) == {""}


def test_a_recipe_without_val_has_none_in_its_folds_either(catalog: Catalog, plan: FoldPlan):
    assert set(fold_splits(catalog, plan, 0, 0, SplitOptions(val=0))) == {"", "train", "test"}


# ── what is made of the answers ──


def said(labels: list[int], right: list[int]) -> Predictions:
    """Of two classes, sure by 0.9; right where the list says so."""
    truth = np.array(labels)
    answer = np.where(np.array(right, bool), truth, 1 - truth)
    probs = np.where(np.arange(2) == answer[:, None], 0.9, 0.1).astype(np.float32)
    return Predictions(
        probs, truth, tuple(f"{row}.jpg" for row in range(len(truth))), ("cat", "dog")
    )


def test_mean_and_spread_are_over_folds_and_the_interval_is_of_all_answers():
    labels, held = [0, 1] * 4, np.repeat([0, 1], 4)
    scores = score_folds(
        [said(labels, [1, 1, 1, 1, 1, 1, 0, 0])],
        [held],
        {},
        folds=2,
        seed=0,
        class_counts=np.array([4, 4]),
    )
    assert [one.metrics.accuracy.value for one in scores.each] == [1.0, 0.5]
    assert scores.mean["accuracy"] == 0.75
    assert scores.spread["accuracy"] == pytest.approx(np.std([1.0, 0.5], ddof=1))
    together = scores.together["accuracy"]
    assert (together.low, together.high) == pytest.approx(wilson(6, 8))


def test_repeats_narrow_no_interval():
    labels, held = [0, 1] * 4, np.repeat([0, 1], 4)
    once = said(labels, [1, 1, 1, 1, 1, 1, 0, 0])
    scores = score_folds([once] * 5, [held] * 5, {}, folds=2, seed=0, class_counts=np.array([4, 4]))
    together = scores.together["accuracy"]
    assert (together.low, together.high) == pytest.approx(wilson(6, 8))
    assert together.count == 8
    assert len(scores.as_json()["each_repeat"]) == 5


def test_a_fold_that_holds_nothing_out_has_no_part_in_the_mean():
    scores = score_folds(
        [said([0, 1], [1, 0])],
        [np.array([0, 0])],
        {},
        folds=2,
        seed=0,
        class_counts=np.array([1, 1]),
    )
    assert scores.mean["accuracy"] == 0.5
    assert scores.as_json()["spread"]["accuracy"] is None


def out_of_fold(
    logits: np.ndarray, labels: np.ndarray, distances: np.ndarray | None = None
) -> OutOfFold:
    held = (np.arange(len(labels)) % 2)[None]
    plan = FoldPlan(np.arange(len(labels)), 2, held, 0)
    return OutOfFold(plan, labels, softmax(logits)[None], logits[None], held >= 0, distances, {})


def test_the_temperature_of_the_last_model_is_that_of_the_answers_out_of_fold():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 60)
    logits = (4 * rng.normal(size=(60, 3)) + 3 * np.eye(3)[labels]).astype(np.float32)
    far = rng.random((1, 60)).astype(np.float32)
    found = calibrate_out_of_fold(
        out_of_fold(logits, labels, far), AnswerOptions(familiar_share=0.5)
    )
    assert found.temperature == fit_temperature(logits, labels)
    assert (found.count, found.unfamiliar_distance) == (
        60,
        pytest.approx(np.quantile(far, 0.5, method="higher")),
    )
    half = np.arange(60)[None] < 30
    assert calibrate_out_of_fold(
        out_of_fold(logits, labels), AnswerOptions(), among=half
    ).temperature == (fit_temperature(logits[:30], labels[:30]))


def test_a_mean_of_calibrated_models_is_not_calibrated_again():
    logits, labels = np.array([[2.0, 0], [0, 2]] * 15, np.float32), np.array([0, 1] * 15)
    found = thresholds_out_of_fold(out_of_fold(logits, labels), AnswerOptions())
    assert (found.temperature, found.count, found.unfamiliar_distance) == (1.0, 30, None)
    assert found.confidence_threshold == 0.5


def test_logits_come_back_from_probabilities():
    logits = np.array([[3.0, -1.0, 0.5], [60.0, -20.0, 0.0]], np.float32)
    back = logits_of(softmax(logits, 2.5), 2.5)
    assert np.allclose(back - back[:, :1], logits - logits[:, :1], atol=1e-3)


def test_a_fold_learns_nothing_of_what_it_holds_out(catalog: Catalog, plan: FoldPlan):
    rng = np.random.default_rng(1)
    features = rng.normal(size=(30, 8)).astype(np.float32)
    options, known = HeadOptions(folds=2, c_values=(0.1, 1.0)), np.arange(30)
    before = fit_fold_probes(features, known, catalog, plan, options, lambda: None).out
    held = plan.fold_of[0] == 1
    labels = catalog.labels.copy()
    labels[plan.rows[held]] = np.roll(labels[plan.rows[held]], 5)
    after = fit_fold_probes(
        features, known, catalog.replace(labels=labels), plan, options, lambda: None
    ).out
    assert (before.logits[0, held] == after.logits[0, held]).all()
    assert not (before.logits[0, ~held] == after.logits[0, ~held]).all()


def test_no_image_is_near_because_the_file_holds_it_itself(catalog: Catalog, plan: FoldPlan):
    features = np.random.default_rng(2).normal(size=(30, 8)).astype(np.float32)
    options = HeadOptions(folds=2, c_values=(0.1,))
    out = fit_fold_probes(features, np.arange(30), catalog, plan, options, lambda: None).out
    assert out.distances is not None and out.distances.min() > 0.01


# ── a probe, from end to end ──


@pytest.fixture(scope="module")
def done(data: Path) -> CrossValidated:
    return cross(data, repeats=2)


def test_the_folder_is_that_of_a_run_with_its_folds(done: CrossValidated, data: Path):
    assert {file.name for file in done.path.iterdir()} == {
        *(
            "catalog.parquet",
            "environment.json",
            "folds.parquet",
            "log.txt",
            "metrics.json",
            "model.onnx",
            "head.safetensors",
        ),
        *(
            "predictions-folds.parquet",
            "predictions-test.parquet",
            "predictions-val.parquet",
            "recipe.yaml",
        ),
        *("report.html", "splits.parquet"),
    }
    assert tellapart.load(done.path).predict(data / "leaf" / "003.jpg").answer == "leaf"
    measured = tellapart.evaluate(done.path, data, quiet=True)
    assert measured.metrics.accuracy.count == 36


def test_the_test_set_is_that_of_a_training_and_in_no_fold(done: CrossValidated, data: Path):
    run = tellapart.train(data, out=data.parent / "runs", set=SMALL, quiet=True)
    tested = [
        set(read_predictions(path / "predictions-test.parquet").paths)
        for path in (done.path, run.path)
    ]
    assert tested[0] == tested[1]
    folds = polars.read_parquet(done.path / "folds.parquet")
    assert len(folds) == 60 and tested[0].isdisjoint(folds["path"])
    assert metrics_of(done.path)["splits"]["counts"] == {"train": 30, "val": 0, "test": 6}


def test_each_image_has_one_answer_a_repeat_of_the_fold_that_held_it_out(done: CrossValidated):
    answers = polars.read_parquet(done.path / "predictions-folds.parquet")
    folds = polars.read_parquet(done.path / "folds.parquet")
    keys = ["path", "repeat", "fold"]
    assert answers.select(keys).sort(keys).equals(folds.select(keys).sort(keys))
    assert len(read_predictions(done.path / "predictions-folds.parquet")) == 60


def test_the_numbers_of_the_folds_are_in_json_and_metrics_alike(done: CrossValidated):
    told, kept = done.as_json(), metrics_of(done.path)["folds"]
    assert told["folds"] == kept["each"] and len(told["folds"]) == 6
    assert told["pooled"] == kept["pooled"] and told["mean"] == kept["mean"]
    assert told["test"] == metrics_of(done.path)["test"]
    assert (kept["split"], kept["count"], kept["seed"], kept["model"]["by"]) == (
        "out-of-fold",
        30,
        0,
        "refit",
    )
    assert json.loads(json.dumps(told)) == told


def test_the_model_is_calibrated_on_the_answers_out_of_fold_and_its_page_says_so(
    done: CrossValidated,
):
    card = tellapart.load(done.path).card
    assert card.calibration_count == 30 and card.detects_unfamiliar
    assert card.confidence_threshold is not None and sum(card.train_counts) == 30
    page = (done.path / "report.html").read_text()
    assert "Calibrated on the out-of-fold predictions of 30 images" in page
    assert "no validation split" not in page
    assert not any("There is no val" in text for text in done.warnings)


def test_the_page_and_the_terminal_tell_of_the_folds(done: CrossValidated):
    page = (done.path / "report.html").read_text()
    assert 'id="folds"' in page and done.lines[0] in page
    assert done.lines[0].startswith("Accuracy over 3 folds, repeated 2 times: mean ")
    assert "All 30 images together, each predicted by a model that never saw it" in done.lines[1]
    assert done.lines[-1].startswith(
        "The model file is a head fitted on all images but the test set."
    )


def test_the_same_again_gives_the_same_file_and_computes_no_feature(
    done: CrossValidated, data: Path, tmp_path: Path
):
    again = cross(data, tmp_path, repeats=2)
    assert again.model.read_bytes() == done.model.read_bytes()
    assert again.as_json()["folds"] == done.as_json()["folds"]
    assert "features computed for 0," in (again.path / "log.txt").read_text()


def test_val_of_an_earlier_run_is_divided_too_and_without_a_test_the_page_says_so(
    data: Path, tmp_path: Path
):
    catalog = scan_folder(data)
    splits = text_column("val" if path.endswith("1.jpg") else "train" for path in catalog.paths)
    save_splits(RunFolder(tmp_path), catalog.with_splits(splits))
    done = cross(data, tmp_path / "runs", splits=tmp_path)
    assert len(polars.read_parquet(done.path / "folds.parquet")) == 36
    assert done.metrics.accuracy.count == 0 and done.as_json()["test"]["accuracy"]["value"] is None
    page = (done.path / "report.html").read_text()
    assert "On 36 images, each predicted by a model that never saw it, it is correct" in page
    assert "36 images predicted out of fold" in page


def test_strict_refuses_a_label_conflict(photos: Path):
    (photos / "leaf" / "same.jpg").write_bytes((photos / "sky" / "001.jpg").read_bytes())
    with pytest.raises(Refused, match="in more than one class"):
        cross(photos, strict=True)
    assert not (photos.parent / "runs").exists()


def test_a_probe_leaves_nothing_to_resume(done: CrossValidated):
    with pytest.raises(UserError, match="has nothing to resume"):
        cross_validate(resume=done.path, quiet=True)


# ── by gradient: a run a fold ──


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("cv-gradient") / "photos", 8)


@pytest.fixture(scope="module")
def whole(tiny: Path) -> CrossValidated:
    """One that nothing interrupted."""
    return cross_by_gradient(tiny)


def folds_of(run: Path) -> list[Path]:
    return sorted((run / "folds").iterdir())


def test_every_fold_is_a_run_whose_test_is_what_it_holds_out(whole: CrossValidated):
    folds = polars.read_parquet(whole.path / "folds.parquet")
    tested = set(read_predictions(whole.path / "predictions-test.parquet").paths)
    for number, path in enumerate(folds_of(whole.path), 1):
        splits = polars.read_parquet(path / "splits.parquet")
        held = set(folds.filter(polars.col("fold") == number)["path"])
        assert set(splits.filter(polars.col("split") == "test")["path"]) == held
        assert set(splits.filter(polars.col("split") == "")["path"]) == tested
        assert {"log.txt", "report.html", "model.onnx", "history.csv"} <= {
            file.name for file in path.iterdir()
        }


def test_the_answers_out_of_fold_are_those_of_the_folds_files(whole: CrossValidated):
    answers = polars.read_parquet(whole.path / "predictions-folds.parquet")
    for number, path in enumerate(folds_of(whole.path), 1):
        own = polars.read_parquet(path / "predictions-test.parquet").sort("path")
        mine = answers.filter(polars.col("fold") == number).sort("path")
        assert mine.select(own.columns[:3]).equals(own.select(own.columns[:3]))
        assert mine["p:leaf"].equals(own["p:leaf"])
    facts = [metrics_of(path)["test"]["accuracy"] for path in folds_of(whole.path)]
    assert [one.metrics.accuracy.as_json() for one in whole.folds] == facts


def test_the_last_training_takes_the_mean_of_the_best_epochs(whole: CrossValidated):
    best = [one.facts["best_epoch"] for one in whole.folds]
    made = metrics_of(whole.path)["folds"]["model"]
    assert made["epochs"] == int(np.mean(best) + 0.5) == len(history_of(whole.path))
    assert "the rounded mean of the folds' best epochs" in made["text"][0]
    assert metrics_of(whole.path)["training"]["train_images"] == len(
        polars.read_parquet(whole.path / "folds.parquet")
    )


def test_its_page_has_the_curves_the_experiment_and_the_folds_reports(whole: CrossValidated):
    page = (whole.path / "report.html").read_text()
    assert all(
        text in page
        for text in ("Val loss: each fold, and their mean", "Out-of-fold accuracy", "lenet")
    )
    assert all(f'href="folds/{path.name}/report.html"' in page for path in folds_of(whole.path))


def stop_in(monkeypatch: pytest.MonkeyPatch, fold: str, step: int) -> None:
    """Interrupt the run of a fold after a step, as Ctrl-C does."""
    honest = fold_runs.train_network

    def interrupted(request: Request, *words: Any, callbacks: list[Any], **options: Any) -> Any:
        stop = [StopAt(step, signal.SIGINT)] if request.name == fold else []
        return honest(request, *words, callbacks=[*callbacks, *stop], **options)

    monkeypatch.setattr(fold_runs, "train_network", interrupted)


def interrupt_at(where: str) -> Callable[[pytest.MonkeyPatch], None]:
    def stop(*words: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    module = {"fit_network": by_gradient, "write_results": by_gradient, "fold_of": fold_runs}[where]
    return lambda patch: patch.setattr(module, where, stop)


def interrupted(
    stop: Callable[[pytest.MonkeyPatch], None], data: Path, out: Path
) -> tuple[Path, Interrupted]:
    """The folder of a cross-validation that was interrupted, and what it said."""
    with pytest.MonkeyPatch.context() as patch:
        stop(patch)
        with pytest.raises(Interrupted) as told:
            cross_by_gradient(data, out)
    (run,) = out.iterdir()
    return run, told.value


STOPS = {
    "in the first fold": lambda patch: stop_in(patch, "fold-1", 1),
    "in the second fold": lambda patch: stop_in(patch, "fold-2", 2),
    "between two folds": interrupt_at("fold_of"),
    "before the last training": interrupt_at("fit_network"),
    "before the results": interrupt_at("write_results"),
}


@pytest.mark.parametrize("stop", STOPS.values(), ids=list(STOPS))
def test_wherever_it_is_interrupted_it_says_how_to_go_on_and_ends_the_same(
    tiny: Path, tmp_path: Path, whole: CrossValidated, stop: Callable[[pytest.MonkeyPatch], None]
):
    run, told = interrupted(stop, tiny, tmp_path)
    assert told.hint == f"Go on with: tellapart cv --resume {run}"
    again = cross_by_gradient(None, resume=run)
    assert (again.path, len(folds_of(run))) == (run, 2)
    assert again.model.read_bytes() == whole.model.read_bytes()
    assert [one.metrics for one in again.folds] == [one.metrics for one in whole.folds]


def test_the_last_training_resumes_from_its_own_checkpoint(
    tiny: Path, tmp_path: Path, whole: CrossValidated
):
    honest = by_gradient.fit_network

    def stopped(*words: Any, **options: Any) -> Any:
        return honest(*words, callbacks=[StopAt(2)], **options)

    run, told = interrupted(
        lambda patch: patch.setattr(by_gradient, "fit_network", stopped), tiny, tmp_path
    )
    assert told.message.startswith("Interrupted after step 2 of ")
    assert told.hint == f"Go on with: tellapart cv --resume {run}"
    again = cross_by_gradient(None, resume=run)
    assert "Going on from step 2" in (run / "log.txt").read_text()
    assert again.model.read_bytes() == whole.model.read_bytes()


def test_a_fold_resumes_alone_and_the_rest_takes_it_as_it_is(
    tiny: Path, tmp_path: Path, whole: CrossValidated
):
    run, _ = interrupted(lambda patch: stop_in(patch, "fold-1", 1), tiny, tmp_path)
    (fold,) = folds_of(run)
    tellapart.train(resume=fold, quiet=True)
    before = (fold / "log.txt").stat().st_mtime_ns
    assert cross_by_gradient(None, resume=run).model.read_bytes() == whole.model.read_bytes()
    assert (fold / "log.txt").stat().st_mtime_ns == before


def test_a_finished_one_tells_again_what_it_said(whole: CrossValidated):
    told = cross_by_gradient(None, resume=whole.path).as_json()
    assert told == {**whole.as_json(), "seconds": told["seconds"], "steps": told["steps"]}


def test_a_resumed_one_keeps_its_settings(whole: CrossValidated):
    with pytest.raises(
        UserError, match="has 2 folds and 1 repeats, and a resumed run keeps its settings"
    ):
        cross_by_gradient(None, resume=whole.path, folds=4)
    with pytest.raises(
        UserError, match="A resumed run keeps its settings, and seed would change them"
    ):
        cross_by_gradient(None, resume=whole.path, seed=4)


def test_what_is_no_cross_validation_is_not_resumed_as_one(whole: CrossValidated):
    fold, *_ = folds_of(whole.path)
    with pytest.raises(
        UserError, match=r"is one training, and no cross-validation. Go on with: tellapart train"
    ):
        cross_validate(resume=fold)
    with pytest.raises(
        UserError, match=r"is a cross-validation. Go on with: tellapart cv --resume"
    ):
        tellapart.train(resume=whole.path)


def test_changed_data_is_refused_with_what_to_do(tiny: Path, tmp_path: Path):
    data = Path(shutil.copytree(tiny, tmp_path / "photos"))
    run, _ = interrupted(interrupt_at("fit_network"), data, tmp_path / "runs")
    write_image(data / "sky" / "new.png", 99, size=(32, 32))
    with pytest.raises(Refused, match=r"1 image is new.+Restore the data, or begin anew"):
        cross_by_gradient(None, resume=run)


def test_several_processes_are_refused(tiny: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="runs in one process"):
        cross_by_gradient(tiny, tmp_path)


def test_every_repeat_has_its_own_runs(tmp_path: Path):
    done = cross_by_gradient(
        write_tiny(tmp_path / "photos", 5), repeats=2, set={**QUICK, "training.epochs": 1}
    )
    names = {json.loads((path / "run.json").read_text())["name"] for path in folds_of(done.path)}
    assert names == {f"repeat-{repeat}-fold-{fold}" for repeat in (1, 2) for fold in (1, 2)}
    assert len(done.scores.pooled) == 2


def fold_run(best_epoch: int, moves: list[str]) -> fold_runs.FoldRun:
    return fold_runs.FoldRun(
        path=Path("x"),
        predictions=said([0], [1]),
        history=(),
        training={"best_epoch": best_epoch, "epochs": 9, "invariant_moves": moves},
        calibration={},
        shipped="",
        counts={},
        seconds=1.0,
        card=small_card(),
    )


def test_what_most_folds_found_is_settled_in_the_last_training():
    given = recipe_from(
        {"method": "finetune", "augmentation.invariant": True, "training.patience": 2}
    )
    runs = [fold_run(3, ["flip"]), fold_run(4, ["flip", "quarter_turn"]), fold_run(4, [])]
    made = by_gradient.refit_recipe(given, runs)
    assert (made.training.epochs, made.training.patience, made.augmentation.invariant) == (
        4,
        None,
        False,
    )
    assert (
        made.augmentation.flip > 0
        and made.augmentation.quarter_turn == given.augmentation.quarter_turn
    )


def test_without_val_the_last_training_is_as_long_as_the_folds(tiny: Path, tmp_path: Path):
    done = cross_by_gradient(tiny, tmp_path, set={**QUICK, "split.val": 0})
    assert [one.facts["best_epoch"] for one in done.folds] == [2, 2]
    assert (
        "2 epochs long: as long as the folds were, which had no val to choose by." in done.made[0]
    )
    card = tellapart.load(done.path).card
    assert card.confidence_threshold is not None and not card.detects_unfamiliar
    assert done.classes == tuple(KINDS)
