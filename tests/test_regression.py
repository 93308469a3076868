"""The regression of the probe against scikit-learn's, run until nothing changes any more."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from tellapart.evaluation.calibration import softmax
from tellapart.modelfile.layers import Layers
from tellapart.options import HeadOptions
from tellapart.probe import search
from tellapart.probe.fit import Probe, fit_probe
from tellapart.probe.regression import Regression, Rows, Scale, measure_spectrum, no_spectrum

Features = NDArray[np.floating]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Case:
    """Generated rows, and how they are fitted."""

    counts: tuple[int, ...]
    width: int
    c: float = 0.01
    spread: float = 1.0  # of a class; the centres have 1
    weighting: str = "none"
    copies: int = 1
    constant: int = 0

    def rows(self, seed: int = 0) -> tuple[Features, Labels]:
        """Features (N, D) with a spectrum that falls as that of embeddings does, and labels."""
        rng = np.random.default_rng(seed)
        labels = np.repeat(np.arange(len(self.counts)), self.counts)
        centres = np.random.default_rng(99).normal(size=(len(self.counts), self.width))
        points = centres[labels] + self.spread * rng.normal(size=(len(labels), self.width))
        falling = np.linspace(1, self.width, self.width) ** -0.5
        turn = np.linalg.qr(np.random.default_rng(7).normal(size=(self.width, self.width)))[0]
        features = (points * falling) @ turn + 0.5
        features[:, : self.constant] = 3
        return np.repeat(features, self.copies, 0).astype(np.float32), np.repeat(
            labels, self.copies
        )

    def probe(self) -> Probe:
        """Our fit of all rows."""
        features, labels = self.rows()
        options = HeadOptions(c_values=(self.c,), weighting=self.weighting)
        return fit_probe(features, labels, np.full(len(labels), -1), len(self.counts), options)

    def converged(self) -> Layers:
        """scikit-learn's fit of the same rows."""
        features, labels = self.rows()
        mean, std = features.mean(0, np.float64), features.std(0, dtype=np.float64)
        std[std < 1e-6] = 1
        model = LogisticRegression(
            C=self.c,
            class_weight="balanced" if self.weighting == "balanced" else None,
            max_iter=100_000,
            tol=1e-9,
        ).fit((features - mean) / std, labels)
        weight, bias = model.coef_, model.intercept_
        if len(self.counts) == 2:
            weight, bias = np.concatenate([-weight, weight]) / 2, np.stack([-bias, bias])[:, 0] / 2
        weight = weight / std
        return Layers((), weight, bias - weight @ mean)

    def objective(self, layers: Layers) -> float:
        """What scikit-learn minimises, over C and the number of rows."""
        features, labels = self.rows()
        std = features.std(0, dtype=np.float64)
        std[std < 1e-6] = 1
        weight = layers.weight * std
        squares = (weight**2).sum() * (2 if len(self.counts) == 2 else 1)
        shares = np.bincount(labels) / len(labels) * len(self.counts)
        weights = 1 / shares[labels] if self.weighting == "balanced" else np.ones(len(labels))
        losses = log_losses(layers, features, labels)
        return float(np.mean(weights * losses) + squares / (2 * self.c * len(labels)))


def log_losses(layers: Layers, features: Features, labels: Labels) -> NDArray[np.float64]:
    logits = features.astype(np.float64) @ layers.weight.T.astype(np.float64) + layers.bias
    logits -= logits.max(1, keepdims=True)
    own = logits[np.arange(len(labels)), labels]
    return np.log(np.exp(logits).sum(1)) - own


CASES = {
    "fewer rows than numbers": Case((15, 20, 10), 120),
    "many more rows than numbers": Case((900, 1100, 1000), 20, c=0.1),
    "two classes": Case((80, 120), 40),
    "two classes, fewer rows than numbers": Case((20, 25), 200, c=1.0),
    "two balanced classes, one of them rare": Case((400, 12), 30, weighting="balanced"),
    "fifty classes": Case((12,) * 50, 60),
    "rare classes": Case((500, 60, 7), 30, spread=2),
    "rare classes that are balanced": Case((500, 60, 7), 30, spread=2, weighting="balanced"),
    "separable classes": Case((60, 60, 60), 30, spread=0.1, c=1.0),
    "separable classes, hardly held back": Case((60, 60, 60), 30, spread=0.1, c=1e4),
    "constant features": Case((40, 50, 60), 30, constant=10),
    "a tiny C": Case((40, 50, 60), 30, c=1e-7),
    "a huge C": Case((400, 500, 600), 10, spread=2, c=1e6),
    "every row twice": Case((40, 50, 60), 30, copies=2),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_the_objective_is_within_a_thousandth_of_the_least_one(case: Case):
    least = case.objective(case.converged())
    assert case.objective(case.probe().layers) <= least * 1.001


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_the_log_loss_of_new_rows_is_that_of_the_converged_fit(case: Case):
    features, labels = case.rows(seed=1)
    ours, theirs = (
        log_losses(layers, features, labels).mean()
        for layers in (case.probe().layers, case.converged())
    )
    assert ours == pytest.approx(theirs, rel=5e-3)


@pytest.mark.parametrize("tolerance", [0.1, 1e-2, 1e-3, 1e-5])
def test_the_gap_is_never_smaller_than_the_distance_to_the_optimum(tolerance: float):
    model = regression_of(*Case((40, 50, 60), 80).rows())
    found, least = model.fit(0.1, tolerance=tolerance), model.fit(0.1, tolerance=1e-7)
    assert found.loss - least.loss <= found.gap <= tolerance * found.loss


def regression_of(features: Features, labels: Labels, num_classes: int = 3) -> Regression:
    rows = Rows(features, Scale(features))
    return Regression(rows, labels, num_classes, no_spectrum(features.shape[1]))


def test_a_spectrum_saves_passes_and_changes_no_answer():
    features, labels = Case((900, 1100, 1000), 60, spread=3).rows()
    rows = Rows(features, Scale(features))
    plain = Regression(rows, labels, 3, no_spectrum(60)).fit(1.0, tolerance=1e-5)
    model = Regression(rows, labels, 3, measure_spectrum(rows[:]))
    turned = model.fit(1.0, tolerance=1e-5)
    assert turned.passes < plain.passes
    assert turned.loss == pytest.approx(plain.loss, rel=2e-5)


def test_a_start_at_the_optimum_ends_after_one_pass():
    model = regression_of(*Case((40, 50, 60), 30).rows())
    again = model.fit(0.01, model.fit(0.01, tolerance=1e-5).weights)
    assert again.passes == 1


# ── classes that are absent ──


def test_a_class_without_rows_is_never_the_answer_and_changes_no_other():
    features, labels = Case((40, 50), 30).rows()
    shifted = np.where(labels == 1, 2, labels)
    three, two = (
        regression_of(features, some, count).fit(0.01, tolerance=1e-5).weights
        for some, count in ((shifted, 3), (labels, 2))
    )
    assert three[[0, 2]] == pytest.approx(two)
    assert (Rows(features, Scale(features)).logits(three).argmax(1) != 1).all()


def test_a_fold_may_hold_out_all_rows_of_a_class():
    features, labels = Case((40, 50, 60), 30).rows()
    fold_of = np.where(labels == 2, 0, np.arange(150) % 3)
    probe = fit_probe(features, labels, fold_of, 3, HeadOptions(folds=3))
    assert np.isfinite(probe.logits).all()
    assert np.isfinite(list(probe.fold_losses.values())).all()


def test_a_fold_may_leave_a_single_class():
    features, labels = Case((40, 50), 30).rows()
    probe = fit_probe(features, labels, labels % 2, 2, HeadOptions(folds=2))
    assert np.isfinite(probe.logits).all()


# ── many rows ──


def dealt_probe(features: Features, labels: Labels) -> Probe:
    options = HeadOptions(c_values=(0.003, 0.01, 0.03))
    return fit_probe(features, labels, np.arange(len(labels)) % 3, 4, options)


@pytest.mark.parametrize("kept_bytes", [0, search.KEPT_BYTES], ids=["many rows", "few rows"])
def test_the_number_of_threads_changes_no_bit(kept_bytes: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(search, "KEPT_BYTES", kept_bytes)
    features, labels = Case((500, 700, 600, 400), 40, spread=2).rows()
    monkeypatch.setattr("tellapart.threads.usable_cores", lambda: 1)
    alone = dealt_probe(features, labels)
    monkeypatch.setattr("tellapart.threads.usable_cores", lambda: 3)
    together = dealt_probe(features, labels)
    assert alone.layers.weight.tobytes() == together.layers.weight.tobytes()
    assert alone.logits.tobytes() == together.logits.tobytes()


def test_rows_that_are_not_kept_give_the_same_answers(monkeypatch: pytest.MonkeyPatch):
    features, labels = Case((500, 700, 600, 400), 40, spread=2).rows()
    kept = dealt_probe(features, labels)
    monkeypatch.setattr(search, "KEPT_BYTES", 0)
    made = dealt_probe(features, labels)
    assert made.c == kept.c
    assert made.logits == pytest.approx(kept.logits, abs=1e-3)


def test_a_file_of_half_precision_is_fitted_where_it_lies(tmp_path: Path):
    features, labels = Case((500, 700, 600, 400), 40, spread=2).rows()
    np.save(tmp_path / "features.npy", features.astype(np.float16))
    mapped = np.load(tmp_path / "features.npy", mmap_mode="r")
    ours, theirs = dealt_probe(mapped, labels), dealt_probe(features, labels)
    assert softmax(ours.logits) == pytest.approx(softmax(theirs.logits), abs=5e-3)


def test_many_rows_are_never_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(search, "KEPT_BYTES", 0)
    features, labels = Case((5000, 5000, 5000, 5000), 200, spread=3).rows()
    np.save(tmp_path / "features.npy", features.astype(np.float16))
    mapped = np.load(tmp_path / "features.npy", mmap_mode="r")
    tracemalloc.start()
    fit_probe(mapped, labels, np.full(len(labels), -1), 4, HeadOptions(c_values=(0.001,)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < features.nbytes / 2


# ── progress, and what is loaded ──


def test_progress_rises_and_ends_at_one():
    shares: list[float] = []
    features, labels = Case((50, 70, 60), 40, spread=2).rows()
    fit_probe(features, labels, np.arange(180) % 3, 3, HeadOptions(), shares.append)
    assert shares == sorted(shares)
    assert (shares[0] < 0.2, shares[-1], len(shares) > 10) == (True, 1.0, True)


def test_progress_is_told_within_a_fit_of_many_rows(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(search, "KEPT_BYTES", 0)
    shares: list[float] = []
    features, labels = Case((50, 70, 60), 40, spread=2).rows()
    fit_probe(features, labels, np.arange(180) % 3, 3, HeadOptions(), shares.append)
    assert len(set(shares)) > 40


def test_a_fit_loads_neither_scikit_learn_nor_scipy():
    code = (
        "import sys, numpy as np;"
        "from tellapart.options import HeadOptions;"
        "from tellapart.probe.fit import fit_probe;"
        "rows = np.eye(8, dtype=np.float32);"
        "fit_probe(rows, np.arange(8) % 2, np.arange(8) // 2 % 2, 2, HeadOptions());"
        "print({'sklearn', 'scipy', 'torch'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
