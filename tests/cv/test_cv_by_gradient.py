"""Cross-validation by gradient: a run a fold, stopped and gone on with."""

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
from helpers.cross_validation import cross, made_up_predictions
from helpers.images import KINDS, write_image, write_tiny
from helpers.models import small_card
from helpers.runs import SHORT, StopAt, history_of, metrics_of
from tellapart import UserError
from tellapart.errors import Interrupted, Refused
from tellapart.jobs.cv import by_gradient, fold_runs
from tellapart.jobs.cv.cross_validate import cross_validate
from tellapart.jobs.cv.result import CrossValidated
from tellapart.pipeline.request import Request
from tellapart.recipe import recipe_from
from tellapart.runs.saved_predictions import read_predictions

# Two folds of two epochs and three steps each.
QUICK = {
    **SHORT,
    "training.epochs": 2,
    "training.batch_size": 6,
    "training.trackers": "",
    "seed": 3,
}


def cross_by_gradient(data: Path | None, out: Path | None = None, **options: Any) -> CrossValidated:
    if "resume" in options:
        return cross_validate(data, quiet=True, **options)
    return cross(data, out, **{"folds": 2, "recipe": "cifar10-lenet", "set": QUICK, **options})


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
    assert [fold.metrics.accuracy.as_json() for fold in whole.folds] == facts


def test_the_last_training_takes_the_mean_of_the_best_epochs(whole: CrossValidated):
    best = [fold.facts["best_epoch"] for fold in whole.folds]
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
    stop: Callable[[pytest.MonkeyPatch], None], data: object, out: Path
) -> tuple[Path, Interrupted]:
    """The folder of a cross-validation that was interrupted, and what it said."""
    with pytest.MonkeyPatch.context() as patch:
        stop(patch)
        with pytest.raises(Interrupted) as stopped:
            cross_by_gradient(data, out)
    (run,) = out.iterdir()
    return run, stopped.value


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
    run, error = interrupted(stop, tiny, tmp_path)
    assert error.hint == f"Go on with: tellapart cv --resume {run}"
    again = cross_by_gradient(None, resume=run)
    assert (again.path, len(folds_of(run))) == (run, 2)
    assert again.model.read_bytes() == whole.model.read_bytes()
    assert [fold.metrics for fold in again.folds] == [fold.metrics for fold in whole.folds]


def test_data_in_memory_is_to_be_given_again(tiny: Path, tmp_path: Path):
    rows = [(str(path), path.parent.name) for path in sorted(tiny.rglob("*.png"))]
    run, _ = interrupted(STOPS["in the first fold"], rows, tmp_path)
    with pytest.raises(UserError) as missing:
        cross_by_gradient(None, resume=run)
    assert missing.value.hint == (
        f"Give it again: tellapart.cross_validate(data, resume={str(run)!r})"
    )


def test_the_last_training_resumes_from_its_own_checkpoint(
    tiny: Path, tmp_path: Path, whole: CrossValidated
):
    honest = by_gradient.fit_network

    def stopped(*words: Any, **options: Any) -> Any:
        return honest(*words, callbacks=[StopAt(2)], **options)

    run, error = interrupted(
        lambda patch: patch.setattr(by_gradient, "fit_network", stopped), tiny, tmp_path
    )
    assert error.message.startswith("Interrupted after step 2 of ")
    assert error.hint == f"Go on with: tellapart cv --resume {run}"
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
    answer = cross_by_gradient(None, resume=whole.path).as_json()
    assert answer == {**whole.as_json(), "seconds": answer["seconds"], "steps": answer["steps"]}


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
        predictions=made_up_predictions([0], [1]),
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


def test_the_last_training_goes_as_far_from_its_probe_as_the_median_fold():
    runs = [fold_run(3, []) for _ in range(3)]
    assert by_gradient.refit_share(runs) is None
    for fold, share in zip(runs, (0.25, 1.0, 0.5), strict=True):
        fold.training["share"] = share
    assert by_gradient.refit_share(runs) == 0.5


def test_without_val_the_last_training_is_as_long_as_the_folds(tiny: Path, tmp_path: Path):
    done = cross_by_gradient(tiny, tmp_path, set={**QUICK, "split.val": 0})
    assert [fold.facts["best_epoch"] for fold in done.folds] == [2, 2]
    assert (
        "2 epochs long: as long as the folds were, which had no val to choose by." in done.made[0]
    )
    card = tellapart.load(done.path).card
    assert card.confidence_threshold is not None and not card.detects_unfamiliar
    assert done.classes == tuple(KINDS)
