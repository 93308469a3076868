"""The scan by a Ray cluster: its workers read, decode and embed, and what they find fills the caches.

The scan of this process goes over the same images afterwards, and finds them remembered. So rows,
splits and model are those of a training without Ray.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.cache import ScanMemory
from tellapart.catalog.files import Files, Folder
from tellapart.catalog.inspect import Inspector, Memory, ScanHook
from tellapart.catalog.table import Catalog
from tellapart.catalog.workers import Notes, answer_noting, remember_answer
from tellapart.decoders.rules import DecodeRules
from tellapart.decoding import Decoded
from tellapart.errors import UserError
from tellapart.modelfile.on_ray import fetched, start_ray
from tellapart.modelfile.session import Session
from tellapart.probe.embeddings import FeatureExtractor
from tellapart.progress import Console
from tellapart.sources.store_folder import StoreFolder

BLOCK = 64  # images that a worker takes at a time


def check_for_ray(catalog: Catalog) -> Files:
    """The images by their paths on disk or in a store, where every worker can read them.

    Raises:
        UserError: the images are in an archive, in memory or in boxes.
    """
    if isinstance(catalog.files, Folder):
        return Folder(catalog.files.root.absolute())  # a worker may have another current folder
    if isinstance(catalog.files, StoreFolder):
        return _Unlisted(catalog.files.anew())
    raise UserError(
        f"The engine ray reads images by their paths, and these are no files ({catalog.source}).",
        "Unpack them, or leave out --engine.",
    )


def scan_on_ray(
    catalog: Catalog,
    rules: DecodeRules,
    hook: ScanHook | None,
    memory: ScanMemory,
    console: Console,
) -> None:
    """Let workers inspect and embed what is not remembered yet.

    What a worker has found is kept as soon as its block is done. A worker that dies costs the work
    on its blocks, which another one gets.

    Args:
        catalog: of files in a folder that all machines of the cluster see, or in a store.
        rules: the settings of the decode contract.
        hook: computes features, and keeps them. None means that none are needed.
        memory: keeps verdicts and thumbnails.
        console: shows the progress.

    Raises:
        UserError: Ray is not installed, the images are no files, or their store does not answer.
    """
    files = check_for_ray(catalog)
    inspector = Inspector(catalog.files, rules, hook, memory)
    paths = [path for path in catalog.paths.tolist() if inspector.recall(path) is None]
    if not paths:
        return
    with console.step("Starting Ray"):
        ray = start_ray()
    features = hook if isinstance(hook, FeatureExtractor) else None
    # It is named here as long as there are workers: one that starts anew asks for it again.
    graph = ray.put(np.frombuffer(features.graph, np.uint8)) if features else None
    scanned = ray.data.from_arrow_refs([ray.put(block) for block in _blocks(paths)]).map_batches(
        _Worker,
        fn_constructor_args=(graph,),
        fn_constructor_kwargs={"files": files, "rules": rules},
        batch_size=BLOCK,
        compute=ray.data.ActorPoolStrategy(min_size=1),
        num_cpus=1,
    )
    with console.track("Reading images on Ray", len(paths)) as advance:
        for batch in scanned.iter_batches(batch_size=None, prefetch_batches=1):
            for path, text in zip(batch["path"], batch["answer"], strict=True):
                _keep(str(path), json.loads(text), catalog.files, features, memory)
                advance()
    memory.refresh()  # else the scan that follows would read every file again


def _blocks(paths: Sequence[str]) -> list[Any]:
    """Paths of the catalog as tables of Arrow."""
    import pyarrow

    return [
        pyarrow.table({"path": paths[start : start + BLOCK]})
        for start in range(0, len(paths), BLOCK)
    ]


def _keep(
    path: str,
    answer: dict[str, Any],
    files: Files,
    features: FeatureExtractor | None,
    memory: Memory,
) -> None:
    """Remember what a worker has found of one file.

    Raises:
        UserError: it found that the store does not answer.
    """
    if "refused" in answer:
        raise UserError(*answer["refused"])
    if "stamp" in answer and isinstance(files, StoreFolder):
        answer["stamp"] = files.stamp(path)  # as the store listed it, before the reading
    if features and "features" in answer:  # first: without them the verdict would be useless
        digest, decoded_by = answer["embedded"]
        values = np.frombuffer(base64.b64decode(answer["features"]), np.float32)
        features.keep(digest, values, decoded_by)
    remember_answer(path, answer, memory)


class _Unlisted:
    """The objects of a store for a worker, which need not list them: this process knows them."""

    def __init__(self, folder: StoreFolder) -> None:
        self._folder = folder
        self.place = folder.place

    def read(self, path: str) -> bytes | Decoded:
        """The bytes of one object."""
        return self._folder.read(path)

    def stamp(self, path: str) -> tuple[str, float]:
        """Nothing is known of it."""
        return "", 0.0


class _Worker:
    """A process of Ray, which loads the graph once and inspects blocks of files."""

    def __init__(self, graph: Any, *, files: Files, rules: DecodeRules) -> None:
        self._notes, self._hook = Notes(), None if graph is None else _Embedder(fetched(graph))
        self._inspector = Inspector(files, rules, self._hook, self._notes)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """The answers as JSON, which keeps each number exactly."""
        paths = [str(path) for path in batch["path"]]
        return {"path": paths, "answer": [json.dumps(self._answered(path)) for path in paths]}

    def _answered(self, path: str) -> dict[str, Any]:
        try:
            found = answer_noting(self._inspector, self._notes, path)
        except UserError as error:  # Ray would wrap it into its own
            return {"refused": (error.message, error.hint)}
        return {**found, **self._hook.taken()} if self._hook else found


class _Embedder:
    """A scan hook that holds the features of the last image until they are taken."""

    def __init__(self, graph: bytes) -> None:
        self._session = Session(graph)
        self._last: dict[str, Any] = {}

    def known(self, digest: str, decoded_by: str) -> bool:
        """Nothing is known here."""
        return False

    def visit(self, digest: str, pixels: NDArray[np.uint8], decoded_by: str) -> None:
        """Compute the embedding of one image."""
        values = self._session.run(pixels[None], ["embedding"])[0][0].astype(np.float32)
        encoded = base64.b64encode(values.tobytes()).decode()
        self._last = {"embedded": (digest, decoded_by), "features": encoded}

    def taken(self) -> dict[str, Any]:
        """The features of the last image, once; nothing where there are none."""
        last, self._last = self._last, {}
        return last
