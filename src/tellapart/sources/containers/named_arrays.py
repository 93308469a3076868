"""Arrays with names, some of images and some of their labels: which belong together.

    x_train, y_train, x_test, y_test        as Keras has them
    train_images, train_labels, val_…       as MedMNIST has them
    images, labels                          in one file, or in a file for each split

The names say it: what is left of them without the words for images and labels is equal.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tellapart.decoding import MAX_FILE_BYTES, Decoded
from tellapart.errors import UserError
from tellapart.phrases import listed
from tellapart.sources.containers.arrays import MAX_RECORDS, to_bmp
from tellapart.sources.containers.shards import Label, Shard

_IMAGE_WORDS = frozenset(["x", "image", "images", "img", "imgs", "data", "pixels", "inputs"])
_LABEL_WORDS = frozenset(["y", "label", "labels", "target", "targets", "class", "classes"])
_NAME_WORDS = ("class_names", "label_names", "classes", "class_list", "categories", "names")
_NO_IMAGES = frozenset(["mask", "masks", "segmentation", "segmentations"])
_JOINED = re.compile("(x|y)(train|test|val|valid)|(train|test|val|valid)(x|y)")


class NamedArray(NamedTuple):
    """One array of a file.

    Args:
        path: the catalog path of its file, and its name there: "pathmnist.npz/train_images".
        stamp: the stamp of its file.
        shape: its shape.
        dtype: the type of its values.
        row: number → one row. It raises OSError or ValueError where that cannot be read.
        whole: all values. It raises the same.
    """

    path: str
    stamp: tuple[str, float]
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    row: Callable[[int], NDArray[np.generic]]
    whole: Callable[[], NDArray[np.generic]]


class _Layout(NamedTuple):
    height: int
    width: int
    channels: int
    planar: bool  # the channels come first


def paired(name: str, arrays: Sequence[NamedArray], *, labelled: bool) -> list[Shard]:
    """The images among some arrays, with their labels.

    Args:
        name: what messages call the source.
        arrays: all that it holds.
        labelled: whether labels are wanted.

    Raises:
        UserError: there are no images, their labels are missing, or they cannot be used.
    """
    images = [array for array in arrays if _is_of_images(array)]
    labels = [array for array in arrays if _may_be_labels(array)]
    if not images:
        raise _without_images(name, arrays)
    if not labelled:
        return [_unlabelled(name, image) for image in images]
    names = _class_names(arrays)
    return [_shard(name, image, _labels_of(name, image, images, labels), names) for image in images]


def _unlabelled(name: str, images: NamedArray) -> Shard:
    layout, nothing = _layout(name, images), [None] * images.shape[0]
    return Shard(images.path, images.stamp, nothing, lambda number: _image(images, layout, number))


def _shard(name: str, images: NamedArray, labels: NamedArray, class_names: Sequence[str]) -> Shard:
    layout = _layout(name, images)
    found = _label_values(name, labels)
    numbers = [label for label in found if isinstance(label, int)]
    fits = bool(numbers) and max(numbers) < len(class_names)
    return Shard(
        images.path,
        images.stamp,
        found,
        lambda number: _image(images, layout, number),
        class_names=class_names if fits else (),
    )


def _image(images: NamedArray, layout: _Layout, number: int) -> bytes | Decoded:
    """One image as a BMP file."""
    try:
        values = np.asarray(images.row(number), np.uint8)
        if layout.planar:
            values = values.reshape(layout.channels, layout.height, layout.width).transpose(1, 2, 0)
        return to_bmp(values.reshape(layout.height, layout.width, layout.channels))
    except (OSError, ValueError, KeyError, RuntimeError):
        return Decoded("corrupt", detail="Its row of the array cannot be read.")


# ── which arrays belong together ──


def _words(path: str) -> list[str]:
    """The words of a file's name without its ending and of an array's name."""
    text = re.sub(r"\.[A-Za-z0-9]+(?=/|$)", "", path)
    text = re.sub("(?<=[a-z])(?=[A-Z])", "_", text).lower()
    words = re.findall("[a-z]+|[0-9]+", text)
    return [word for joined in words for word in _apart(joined)]


def _apart(word: str) -> list[str]:
    """ "xtrain" as "x" and "train"."""
    match = _JOINED.fullmatch(word)
    return [part for part in match.groups() if part] if match else [word]


def _key(path: str) -> tuple[str, ...]:
    return tuple(word for word in _words(path) if word not in _IMAGE_WORDS | _LABEL_WORDS)


def are_partners(name: str, other: str) -> bool:
    """Whether two files may hold images and their labels, by their names.

    >>> are_partners("train_x.h5", "train_y.h5"), are_partners("train_x.h5", "test_y.h5")
    (True, False)
    """
    return _key(name) == _key(other)


def _is_of_images(array: NamedArray) -> bool:
    side = [size for size in array.shape[1:] if size > 1]
    words = set(_words(array.path))
    if words & _NO_IMAGES or len(array.shape) not in (3, 4) or len(side) < 2:
        return False
    return array.dtype == np.uint8 or bool(words & _IMAGE_WORDS and array.dtype.kind in "fiu")


def _may_be_labels(array: NamedArray) -> bool:
    is_known = array.dtype.kind in "iubUSO" and len(array.shape) > 0
    return is_known and (len(array.shape) in (1, 2) or math.prod(array.shape[1:]) == 1)


def _labels_of(
    name: str, images: NamedArray, among: Sequence[NamedArray], labels: Sequence[NamedArray]
) -> NamedArray:
    """The labels of an array of images."""
    count = images.shape[0]
    named = [array for array in labels if set(_words(array.path)) & _LABEL_WORDS]
    fitting = [array for array in named if _key(array.path) == _key(images.path)]
    if not fitting and len(among) == 1:
        as_many = [array for array in labels if array.shape[:1] == (count,)]
        fitting = [array for array in as_many if array in named] or as_many
    if len(fitting) != 1:
        found = listed([f"{array.path} {array.shape}" for array in (*among, *labels)], 12)
        what = "several arrays of labels" if fitting else "no array of labels"
        raise UserError(
            f"{name} holds {what} for {images.path}. It holds {found}.",
            "Name them x_train and y_train, x_test and y_test, or images and labels.",
        )
    if fitting[0].shape[0] != count:
        raise UserError(
            f"{images.path} of {name} holds {count:,} images, but {fitting[0].path} holds"
            f" {fitting[0].shape[0]:,} labels.",
            "Take both from one source.",
        )
    return fitting[0]


def _class_names(arrays: Sequence[NamedArray]) -> tuple[str, ...]:
    """The class names that an array lists, or nothing."""
    for array in arrays:
        last = array.path.rpartition("/")[2].lower()
        if last in _NAME_WORDS and array.dtype.kind in "USO" and len(array.shape) == 1:
            return tuple(_text(value) for value in array.whole().tolist())
    return ()


def _without_images(name: str, arrays: Sequence[NamedArray]) -> UserError:
    found = listed([f"{array.path} {array.shape} {array.dtype}" for array in arrays], 8)
    return UserError(
        f"{name} holds no arrays of images. It holds {found or 'no array at all'}.",
        "Save images as uint8 of shape (N, height, width) or (N, height, width, 3), and labels"
        " beside them: x_train and y_train, x_test and y_test, or images and labels.",
    )


# ── what they hold ──


def _layout(name: str, images: NamedArray) -> _Layout:
    full = f"{images.path} of {name}"
    if images.dtype != np.uint8:
        raise UserError(
            f"{full} holds numbers of type {images.dtype}.",
            "Save it with values from 0 to 255: if they are from 0 to 1, as"
            " (images * 255).round().astype('uint8').",
        )
    count, *shape = images.shape
    planar = len(shape) == 3 and shape[0] in (1, 3) and shape[2] not in (1, 3)
    if planar:
        channels, height, width = shape
    else:
        height, width, channels = (*shape, 1)[:3]
    if channels not in (1, 3):
        raise UserError(
            f"{full} has {channels} values a pixel.", "Give an array with 1 (grey) or 3 (RGB)."
        )
    if not count or count > MAX_RECORDS or math.prod(shape) > MAX_FILE_BYTES:
        raise UserError(
            f"{full} holds {count:,} images of {math.prod(shape):,} bytes, which is none, or beyond"
            " the limits.",
            f"At most {MAX_RECORDS:,} of {MAX_FILE_BYTES:,} bytes are read.",
        )
    return _Layout(height, width, channels, planar)


def _label_values(name: str, labels: NamedArray) -> list[Label]:
    full = f"{labels.path} of {name}"
    try:
        values = labels.whole()
    except (OSError, ValueError, KeyError, RuntimeError):
        raise UserError(f"{full} cannot be read.", "Copy or download it again.") from None
    columns = math.prod(values.shape[1:])
    if columns == 1:
        return [_label(value) for value in values.reshape(-1).tolist()]
    if not values.size or values.dtype.kind not in "iub" or not _is_one_hot(values):
        raise UserError(
            f"{full} has {columns} values an image, which are no single class.",
            "Save one number or name for each image.",
        )
    return [int(position) for position in values.argmax(axis=1)]


def _is_one_hot(values: NDArray[np.generic]) -> bool:
    ones = np.asarray(values == 1)
    return bool((ones.sum(axis=1) == 1).all() and (ones | np.asarray(values == 0)).all())


def _label(value: object) -> Label:
    if isinstance(value, bool):
        return str(value)
    return value if isinstance(value, int) else _text(value) or None


def _text(value: object) -> str:
    return (value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)).strip()
