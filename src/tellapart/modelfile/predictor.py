"""The predictor: a model file, images in, answers out."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast, overload

import numpy as np
from numpy.typing import NDArray

from tellapart.catalog.names import escape, nearest_path
from tellapart.cores import usable_cores
from tellapart.decoding import Decoded
from tellapart.errors import UserError, reason_of
from tellapart.home import user_path
from tellapart.image_input import FORMS, Image, StoredImage, decode_input, is_image
from tellapart.modelfile.card import ModelCard, is_sealed
from tellapart.modelfile.lone_images import LoneImages
from tellapart.modelfile.session import Session
from tellapart.threads import map_ahead

__all__ = ["Answer", "Image", "Outputs", "Predictor", "load"]

SHOWN_CLASSES = 5  # in the repr

Row = TypeVar("Row")


@dataclass(frozen=True)
class Answer:
    """What the model says about one image.

    Where the status is not "ok", nothing below `detail` is set.

    Args:
        path: the path as it was given; "" for an image that was not given as a path.
        status: "ok", or the named reason why the file is not an image that can be used.
        notes: remarks that do not stop the prediction.
        detail: a sentence that explains a status other than "ok".
        decision: "answered", "unsure" (confidence below the threshold) or "unfamiliar" (unlike the
            training images).
        answer: the most probable class, unless the model weighs its classes or their costs.
        confidence: the calibrated probability of that class, in [0, 1].
        probabilities: class → probability; they sum to 1.
        unfamiliarity: how unlike the training images it is; above 1 is "unfamiliar".
        prediction_set: the classes that hold the truth as often as was asked for, the most probable
            first. Empty where no set was asked for.

    >>> answer = predictor.predict(photos / "sky" / "001.jpg")
    >>> answer.status, answer.decision, answer.answer
    ('ok', 'answered', 'sky')
    >>> predictor.predict("no-such-file.jpg").status
    'missing'
    """

    path: str
    status: str
    notes: tuple[str, ...] = ()
    detail: str = ""
    decision: str = ""
    answer: str = ""
    confidence: float | None = None
    probabilities: dict[str, float] = field(default_factory=dict)
    unfamiliarity: float | None = None
    prediction_set: tuple[str, ...] = ()

    def top(self, count: int) -> list[tuple[str, float]]:
        """The `count` most probable classes with their probabilities, most probable first.

        >>> [name for name, _ in predictor.predict(photos / "sky" / "000.jpg").top(1)]
        ['sky']
        """
        return sorted(self.probabilities.items(), key=lambda pair: -pair[1])[:count]


@dataclass(frozen=True)
class Outputs:
    """The graph's outputs for one image.

    Args:
        probs: (C,) float32.
        embedding: (D,) float32.
        unfamiliarity: how unlike the training images it is; 1 is the limit of what is familiar.
    """

    probs: NDArray[np.float32]
    embedding: NDArray[np.float32]
    unfamiliarity: float


class Predictor:
    """A loaded model file. Many threads may use it at once.

    Several images are answered side by side, on one core each. Images that come alone may get several
    cores: after 32 of them, a trial shows whether that takes less time here.

    Args:
        model: the bytes of a model file; `load` reads them from a path.
        name: what error messages call the file.
        provider: what runs the network: "cpu", or another that onnxruntime has, as "cuda".

    Raises:
        UserError: the bytes are damaged, or not a tellapart model file. Or onnxruntime has no such
            provider.

    >>> predictor
    Predictor(classes=('brick', 'leaf', 'sky'), backbone='tf_efficientnet_lite0')
    """

    def __init__(self, model: bytes, *, name: str = "The model", provider: str = "cpu") -> None:
        if not is_sealed(model):
            raise UserError(
                f"{name} is damaged, or is not a tellapart model file.",
                "Copy it again from where it was made, or train anew: the file is model.onnx in the"
                " run folder.",
            )
        self.graph, self.provider = model, provider.lower()
        self._session = Session(model, provider=provider)
        cores = usable_cores() if self.provider == "cpu" else 1
        self._lone = LoneImages(model, self._session, cores)
        self.card = ModelCard.from_metadata(self._session.metadata)
        missing = {"probabilities", "embedding", "unfamiliarity"} - set(self._session.outputs)
        widths = {
            self._session.width("probabilities"),
            len(self.card.classes),
            len(self.card.train_counts),
        }
        if missing or len(widths) > 1:
            raise UserError(
                f"{name} has not the outputs that its metadata speaks of.", "Export it anew."
            )

    def __reduce__(self) -> tuple[Callable[..., Predictor], tuple[bytes, str]]:
        """The model file alone, for pickling and copying: a loaded graph cannot be."""
        return _reloaded, (self.graph, self.provider)

    def __repr__(self) -> str:
        shown = ", ".join(map(repr, self.classes[:SHOWN_CLASSES]))
        rest = len(self.classes) - SHOWN_CLASSES
        classes = f"({shown}, … {rest:,} more)" if rest > 0 else str(self.classes)
        return f"Predictor(classes={classes}, backbone={self.card.backbone!r})"

    @property
    def classes(self) -> tuple[str, ...]:
        """C class names; the position is the column of the probabilities.

        >>> predictor.classes
        ('brick', 'leaf', 'sky')
        """
        return self.card.classes

    @overload
    def predict(self, images: Image) -> Answer: ...  # type: ignore[overload-overlap]  # a str is a sequence too

    @overload
    def predict(self, images: Sequence[Image] | Iterator[Image]) -> list[Answer]: ...

    def predict(self, images: Image | Sequence[Image] | Iterator[Image]) -> Answer | list[Answer]:
        """The answer for one image, or a list of answers for several images, in their order.

        An image that cannot be used gets an answer whose status says why; it raises nothing.

        Args:
            images: one image, or a list, tuple or iterator of images. An image is a path, bytes, a
                binary file, a PIL image, a uint8 array or a uint8 tensor. Arrays are (H, W, 3) RGB,
                (H, W) grey or (H, W, 4) RGB with transparency; tensors are (3, H, W) or (H, W, 3).

        Raises:
            UserError: what was given has none of these forms.

        >>> predictor.predict(photos / "sky" / "000.jpg").answer
        'sky'
        >>> pixels = np.zeros((32, 32, 3), np.uint8)
        >>> [answer.status for answer in predictor.predict([pixels, b"not an image"])]
        ['ok', 'not_an_image']
        """
        if is_image(images):
            return self.predict_one(cast("Image", images))
        return list(self.predict_each(_several(images)))

    def predict_each(
        self, images: Iterable[Image], *, sets: float | None = None
    ) -> Generator[Answer, None, None]:
        """Answers one by one, in the order of the images.

        All cores work on them, and memory stays bounded: a generator of a million paths is fine.

        Args:
            images: in any form that `predict` takes.
            sets: how often each answer's `prediction_set` should hold the truth, in (0, 1). None
                gives no sets.

        Raises:
            UserError: the model cannot give such sets.

        >>> files = sorted((photos / "leaf").glob("*.jpg"))
        >>> {answer.answer for answer in predictor.predict_each(files)}
        {'leaf'}
        """
        if sets is not None:
            self.check_sets(sets)

        def answer(image: Image) -> Answer:
            return self.predict_one(image, sets=sets, lone=False)

        yield from map_ahead(_with_position(answer), enumerate(images))

    def check_sets(self, level: float) -> None:
        """See that the model can give prediction sets of this level.

        Raises:
            UserError: the level is not in (0, 1), or no image was held out while it was trained.
        """
        if not 0 < level < 1:
            raise UserError(
                f"The level of prediction sets must be between 0 and 1, got {level:g}.",
                "0.95 is usual.",
            )
        if self.card.sets is None:
            raise UserError(
                "This model cannot give prediction sets: no image was held out to calibrate it.",
                "Train it with images that can be held out.",
            )

    def predict_one(self, image: Image, *, sets: float | None = None, lone: bool = True) -> Answer:
        """The answer for one image.

        An image that comes while no other is answered may get several threads, once a trial has
        found that they take less time here. The answer is the same, bit for bit.

        Args:
            image: in any form that `predict` takes.
            sets: as for `predict_each`.
            lone: whether it may get several threads. False keeps it to one.

        >>> predictor.predict_one(photos / "brick" / "000.jpg").answer
        'brick'
        """
        with self._lone.entered() as alone:
            decoded = decode_input(image, rules=self.card.decoding)
            return self.answer(decoded, image_name(image), sets=sets, lone=lone and alone)

    def answer(
        self, decoded: Decoded, path: str = "", *, sets: float | None = None, lone: bool = False
    ) -> Answer:
        """The answer for an image that `decoding.decode` has decoded by the model's rules.

        Args:
            decoded: the pixels, or the reason why there are none.
            path: what the answer calls the image.
            sets: as for `predict_each`.
            lone: whether it may get several threads, since no other image is answered.

        >>> from tellapart.decoding import decode
        >>> predictor.answer(decode((photos / "sky" / "000.jpg").read_bytes())).answer
        'sky'
        """
        if decoded.pixels is None:
            return Answer(path, decoded.status, decoded.notes, decoded.detail)
        outputs = self.outputs(decoded.pixels, lone=lone)
        unfamiliarity = np.array([outputs.unfamiliarity], np.float32)
        decision = self.decisions(outputs.probs[None], unfamiliarity)[0]
        best = int(self.card.rule.answers(outputs.probs[None])[0])
        return Answer(
            path,
            "ok",
            decoded.notes,
            decision=str(decision),
            answer=self.classes[best],
            confidence=float(outputs.probs[best]),
            probabilities=dict(zip(self.classes, outputs.probs.tolist(), strict=True)),
            unfamiliarity=outputs.unfamiliarity if self.card.detects_unfamiliar else None,
            prediction_set=() if sets is None else self._set(outputs.probs, best, sets),
        )

    def _set(self, probs: NDArray[np.float32], answer: int, level: float) -> tuple[str, ...]:
        """The classes of a prediction set, the most probable first."""
        assert self.card.sets  # `check_sets` has seen it
        chosen = self.card.sets.sets(probs[None], np.array([answer]), level)[0]
        return tuple(
            self.classes[label] for label in np.argsort(-probs, kind="stable") if chosen[label]
        )

    def probabilities(
        self, images: Image | Sequence[Image] | Iterator[Image]
    ) -> NDArray[np.float32]:
        """(N, C) float32: a row an image, in their order; the columns are those of `classes`.

        Args:
            images: as for `predict`. One image gives one row.

        Raises:
            UserError: an image cannot be used, or has none of the forms. The message names its
                position, since a row without an image would shift all others.

        >>> predictor.probabilities([photos / "sky" / "000.jpg", photos / "leaf" / "000.jpg"]).shape
        (2, 3)
        """
        return self._rows("probabilities", images)

    def embed(self, images: Image | Sequence[Image] | Iterator[Image]) -> NDArray[np.float32]:
        """(N, D) float32: the embedding of each image, by the model's backbone.

        Args:
            images: as for `predict`. One image gives one row.

        Raises:
            UserError: an image cannot be used, or has none of the forms. The message names its
                position.

        >>> predictor.embed(photos / "sky" / "000.jpg").shape
        (1, 1280)
        """
        return self._rows("embedding", images)

    def _rows(
        self, output: str, images: Image | Sequence[Image] | Iterator[Image]
    ) -> NDArray[np.float32]:
        """(N, K) one of the graph's outputs, a row an image."""

        def row(image: Image) -> NDArray[np.float32]:
            pixels = _usable(decode_input(image, rules=self.card.decoding))
            rows: NDArray[np.float32] = self._session.run(pixels[None], (output,))[0]
            return np.asarray(rows[0])

        several = [cast("Image", images)] if is_image(images) else _several(images)
        rows = list(map_ahead(_with_position(row), enumerate(several)))
        return np.stack(rows) if rows else np.zeros((0, self._width(output)), np.float32)

    def _width(self, output: str) -> int:
        width = self._session.width(output)
        return width if isinstance(width, int) else 0

    def outputs(self, pixels: NDArray[np.uint8], *, lone: bool = False) -> Outputs:
        """Run the graph on the (H, W, 3) uint8 RGB pixels of one image.

        Args:
            pixels: of the image.
            lone: as for `answer`.

        >>> outputs = predictor.outputs(np.zeros((32, 48, 3), np.uint8))
        >>> outputs.probs.shape, outputs.embedding.shape
        ((3,), (1280,))
        """
        runner = self._lone if lone else self._session
        probs, embedding, unfamiliarity = runner.run(
            pixels[None], ("probabilities", "embedding", "unfamiliarity")
        )
        return Outputs(probs[0], embedding[0], float(unfamiliarity[0]))

    def run_batch(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(N, C) probabilities of images of one size, computed in one run of the graph.

        On a CPU it is no faster than `probabilities`, which takes images of any size.

        Args:
            pixels: (N, H, W, 3) uint8 RGB.

        >>> predictor.run_batch(np.zeros((2, 32, 48, 3), np.uint8)).shape
        (2, 3)
        """
        return self._session.run(pixels, ("probabilities",))[0]

    def activation_map(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32] | None:
        """(h, w) how much each place speaks for the answer; None if the network has no such map.

        Args:
            pixels: (H, W, 3) uint8 RGB.

        >>> predictor.activation_map(np.zeros((64, 64, 3), np.uint8)).ndim
        2
        """
        if "activation_map" not in self._session.outputs:
            return None
        (maps,) = self._session.run(pixels[None], ("activation_map",))
        return np.asarray(maps[0])

    def decisions(
        self, probs: NDArray[np.float32], unfamiliarity: NDArray[np.float32] | None
    ) -> NDArray[Any]:
        """(N,) "answered", "unsure" or "unfamiliar", by the rule in the model file.

        Args:
            probs: (N, C) as `probabilities` gives them.
            unfamiliarity: (N,), or None if it was not measured.

        >>> predictor.decisions(np.array([[0.98, 0.01, 0.01]], np.float32), None).tolist()
        ['answered']
        """
        familiar = unfamiliarity if self.card.detects_unfamiliar else None
        return self.card.rule.decide(probs, familiar)


def load(path: str | os.PathLike[str], *, provider: str = "cpu") -> Predictor:
    """Load the predictor of a model file.

    Loading runs no code from the file.

    Args:
        path: a model file, or a run folder, whose model.onnx is loaded.
        provider: what runs the network: "cpu", or another that onnxruntime has, as "cuda".

    Raises:
        UserError: there is no such file, it is damaged, or it is not a tellapart model file. Or
            onnxruntime has no such provider.

    >>> tellapart.load(run.path).classes
    ('brick', 'leaf', 'sky')
    """
    file = user_path(path)
    if file.is_dir():
        file = file / "model.onnx"
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        raise UserError(
            f"{file} does not exist.", nearest_path(file, "Give the model.onnx of a run folder.")
        ) from None
    except OSError as error:
        raise UserError(
            f"{file} cannot be read ({reason_of(error)}).", "Give a file that you may read."
        ) from None
    return Predictor(data, name=str(file), provider=provider)


def image_name(image: Image) -> str:
    """What the answer to an image calls it; "" for an image that is not given as a path."""
    if isinstance(image, StoredImage):
        return image.name
    return escape(os.fspath(image)) if isinstance(image, str | os.PathLike) else ""


def _reloaded(model: bytes, provider: str) -> Predictor:
    return Predictor(model, provider=provider)


def _several(images: object) -> Iterable[Image]:
    """The images of a list, tuple or iterator.

    Raises:
        UserError: it is something else. A dict or a set would be iterated without complaint, but
            its order is not that of the images.
    """
    if isinstance(images, Sequence | Iterator):
        return images
    raise UserError(f"Images cannot be of type {type(images).__name__}.", FORMS)


def _with_position(function: Callable[[Image], Row]) -> Callable[[tuple[int, Image]], Row]:
    """The function of a numbered image; its errors say which one they are about."""

    def numbered(pair: tuple[int, Image]) -> Row:
        position, image = pair
        try:
            return function(image)
        except UserError as error:
            raise UserError(f"Image {position} (from 0): {error.message}", error.hint) from None

    return numbered


def _usable(decoded: Decoded) -> NDArray[np.uint8]:
    if decoded.pixels is None:
        raise UserError(
            f"it cannot be used, its status is {decoded.status!r}. {decoded.detail}",
            "Leave it out, or call predict, which gives such an image a status.",
        )
    return decoded.pixels
