"""A folder of explanations: a picture for each image, and a page that shows them all."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Generator, Iterable
from itertools import count
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tellapart.errors import UserError
from tellapart.explain.explainer import Explainer
from tellapart.explain.map_checks import CHECKED, check_maps
from tellapart.explain.page import Checks, Explained, explanations_page
from tellapart.explain.sheet import Near, draw_sheet, explanation_panels
from tellapart.home import user_path
from tellapart.image_input import Image, StoredImage, decode_input
from tellapart.modelfile.predictor import Answer, Predictor, image_name
from tellapart.runs.neighbours import Neighbour, Neighbours
from tellapart.threads import map_ahead
from tellapart.writing import write_whole

NEAREST = 3
_PAGE, _CHECKS = "index.html", "checks.jpg"
_GENERATOR = b'name="generator" content="tellapart"'

# The pixels of a training image; None where it cannot be shown.
Photo = Callable[[Neighbour], NDArray[np.uint8] | None]


class ExplanationFolder:
    """Explains the first images of a prediction, and writes the page when they are done.

    Args:
        folder: new, empty, or from an earlier prediction.
        predictor: of the model.
        index: of the run; None where there is none.
        photo: reads the training images of the index.
        remarks: sentences for the page, on what is not there.

    Raises:
        UserError: the folder holds something else.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        predictor: Predictor,
        index: Neighbours | None = None,
        photo: Photo = lambda neighbour: None,
        remarks: Iterable[str] = (),
    ) -> None:
        self.path = user_path(folder)
        _check(self.path)
        self._predictor, self._index, self._photo = predictor, index, photo
        self._explainer = Explainer(predictor)
        self._remarks = list(remarks)
        self._entries: list[Explained] = []
        self._shown: list[tuple[NDArray[np.uint8], int]] = []  # pixels and answers, for the checks

    @property
    def page(self) -> Path:
        """Where the page is."""
        return self.path / _PAGE

    @property
    def count(self) -> int:
        """How many images have been explained."""
        return sum(bool(entry.picture) for entry in self._entries)

    def answers(
        self, images: Iterable[Image], *, sets: float | None = None
    ) -> Generator[Answer, None, None]:
        """The answers to some images, which are explained at the same time.

        Args:
            images: those to explain, in any form that `Predictor.predict` takes.
            sets: as for `Predictor.predict_each`.
        """

        def explain(pair: tuple[int, Image]) -> tuple[Explained, NDArray[np.uint8] | None]:
            return self._explain(*pair, sets)

        for entry, pixels in map_ahead(explain, zip(count(1), images, strict=False), ahead=2):
            self._entries.append(entry)
            if pixels is not None:
                self._keep(pixels, self._predictor.classes.index(entry.answer.answer))
            yield entry.answer

    def _keep(self, pixels: NDArray[np.uint8], label: int) -> None:
        """Keep the first images for the checks, and one with another answer where there is one."""
        alike = all(answer == label for _, answer in self._shown)
        if len(self._shown) < CHECKED or (len(self._shown) == CHECKED and not alike):
            self._shown.append((pixels, label))

    def finish(self, more: bool) -> Path:
        """Check the maps, and write the page; returns where it is.

        Args:
            more: whether there were images beyond those explained.
        """
        remarks = list(self._remarks)
        if more:
            remarks.append(
                f"Only the first {len(self._entries)} images are explained. Name others to see why"
                " they are answered so."
            )
        page = explanations_page(self._entries, self._explainer.kind, self._checks(), remarks)
        write_whole(self.page, page)
        return self.page

    def _explain(
        self, number: int, image: Image, sets: float | None
    ) -> tuple[Explained, NDArray[np.uint8] | None]:
        decoded = decode_input(image, rules=self._predictor.card.decoding)
        answer = self._predictor.answer(decoded, image_name(image), sets=sets)
        if decoded.pixels is None:
            return Explained(answer), None
        explanation = self._explainer.explain(decoded.pixels)
        near = self._nearest(explanation.embedding, image)
        name = answer.path.rpartition("/")[2] or f"image {number}"
        take = self._predictor.card.preprocessing
        panels = explanation_panels(name, decoded.pixels, explanation, near, take)
        picture = f"{number:04}.jpg"
        write_whole(self.path / picture, draw_sheet(panels))
        other = explanation.runner_up
        runner_up = None if other is None else (other.name, other.probability)
        neighbours = tuple(entry.neighbour for entry in near)
        return Explained(answer, picture, runner_up, neighbours), decoded.pixels

    def _nearest(self, embedding: NDArray[np.float32], image: Image) -> list[Near]:
        if self._index is None:
            return []
        found = self._index.nearest(embedding, NEAREST, leave_out=_digest(image))
        return [Near(neighbour, self._photo(neighbour)) for neighbour in found]

    def _checks(self) -> Checks | None:
        found = check_maps(self._explainer, self._shown)
        if found is None:
            return None
        write_whole(self.path / _CHECKS, draw_sheet(found.panels))
        return Checks(_CHECKS, found.lines)


def _check(folder: Path) -> None:
    """Refuse a folder in which something could be replaced that is not ours.

    Raises:
        UserError: it is a file, or holds something and no page of ours.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file.", "Name a folder for the explanations.")
    page = folder / _PAGE
    ours = page.is_file() and _GENERATOR in page.read_bytes()[:4096]
    if folder.is_dir() and not ours and any(folder.iterdir()):
        raise UserError(
            f"{folder} holds other files, which explanations could replace.",
            "Name a new folder, or an empty one.",
        )


def _digest(image: Image) -> str | None:
    """The digest of the image's file; None where there is no file."""
    try:
        if isinstance(image, str | os.PathLike):
            return hashlib.sha256(user_path(image).read_bytes()).hexdigest()
    except OSError:
        return None
    data = image.read() if isinstance(image, StoredImage) else image
    return hashlib.sha256(data).hexdigest() if isinstance(data, bytes) else None
