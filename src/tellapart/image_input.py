"""Any form in which a caller may hand over an image → what the decode contract makes of it.

path ──────────────────────────────▶ decode_file ─┐
bytes, bytearray, memoryview ──────▶ decode ──────┤
binary file object ─ read ─────────▶ decode ──────┼─▶ Decoded
PIL image ─────────────────────────▶ decode_image ┤
array, tensor ─ checked ───────────▶ decode_image ┘
"""

from __future__ import annotations

import inspect
import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias, TypeGuard, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from tellapart.decoders.rules import DEFAULT_RULES, DecodeRules
from tellapart.decoding import (
    MAX_FILE_BYTES,
    Decoded,
    decode,
    decode_file,
    decode_image,
)
from tellapart.errors import UserError
from tellapart.home import user_path

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class StoredImage:
    """An image in an archive or another file that holds many.

    Args:
        name: what answers call it.
        read: gives its bytes, or the verdict that says why there are none.
    """

    name: str
    read: Callable[[], bytes | Decoded]


# One image, in any form.
Image: TypeAlias = (
    "str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | PillowImage.Image"
    " | NDArray[np.uint8] | Tensor | StoredImage"
)

FORMS = (
    "Give a path, bytes, a binary file, a PIL image, a uint8 array or tensor, or a list of these."
)
_SHAPES = "(H, W, 3) for RGB, (H, W) for grey or (H, W, 4) for RGB with transparency"

# A file or a lazily opened image may be given twice, and two threads must not read it at once.
# One lock for all would decode one image at a time; the prime spreads addresses, all multiples of
# 16, over the locks.
_LOCKS = tuple(Lock() for _ in range(61))


def is_image(value: object) -> bool:
    """Whether a value is one image, rather than a list of images or something else.

    >>> is_image("cat.jpg"), is_image(["cat.jpg"]), is_image(np.zeros((4, 4), np.uint8))
    (True, False, True)
    """
    return (
        isinstance(value, _PLAIN_FORMS)
        or _is_file(value)
        or isinstance(value, PillowImage.Image)
        or _is_tensor(value)
    )


def decode_input(image: Image, *, rules: DecodeRules = DEFAULT_RULES) -> Decoded:
    """Decode one image, whatever its form. What its content is never raises: a status says it.

    Args:
        image: a path, bytes, a binary file, a PIL image, a uint8 array or a uint8 tensor. A file is
            read from its start where it can be sought, else from where it stands.
        rules: the settings of the decode contract.

    Raises:
        UserError: the form is another one, or an array or tensor has another type or shape.

    >>> decode_input(np.zeros((4, 6), np.uint8)).pixels.shape
    (4, 6, 3)
    >>> decode_input(b"").status
    'empty'
    """
    if isinstance(image, str | os.PathLike):
        return decode_file(user_path(image), rules=rules)
    if isinstance(image, bytes | bytearray | memoryview):
        return decode(bytes(image), rules=rules)
    if isinstance(image, StoredImage):
        data = image.read()
        return data if isinstance(data, Decoded) else decode(data, rules=rules)
    if isinstance(image, PillowImage.Image):
        with _lock_of(image):
            return decode_image(image, rules=rules)
    if is_array(image):
        return _decode_array(as_array(image), rules)
    if _is_file(image):
        data = _read(cast(BinaryIO, image))
        return data if isinstance(data, Decoded) else decode(data, rules=rules)
    raise UserError(f"An image cannot be of type {type(image).__name__}.", FORMS)


def is_array(value: object) -> TypeGuard[NDArray[Any] | Tensor]:
    """Whether a value is an array or a tensor, whatever it holds."""
    return isinstance(value, np.ndarray) or _is_tensor(value)


def as_array(image: NDArray[Any] | Tensor) -> NDArray[np.uint8]:
    """An array or tensor as an array of shape (H, W), (H, W, 3) or (H, W, 4). Nothing is copied.

    Raises:
        UserError: it has another type or shape.
    """
    array = image if isinstance(image, np.ndarray) else _array_of(image)
    if array.dtype != np.uint8 or not _is_image_shape(array.shape):
        raise UserError(
            f"An array must be uint8 of shape {_SHAPES}, got {array.dtype} {array.shape}.",
            _way_out(array),
        )
    return array


def _decode_array(array: NDArray[np.uint8], rules: DecodeRules) -> Decoded:
    if (
        array.ndim == 3
        and array.shape[2] == 3
        and array.shape[0] * array.shape[1] <= rules.max_pixels
    ):
        # These are pixels as they are used, which Pillow would only copy, twice.
        return Decoded("ok", pixels=np.ascontiguousarray(array))
    return decode_image(PillowImage.fromarray(array), rules=rules)


def _is_image_shape(shape: tuple[int, ...]) -> bool:
    return 0 not in shape and (len(shape) == 2 or (len(shape) == 3 and shape[2] in (3, 4)))


def _way_out(array: NDArray[Any]) -> str:
    """What to do with an array that is none of the shapes and types."""
    if array.dtype.kind in "OUS":
        return "Give a list instead: list(array)."
    if array.dtype.kind == "f":
        return "Convert values from 0 to 1 with (255 * array).round().astype(numpy.uint8)."
    if array.ndim == 4:
        return "Give a list of images instead: list(array)."
    if array.ndim == 3 and array.shape[0] in (1, 3, 4):
        return "Move the channels to the end with array.transpose(1, 2, 0)."
    return "Convert it first."


def _array_of(tensor: Tensor) -> NDArray[Any]:
    shape, kind = tuple(tensor.shape), str(tensor.dtype).removeprefix("torch.")
    got = f"got {kind} {shape}"
    if kind != "uint8":
        raise UserError(
            f"A tensor must be uint8, {got}.",
            "Undo any normalisation, which the model file does itself, and convert values from 0 to"
            " 1 with (255 * tensor).round().to(torch.uint8).",
        )
    first, last = (len(shape) == 3 and shape[axis] == 3 for axis in (0, -1))
    if first == last:
        reason = f"{shape} can be read both ways" if first else got
        raise UserError(
            f"A tensor must be of shape (3, H, W) or (H, W, 3), {reason}.",
            "Give an array of shape (H, W, 3) instead: tensor.permute(1, 2, 0).numpy().",
        )
    pixels = tensor.detach().cpu().numpy()
    return pixels.transpose(1, 2, 0) if first else pixels


def _read(file: BinaryIO) -> bytes | Decoded:
    """The bytes of an open file, or the verdict that says why there are none.

    Raises:
        UserError: the file is closed, or in text mode.
    """
    if isinstance(file, io.TextIOBase):
        raise _text_mode()
    with _lock_of(file):
        if getattr(file, "closed", False):
            raise UserError("The file is closed.", 'Open it with open(path, "rb").')
        try:
            # The start, as Pillow does it: a file that was read once must not look empty.
            if getattr(file, "seekable", lambda: False)():
                file.seek(0)
            data = _some(file)
        except MemoryError:
            return Decoded("too_large", detail="It does not fit into memory.")
        except OSError:
            return Decoded("unreadable", detail="Reading it failed in the operating system.")
    if inspect.isawaitable(data):
        if inspect.iscoroutine(data):
            data.close()
        raise UserError(
            f"The read() of {type(file).__name__} has to be awaited.",
            "Give its bytes: await file.read().",
        )
    if not isinstance(data, bytes | bytearray | memoryview):
        raise _text_mode()
    if len(data) > MAX_FILE_BYTES:
        return Decoded("too_large", detail=f"The file is larger than {MAX_FILE_BYTES:,} bytes.")
    return bytes(data)


def _some(file: BinaryIO) -> object:
    try:
        return file.read(MAX_FILE_BYTES + 1)
    except TypeError:  # what a server hands over may have a read() that takes no size
        return file.read()


def _text_mode() -> UserError:
    return UserError(
        "The file is open in text mode, and an image is bytes.", 'Open it with open(path, "rb").'
    )


def _is_file(value: object) -> bool:
    return callable(getattr(value, "read", None))


def _is_tensor(value: object) -> bool:
    """Whether a value is a torch tensor. Asked by name, since torch takes seconds to import."""
    return any(
        kind.__name__ == "Tensor" and kind.__module__.partition(".")[0] == "torch"
        for kind in type(value).__mro__
    )


def _lock_of(value: object) -> Lock:
    return _LOCKS[id(value) % len(_LOCKS)]


_PLAIN_FORMS = (str, os.PathLike, bytes, bytearray, memoryview, np.ndarray, StoredImage)
