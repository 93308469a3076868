"""Would other options of ONNX Runtime answer faster than those that tellapart sets, and alike?

    python benchmarks/session_options.py MODEL [--rounds 40] [--pause 0.1] [--out result.json]

Ways to run the graph take turns in random order, on noise of 500 x 375 pixels: tellapart's own (one
thread), without the arena of memory, without patterns of memory, with denormal numbers as zero, and
with several threads, which spin or wait. Each turn is one image after a pause, as when clients come
one by one, and then as many images at once as there are cores. Reported are, for each way, the
milliseconds that pass and those that the processor works, as least value and median; and whether 30
images of other sizes get the same bits. On a busy machine the work is worth more than the time.
"""

from __future__ import annotations

import argparse
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from recording import about

from tellapart.cores import usable_cores
from tellapart.home import user_path

OUTPUTS = ["probabilities", "embedding", "unfamiliarity"]
OWN = "one thread, as tellapart sets it"
Images = list[NDArray[np.uint8]]


def options(threads: int = 1, *, spin: bool = True, **settings: bool) -> ort.SessionOptions:
    made = ort.SessionOptions()
    made.intra_op_num_threads, made.inter_op_num_threads = threads, 1
    made.log_severity_level = 4
    if threads > 1 and spin:
        made.add_session_config_entry("session.force_spinning_stop", "1")
    if not spin:
        made.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if settings.pop("denormal_as_zero", False):
        made.add_session_config_entry("session.set_denormal_as_zero", "1")
    for name, value in settings.items():
        setattr(made, name, value)
    return made


def ways(cores: int) -> dict[str, ort.SessionOptions]:
    return {
        OWN: options(),
        "no arena": options(enable_cpu_mem_arena=False),
        "no memory pattern": options(enable_mem_pattern=False),
        "denormal as zero": options(denormal_as_zero=True),
        f"{max(cores, 2)} threads that spin": options(max(cores, 2)),
        f"{max(cores, 2)} threads that wait": options(max(cores, 2), spin=False),
    }


class Timed:
    """A way to run the graph, and what its runs took."""

    def __init__(self, model: bytes, chosen: ort.SessionOptions) -> None:
        self._session = ort.InferenceSession(model, chosen, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name
        self.rows: dict[str, list[tuple[float, float]]] = {"alone": [], "together": []}

    def answer(self, image: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        return list(self._session.run(OUTPUTS, {self._input: image}))

    def time(self, name: str, images: Images, pool: ThreadPoolExecutor) -> None:
        worked, began = time.process_time(), time.perf_counter()
        list(pool.map(self.answer, images))
        passed, worked = time.perf_counter() - began, time.process_time() - worked
        self.rows[name].append((1000 * passed / len(images), 1000 * worked / len(images)))

    def summary(self) -> dict[str, Any]:
        found = {}
        for name, rows in self.rows.items():
            for column, values in zip(("passed", "worked"), zip(*rows, strict=True), strict=True):
                least, median = np.quantile(values, (0, 0.5)).round(2).tolist()
                found[f"{name}_{column}_ms"] = {"least": least, "median": median}
        return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=user_path)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--pause", type=float, default=0.1)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    rng, cores = np.random.default_rng(0), usable_cores()
    sizes = [(375, 500), *rng.integers(60, 700, (30, 2)).tolist()]
    image, *others = [rng.integers(0, 256, (1, *size, 3), np.uint8) for size in sizes]
    model = asked.model.read_bytes()
    timed = {name: Timed(model, chosen) for name, chosen in ways(cores).items()}
    expected = [timed[OWN].answer(other) for other in others]
    same = {
        name: all(
            np.array_equal(one, other)
            for image_, wanted in zip(others, expected, strict=True)
            for one, other in zip(way.answer(image_), wanted, strict=True)
        )
        for name, way in timed.items()
    }
    with ThreadPoolExecutor(cores) as pool:
        for _ in range(asked.rounds):
            for name in rng.permutation(list(timed)).tolist():
                time.sleep(asked.pause)
                timed[name].time("alone", [image], pool)
                timed[name].time("together", [image] * 2 * cores, pool)
    found = {name: {"same_bits": same[name], **way.summary()} for name, way in timed.items()}
    text = json.dumps({"about": about([asked.model.name]), "ways": found}, indent=1)
    print(text)
    if asked.out:
        asked.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
