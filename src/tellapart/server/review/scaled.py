"""Images as a browser shows them: decoded by the decode contract, scaled, and kept for a while."""

from __future__ import annotations

import hashlib
import io
from collections import OrderedDict
from threading import Lock

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tellapart.catalog.files import Files
from tellapart.decoders.rules import DecodeRules
from tellapart.decoding import Decoded, decode

SIZES = {"small": 240, "large": 1280, "full": 4096}  # pixels of the longer side, at most
MOST_BYTES = 128_000_000  # of scaled images that are kept
LOSSLESS_PX = 256  # JPEG would blur what an image of this size shows
QUALITY = 90


class Missing(Exception):
    """An image that cannot be shown; its text says why, in a sentence."""


class Scaled:
    """Scaled images, made when they are asked for. Many threads may use it.

    Args:
        files: where the images are.
        rules: by which the model decodes.
    """

    def __init__(self, files: Files, rules: DecodeRules) -> None:
        self._files, self._rules = files, rules
        self._kept: OrderedDict[tuple[str, str, str], tuple[bytes, str]] = OrderedDict()
        self._bytes, self._lock = 0, Lock()

    def get(self, path: str, digest: str, size: str) -> tuple[bytes, str]:
        """The scaled image, and its media type.

        Args:
            path: in the data.
            digest: SHA-256 that the file must have.
            size: a key of `SIZES`.

        Raises:
            Missing: the file is gone, changed or damaged.
        """
        key = (path, digest, size)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        made = encode(self.pixels(path, digest), SIZES[size])
        with self._lock:
            if key not in self._kept:
                self._kept[key] = made
                self._bytes += len(made[0])
            while self._bytes > MOST_BYTES and len(self._kept) > 1:
                _, (data, _) = self._kept.popitem(last=False)
                self._bytes -= len(data)
        return made

    def pixels(self, path: str, digest: str) -> NDArray[np.uint8]:
        """The pixels of an image, (H, W, 3).

        Raises:
            Missing: the file is gone, changed or damaged.
        """
        data = self._files.read(path)
        if isinstance(data, Decoded):
            raise Missing(data.detail or "The file cannot be read.")
        if hashlib.sha256(data).hexdigest() != digest:
            raise Missing("The file has changed since the audit.")
        decoded = decode(data, rules=self._rules)
        if decoded.pixels is None:
            raise Missing(decoded.detail or "The file is no image that can be used.")
        return decoded.pixels


def encode(pixels: NDArray[np.uint8], most_px: int) -> tuple[bytes, str]:
    """An image in the size of a screen, and its media type.

    >>> encode(np.zeros((40, 60, 3), np.uint8), 30)[1]
    'image/png'
    """
    image = Image.fromarray(pixels)
    image.thumbnail((most_px, most_px), Image.Resampling.LANCZOS, reducing_gap=2.0)
    buffer = io.BytesIO()
    if max(pixels.shape[:2]) <= LOSSLESS_PX:
        image.save(buffer, "PNG", compress_level=1)
        return buffer.getvalue(), "image/png"
    image.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue(), "image/jpeg"
