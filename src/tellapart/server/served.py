"""A model as the server knows it, and how an image of a request is answered by it."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from starlette.requests import Request

from tellapart.evaluation.drift import Counts, differences
from tellapart.modelfile.predictor import Predictor
from tellapart.runs.neighbours import Neighbours, no_index
from tellapart.server.body import Upload
from tellapart.server.limits import Limits
from tellapart.server.metrics import Metrics
from tellapart.server.workers import Desk, Refusal

# What the log keeps of an answer: of the image nothing but its size and light.
LOGGED = ("status", "decision", "answer", "confidence", "unfamiliarity", "image", "ms")

LONG_TEXT = 300  # the text of a licence; `inspect --licence` prints it


@dataclass(frozen=True)
class Served:
    """One model and its name in addresses.

    Args:
        name: in addresses.
        predictor: of the model file.
        run: the run folder that is served; None where a file alone is.
    """

    name: str
    predictor: Predictor
    run: Path | None = None

    @cached_property
    def without_index(self) -> str | None:
        """Why there are no nearest training images; None where the run has an index.

        Raises:
            Refused: the index is damaged.
        """
        if self.run is None:
            return (
                "The model is served as a file alone. Serve its run folder for the nearest training"
                " images."
            )
        if Neighbours.read(self.run) is None:
            missing = no_index(self.run.name)
            return f"{missing.message} {missing.hint}"
        return None

    @cached_property
    def seen(self) -> Counts | None:
        """The images answered since the start, counted by the cells of the model's reference."""
        reference = self.predictor.card.reference
        return None if reference is None else Counts(reference)

    def drift(self) -> dict[str, Any]:
        """Whether the images since the start are like those of the training, as JSON values.

        Raises:
            Refusal: the model file has nothing to hold them against.
        """
        if self.seen is None:
            raise Refusal(
                "no_reference",
                404,
                "The model file does not say what its training images were like.",
            )
        found = differences(self.seen)
        return {
            "model": self.name,
            "digest": self.digest,
            "reference_images": self.seen.reference.count,
            "images": self.seen.images,
            "differs": [entry.name for entry in found if entry.differs],
            "differences": [entry.as_json() for entry in found],
        }

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of the model file."""
        return hashlib.sha256(self.predictor.graph).hexdigest()

    def about(self) -> dict[str, Any]:
        """What a client may know of the model, as JSON values."""
        card = self.predictor.card
        return {
            "name": self.name,
            "digest": self.digest,
            "classes": list(card.classes),
            "backbone": card.backbone,
            "precision": card.precision,
            "preprocessing": str(card.preprocessing),
            "confidence_threshold": card.confidence_threshold,
            "detects_unfamiliar": card.detects_unfamiliar,
            "train_images": sum(card.train_counts),
            "licences": {
                name: text for name, text in card.licences.items() if len(text) < LONG_TEXT
            },
        }


@dataclass(frozen=True)
class Service:
    """All that answering needs."""

    models: Mapping[str, Served]
    desk: Desk
    limits: Limits
    metrics: Metrics

    def model(self, request: Request) -> Served:
        """The model that an address names.

        Raises:
            Refusal: there is none of that name.
        """
        name = request.path_params["name"]
        if name not in self.models:
            raise Refusal(
                "no_such_model", 404, f"No such model. There are: {', '.join(self.models)}."
            )
        return self.models[name]

    async def answer(
        self,
        request: Request,
        served: Served,
        images: Sequence[Upload],
        asks: Sequence[Mapping[str, Any]],
    ) -> list[dict[str, Any]]:
        """The answers of a model to the images of a request, in their order.

        Where the client goes away, what still waits is not computed.

        Args:
            request: whose client may go away.
            served: the model.
            images: what was sent.
            asks: for each image, what is asked beside the answer, as for `worker.answer`.

        Raises:
            Refusal: one of them cannot be answered in time.
        """
        self.desk.admit(len(images))
        self.metrics.per_request.observe(len(images))
        deadline = time.monotonic() + self.limits.answer_seconds
        lone = len(images) == 1
        work = asyncio.gather(
            *(
                self._one(served, {**ask, "model": served.name}, image.data, deadline, lone=lone)
                for image, ask in zip(images, asks, strict=True)
            )
        )
        gone = asyncio.ensure_future(_gone(request))
        gone.add_done_callback(lambda _: work.cancel())
        try:
            answers = await work
        except asyncio.CancelledError:
            if gone.done():
                raise Refusal("gone", 499, "The client went away.") from None
            raise
        finally:
            gone.cancel()
            work.cancel()
        logged = [{name: answer[name] for name in LOGGED if name in answer} for answer in answers]
        request.state.entry.update(model=served.name, answers=logged)
        return answers

    async def _one(
        self,
        served: Served,
        ask: Mapping[str, Any],
        data: bytes,
        deadline: float,
        *,
        lone: bool,
    ) -> dict[str, Any]:
        began = time.monotonic()
        found = await self.desk.answer(ask, data, deadline, lone=lone)
        seconds = found.pop("seconds")
        seconds["wait"] = time.monotonic() - began - seconds.pop("worker")
        for stage, value in seconds.items():
            self.metrics.seconds.labels(stage).observe(value)
        found["ms"] = {stage: round(1000 * value, 2) for stage, value in seconds.items()}
        self.metrics.images.labels(served.name, found["status"], found.get("decision", "")).inc()
        if served.seen and found["status"] == "ok":
            served.seen.add({**found, **found["image"]})
        return found


async def _gone(request: Request) -> None:
    """Wait until the client has gone away. The body has been read, so nothing else can come."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
