"""Unlabelled images: which of them would teach the most if somebody labelled them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tellapart.catalog.names import escape
from tellapart.decoders.rules import DecodeRules
from tellapart.decoding import Decoded, decode, read_file
from tellapart.errors import UserError
from tellapart.evaluation.calibration import fit_temperature, softmax
from tellapart.evaluation.teaching import teaching_order
from tellapart.image_input import StoredImage
from tellapart.jobs.audit.labels import Judged
from tellapart.modelfile.familiarity import directions
from tellapart.options import HeadOptions
from tellapart.probe.embeddings import FeatureExtractor
from tellapart.probe.fit import fit_probe
from tellapart.probe.held_out import ASIDE
from tellapart.progress import Console
from tellapart.runs.audit import AuditFinding, AuditImage
from tellapart.sources.reading import AS_IT_LIES
from tellapart.sources.stream import stream_images

MOST = 200  # images that are named; nobody labels more before the next training


def rank_unlabelled(
    folder: Path, judged: Judged, features: FeatureExtractor, console: Console
) -> list[AuditFinding]:
    """A finding for each image to label next, the first one first.

    Args:
        folder: the unlabelled images, in any form that `predict` takes.
        judged: the labelled images.
        features: computes the embeddings.
        console: shows the progress.

    Raises:
        UserError: there is no usable image.
    """
    seen = _embed(folder, judged.catalog.rules, features, console)
    known = set(judged.catalog.digests.tolist())
    new = {digest: name for digest, name in seen.items() if digest not in known}
    if not new:
        raise UserError(
            f"{folder} holds no image that is usable and not among the labelled ones.",
            "Give --unlabelled a folder of other images.",
        )
    names, digests = list(new.values()), list(new)
    embeddings = features.of_contents(digests)
    pool = np.flatnonzero(judged.fold_of != ASIDE)
    layers = fit_probe(
        judged.features[pool],
        judged.labels[pool],
        np.full(len(pool), -1),
        len(judged.catalog.classes),
        HeadOptions(c_values=(judged.c,)),
    ).layers
    probs = softmax(layers.logits(embeddings).astype(np.float32), _temperature(judged))
    places, scores = teaching_order(probs, directions(embeddings), MOST)
    return [
        _finding(
            names[place],
            digests[place],
            judged.catalog.classes[probs[place].argmax()],
            float(probs[place].max()),
            score,
        )
        for place, score in zip(places.tolist(), scores.tolist(), strict=True)
    ]


def _temperature(judged: Judged) -> float:
    answered = judged.answered
    return (
        fit_temperature(judged.logits[answered], judged.labels[answered]) if answered.any() else 1.0
    )


def _embed(
    folder: Path, rules: DecodeRules, features: FeatureExtractor, console: Console
) -> dict[str, str]:
    """Content hash → name of each usable image, all of which are embedded now."""
    stream = stream_images([str(folder)], AS_IT_LIES)
    found: dict[str, str] = {}
    with console.track("Embedding the unlabelled images", stream.total) as advance:
        for name, data in _read(stream.images):
            if isinstance(data, bytes):
                decoded, digest = decode(data, rules=rules), hashlib.sha256(data).hexdigest()
                if decoded.pixels is not None:
                    if not features.known(digest, decoded.decoded_by):
                        features.visit(digest, decoded.pixels, decoded.decoded_by)
                    found.setdefault(digest, name)
            advance()
    return found


def _read(images: Iterator[object]) -> Iterator[tuple[str, bytes | Decoded]]:
    for image in images:
        if isinstance(image, StoredImage):
            yield image.name, image.read()
        else:
            yield escape(str(image)), read_file(str(image))


def _finding(name: str, digest: str, answer: str, confidence: float, score: float) -> AuditFinding:
    image = AuditImage(
        path=name,
        digest=digest,
        label=None,
        split="unlabelled",
        proposal=answer,
        confidence=round(confidence, 4),
    )
    return AuditFinding(
        kind="unlabelled",
        title=f"Label {name.rpartition('/')[2]}",
        text=(
            f"The model answers ‘{answer}’ with {100 * confidence:.0f} %, and the image is unlike"
            " those before it in this list. Label it and train again."
        ),
        # Nothing is wrong with it, so it stands behind what is.
        score=round(0.1 * score, 6),
        images=(image,),
    )
