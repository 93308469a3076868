"""A scikit-learn estimator: images and labels in memory → a trained model that predicts labels.

X, y ─ pairs of image and class name ─▶ train ─▶ Run ─▶ Predictor ─▶ probabilities ─▶ labels
"""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image as PillowImage
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    check_array,
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
)

from tellapart.decoding import Decoded, read_file
from tellapart.errors import UserError
from tellapart.home import user_path
from tellapart.image_input import Image, decode_input, is_image
from tellapart.jobs.train import train

if TYPE_CHECKING:
    from sklearn.utils import Tags

    from tellapart.recipe import Recipe
    from tellapart.sources.source import Source

_GIVE_IMAGES = (
    "Give a list of paths, bytes, PIL images or uint8 arrays, or a uint8 array of shape"
    " (N, H, W, 3)."
)

# The temporary folder of each fitted estimator, removed with it. Not an attribute: an estimator is
# copied and pickled, and a copy must not remove the folder.
_FOLDERS: weakref.WeakKeyDictionary[ImageClassifier, weakref.finalize[..., Any]]


class ImageClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # no types there
    """An image classifier for scikit-learn: `fit`, `predict`, `predict_proba` and `score`.

    A probe uses all images that it is given, to fit and, out of fold, to calibrate. Training by
    gradient sets some aside to calibrate (`split.val`). No test split is cut, because scikit-learn
    holds test images back itself, so `run_.metrics` has no score. Set `split.test` above 0 to get
    one.

    Args:
        recipe: the name of a recipe, a YAML file, or a Recipe.
        set: recipe keys and their values, as for `tellapart.train`.
        seed: decides every random decision. None means the recipe's own seed.
        out: the folder that holds the run folders. None means a temporary folder, which is removed
            together with the estimator.
        quiet: whether the training prints nothing.

    Attributes:
        classes_: (C,) the labels, sorted, in the type of `y`.
        run_: the finished `Run`.
        predictor_: the `Predictor` of the trained model.

    >>> files = sorted(photos.glob("*/*.jpg"))
    >>> labels = [file.parent.name for file in files]
    >>> model = tellapart.ImageClassifier(set={"preprocessing.size_px": 64})
    >>> model = model.fit(files, labels)
    >>> model.predict([photos / "sky" / "000.jpg"]).tolist()
    ['sky']
    """

    def __init__(
        self,
        recipe: str | Recipe = "probe",
        *,
        set: Mapping[str, Any] | None = None,
        seed: int | None = None,
        out: str | os.PathLike[str] | None = None,
        quiet: bool = True,
    ) -> None:
        self.recipe = recipe
        self.set = set
        self.seed = seed
        self.out = out
        self.quiet = quiet

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        return tags

    def fit(self, X: Iterable[Image], y: ArrayLike) -> ImageClassifier:  # noqa: N803
        """Train on images and their labels.

        Args:
            X: N images: a list of paths, bytes, PIL images or uint8 arrays, or a uint8 array of
                shape (N, H, W, 3).
            y: (N,) labels, of any type that scikit-learn accepts for classes.

        Returns:
            The estimator itself.

        Raises:
            UserError: the images cannot be used, or the recipe cannot be followed.
            ValueError: the labels cannot be used.

        >>> files = sorted(photos.glob("*/*.jpg"))
        >>> is_sky = [file.parent.name == "sky" for file in files]
        >>> model = tellapart.ImageClassifier(set={"preprocessing.size_px": 64}).fit(files, is_sky)
        >>> model.classes_.tolist()
        [False, True]
        """
        images, labels = self._images(X), _checked_labels(y)
        check_consistent_length(images, labels)
        self.classes_, places = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                "A classifier needs at least two classes, and y has one class:"
                f" {labels.tolist()[0]!r}."
            )
        names = [str(label) for label in self.classes_.tolist()]
        pairs = zip(_trainable(images), (names[place] for place in places), strict=True)
        self.run_ = train(
            cast("Source", list(pairs)),
            recipe=self.recipe,
            set={"split.test": 0, **(self.set or {})},
            seed=self.seed,
            out=self._run_folder(),
            name="images",
            quiet=self.quiet,
        )
        self.predictor_ = self.run_.predictor()
        missing = [name for name in names if name not in self.predictor_.classes]
        if missing:
            raise UserError(
                f"No image of the class {missing[0]!r} can be used.",
                "Call tellapart.explore on the images to see why.",
            )
        self._columns = [self.predictor_.classes.index(name) for name in names]
        return self

    def predict(self, X: Iterable[Image]) -> NDArray[Any]:  # noqa: N803
        """(N,) the most probable label of each image.

        Args:
            X: N images, in any of the forms that `fit` takes.

        >>> files = sorted(photos.glob("*/*.jpg"))
        >>> labels = [file.parent.name for file in files]
        >>> model = tellapart.ImageClassifier(set={"preprocessing.size_px": 64}).fit(files, labels)
        >>> model.predict([photos / "leaf" / "000.jpg"]).tolist()
        ['leaf']
        """
        check_is_fitted(self)
        probs = self.predictor_.probabilities(self._images(X))
        answers = self.predictor_.card.rule.answers(probs)
        label_of = {column: label for label, column in enumerate(self._columns)}
        return np.asarray(self.classes_[[label_of[column] for column in answers.tolist()]])

    def predict_proba(self, X: Iterable[Image]) -> NDArray[np.float32]:  # noqa: N803
        """(N, C) float32 calibrated probabilities; the columns are those of `classes_`.

        Args:
            X: N images, in any of the forms that `fit` takes.

        Raises:
            UserError: an image cannot be used. The message names its position.

        >>> files = sorted(photos.glob("*/*.jpg"))
        >>> labels = [file.parent.name for file in files]
        >>> model = tellapart.ImageClassifier(set={"preprocessing.size_px": 64}).fit(files, labels)
        >>> model.predict_proba(files[:2]).shape
        (2, 3)
        """
        check_is_fitted(self)
        return np.asarray(self.predictor_.probabilities(self._images(X))[:, self._columns])

    def _images(self, X: Iterable[Image]) -> list[Image]:  # noqa: N803
        """The images as a list."""
        shape = getattr(X, "shape", None)
        if is_image(X) and (shape is None or len(shape) not in (1, 4)):
            raise UserError("X must be several images.", _GIVE_IMAGES)
        if hasattr(X, "columns") or isinstance(X, Mapping) or not isinstance(X, Iterable):
            raise UserError(f"X cannot be of type {type(X).__name__}.", _GIVE_IMAGES)
        return list(X)

    def _run_folder(self) -> Path:
        """Where the run is written. An earlier temporary run is removed."""
        if self.out is not None:
            return user_path(self.out)
        if self in _FOLDERS:
            _FOLDERS.pop(self)()
        folder = tempfile.mkdtemp(prefix="tellapart-")
        _FOLDERS[self] = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return Path(folder)


_FOLDERS = weakref.WeakKeyDictionary()


def _checked_labels(y: ArrayLike) -> NDArray[Any]:
    """(N,) labels of classes, in the type in which they were given.

    Raises:
        ValueError: they are missing, not one a row, not finite, or not of classes.
    """
    if y is None:
        raise ValueError("ImageClassifier requires y to be passed, but the target y is None.")
    labels = column_or_1d(check_array(y, ensure_2d=False, dtype=None, input_name="y"), warn=True)
    check_classification_targets(labels)
    return np.asarray(labels)


def _trainable(images: Sequence[Image]) -> list[Image]:
    """Images that a training can read whenever it wants: all paths, or all in memory."""
    if all(isinstance(image, str | os.PathLike) for image in images):
        return list(images)
    return [_in_memory(image) for image in images]


def _in_memory(image: Image) -> Image:
    """An image that needs no file. What cannot be read is empty, so the scan rejects it."""
    if isinstance(image, str | os.PathLike):
        data = read_file(user_path(image))
        return b"" if isinstance(data, Decoded) else data
    if isinstance(image, _HELD_FORMS):
        return image
    pixels = decode_input(image).pixels  # a file or a tensor
    return b"" if pixels is None else pixels


_HELD_FORMS = (bytes, bytearray, memoryview, np.ndarray, PillowImage.Image)
