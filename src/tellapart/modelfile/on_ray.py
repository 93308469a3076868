"""Answers by a Ray cluster: a Ray Data pipeline over the names of images, in their order.

Each worker loads the model once and decodes and answers as everywhere else. Ray starts a worker that
died anew and gives its images to another one, so that none is lost or answered twice.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Generator, Iterable, Iterator
from dataclasses import asdict, replace
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from tellapart.addresses import is_store_address
from tellapart.errors import UserError, choose, needs_extra
from tellapart.image_input import StoredImage
from tellapart.modelfile.predictor import Answer, Image, Predictor, image_name
from tellapart.sources.stores import stored_image

ENGINES = ("ray",)
BLOCK = 256  # images that a worker takes at a time


def answer_on_ray(
    predictor: Predictor, images: Iterable[Image], *, sets: float | None = None
) -> Generator[Answer, None, None]:
    """Answers one by one, in the order of the images.

    Ray is started on this machine where it does not run, or where RAY_ADDRESS names no cluster. The
    machines of a cluster need tellapart, and the files under the same paths. The names of all
    images lie in Ray's store of objects, and never all of them in this process.

    Args:
        predictor: the model. Its provider is that of each worker.
        images: paths, or addresses in a store.
        sets: as for `Predictor.predict_each`.

    Raises:
        UserError: Ray is not installed, or an image is no file that a worker could read.
    """
    ray = start_ray()
    blocks = [ray.put(block) for block in _blocks(images)]
    if not blocks:
        return
    # It is named here as long as there are workers: one that starts anew asks for it again.
    model = ray.put(np.frombuffer(predictor.graph, np.uint8))
    answered = ray.data.from_arrow_refs(blocks).map_batches(
        _Worker,
        fn_constructor_args=(model,),
        fn_constructor_kwargs={"provider": predictor.provider, "sets": sets},
        batch_size=BLOCK,
        compute=ray.data.ActorPoolStrategy(min_size=1),
        num_cpus=1,
        num_gpus=0 if predictor.provider == "cpu" else 1,
    )
    for batch in answered.iter_batches(batch_size=None, prefetch_batches=1):
        yield from map(_answer, batch["answer"])


def check_engine(engine: str | None) -> None:
    """See that there is such an engine, before any work; None is this process.

    Raises:
        UserError: there is none, or it is not installed.

    >>> check_engine(None)
    """
    if engine is not None:
        choose("engine", engine, ENGINES)
        if find_spec(engine) is None:
            raise needs_extra(engine, engine)


def start_ray() -> Any:
    """Ray, started and told to keep the order.

    Raises:
        UserError: it is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # else it reports to its makers
    try:
        import ray
        import ray.data
    except ImportError:
        raise needs_extra("ray", "ray") from None
    logging.getLogger("ray.data").setLevel(logging.ERROR)  # progress is shown by us
    if not ray.is_initialized():
        ray.init(log_to_driver=False, include_dashboard=False, logging_level=logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    return ray


def _blocks(images: Iterable[Image]) -> Iterator[Any]:
    """The names of images as tables of Arrow: what answers call them, and where they are."""
    import pyarrow

    rows = map(_row, images)
    while block := list(islice(rows, BLOCK)):
        names, places = zip(*block, strict=True)
        yield pyarrow.table({"name": names, "place": places})


def _row(image: Image) -> tuple[str, bytes]:
    if isinstance(image, StoredImage) and is_store_address(image.name):
        return image.name, image.name.encode()
    if isinstance(image, str | os.PathLike):
        # A worker may have another current folder. Bytes, since a name need not be text.
        return image_name(image), os.fsencode(Path(image).absolute())
    raise UserError(
        "The engine ray reads images by their paths, and these are in an archive or in memory.",
        "Unpack them, or leave out --engine.",
    )


class _Worker:
    """A model that is loaded once, and answers batches of images."""

    def __init__(self, graph: Any, *, provider: str, sets: float | None) -> None:
        self._predictor = Predictor(fetched(graph), provider=provider)
        self._sets = sets

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """The answers as JSON, which keeps each number exactly."""
        pairs = zip(batch["name"], batch["place"], strict=True)
        return {"answer": [json.dumps(asdict(self._answered(*pair))) for pair in pairs]}

    def _answered(self, name: str, place: bytes) -> Answer:
        text = os.fsdecode(place)
        image = stored_image(text) if is_store_address(text) else Path(text)
        answer = self._predictor.predict_one(image, sets=self._sets, lone=False)
        return replace(answer, path=name)


def fetched(graph: Any) -> bytes:
    """A graph that was put into Ray's store of objects, in a worker."""
    if not isinstance(graph, np.ndarray):  # Ray Data leaves it to the worker to fetch it
        import ray

        graph = ray.get(graph)
    return bytes(graph.tobytes())


def _answer(text: str) -> Answer:
    values = json.loads(text)
    for name in ("notes", "prediction_set"):
        values[name] = tuple(values[name])
    return Answer(**values)
