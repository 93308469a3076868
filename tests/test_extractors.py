"""Looking and timing: each image once to each, and the files in turns."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.experiments import latency
from tellapart.experiments.extractors import Extractors


class Extractor:
    """Keeps nothing; `broken` from the second image on, if it is so."""

    def __init__(self, *, broken: bool = False) -> None:
        self.broken, self.seen = broken, []

    def known(self, digest: str, decoded_by: str) -> bool:
        return digest in self.seen

    def visit(self, digest: str, pixels: np.ndarray, decoded_by: str) -> None:
        if self.broken and self.seen:
            raise MemoryError
        self.seen.append(digest)


def test_each_image_is_shown_once_to_each_that_does_not_know_it():
    first, second = Extractor(), Extractor()
    first.seen.append("a")
    extractors = Extractors({"one": first, "two": second})
    assert not extractors.known("a", "")
    extractors.visit("a", np.zeros((2, 2, 3), np.uint8), "")
    assert extractors.known("a", "")
    assert (first.seen, second.seen) == (["a"], ["a"])


def test_one_that_fails_drops_out_and_the_others_go_on():
    good, bad = Extractor(), Extractor(broken=True)
    extractors = Extractors({"good": good, "bad": bad})
    for digest in "abc":
        extractors.visit(digest, np.zeros((2, 2, 3), np.uint8), "")
    assert (good.seen, bad.seen) == (["a", "b", "c"], ["a"])
    assert extractors.failed == {"bad": "MemoryError"}
    assert extractors.known("c", "")


def test_the_files_are_timed_in_turns(monkeypatch: pytest.MonkeyPatch):
    ran: list[str] = []
    monkeypatch.setattr(latency, "Session", lambda model, threads: model.decode())

    def run(session: str, image: np.ndarray) -> float:
        ran.append(session)
        return float(len(ran))

    images = [np.zeros((2, 2, 3), np.uint8)]
    times = latency.measure_latency({"a": b"a", "b": b"b"}, images, 1, run=run)
    assert "".join(ran) == "ab" + "ab" + "ba" + "ab" + "ba" + "ab"
    assert times["a"].low <= times["a"].median <= times["a"].high
