"""Fit what the model file measures unfamiliarity by: subspace, standards and limit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tellapart.evaluation.abstention import fit_unfamiliarity_scale
from tellapart.evaluation.standards import Standard, Standards
from tellapart.modelfile.familiarity import Subspace, directions

COMPONENTS = 64  # from 16 to 128 the scores differ by less than a point of AUROC
SPARE = 16  # more directions than are kept make the kept ones right sooner
STEPS = 3  # from there on the residuals change by less than 1 %
LEAST_SPREAD = 1e-5  # below it, only rounding differs
ROUNDING = 1e-4  # the graph's last digits are others, and the image at the limit must stay familiar


def fit_subspace(features: NDArray[np.float32]) -> Subspace:
    """The directions in which embeddings (N, D) vary most. Without any, all images are as far.

    At most half of the D directions are kept: with all of them nothing would be left over.

    Source: the residual of Wang et al. 2022, https://arxiv.org/abs/2203.10807, at unit length; the
    iteration of Halko et al. 2011, https://arxiv.org/abs/0909.4061.

    >>> fit_subspace(np.eye(6, dtype=np.float32)[:2]).components.shape
    (1, 6)
    """
    unit = directions(features)
    count, width = unit.shape
    mean = unit.mean(axis=0) if count else np.zeros(width, np.float32)
    most = min(COMPONENTS, count - 1, width // 2)
    components = _leading(unit - mean, most) if most > 0 else np.zeros((0, width), np.float32)
    # A graph has no matrices without rows.
    kept = components if len(components) else np.zeros((1, width), np.float32)
    return Subspace(mean, kept)


def _leading(centred: NDArray[np.float32], most: int) -> NDArray[np.float32]:
    """(K, D) the leading right singular vectors, at most `most`, by subspace iteration.

    A whole decomposition takes some seconds for 2,000 images, and each fold needs one.
    """
    width = min(most + SPARE, *centred.shape)
    start = np.random.default_rng(0).standard_normal((centred.shape[1], width))
    basis = np.asarray(start, np.float32)
    for _ in range(STEPS):
        basis, _ = np.linalg.qr(centred.T @ (centred @ basis))
    _, sizes, turns = np.linalg.svd(centred @ basis, full_matrices=False)
    enough = sizes[:most] > max(1e-5 * sizes[0], 1e-6)
    return np.ascontiguousarray((turns[:most] @ basis.T)[enough], np.float32)


def fit_standards(terms: NDArray[np.float32]) -> Standards:
    """Mean and spread of both measurements, from images (N, 2) that were held out; N at least 1.

    >>> fit_standards(np.array([[1.0, -2.0], [3.0, -2.0]], np.float32)).residual
    Standard(mean=2.0, spread=1.0)
    """
    mean, spread = terms.astype(np.float64).mean(axis=0), terms.astype(np.float64).std(axis=0)
    spread[spread < LEAST_SPREAD] = 0
    residual, evenness = (
        Standard(float(centre), float(width)) for centre, width in zip(mean, spread, strict=True)
    )
    return Standards(residual, evenness)


def fit_limit(
    standards: Standards,
    scores: NDArray[np.float32],
    share: float,
    clusters: NDArray[np.int64] | None = None,
) -> float | None:
    """The score beyond which an image is unfamiliar. None means that nothing tells images apart.

    Args:
        standards: by which the scores were measured.
        scores: (N,) of images that were held out.
        share: of images that must stay familiar.
        clusters: (N,) the cluster of each image. None means that each is its own.
    """
    if not standards.tell:
        return None
    return fit_unfamiliarity_scale(scores, share, clusters) * (1 + ROUNDING)
