"""Decoders speak of odd files on the terminal. Here those files are statuses and notes, so all are
silent.

    Python warnings          ─▶ a warnings filter
    log records              ─▶ a handler that drops what nobody asked to see
    libtiff's own lines      ─▶ libtiff without handlers; its return values still say what failed

All three hold for the whole process. `warnings.catch_warnings`, or another file descriptor 2 for
the time of a decode, would not be safe with threads.
"""

from __future__ import annotations

import functools
import logging
import re
import warnings

from PIL import _imaging

_MODULE = r"(PIL|pydicom|pillow_heif|pillow_jxl)\b"
_QUIET = ("ignore", None, Warning, re.compile(_MODULE), 0)
_LIBTIFF_SETTERS = (
    "TIFFSetWarningHandler",
    "TIFFSetWarningHandlerExt",
    "TIFFSetErrorHandler",
    "TIFFSetErrorHandlerExt",
)


def hush_decoders(kind: str) -> None:
    """Silence what decoding an image of this format may print.

    The filter is checked each time, because others, such as test runners, put the old filters
    back. A filter "error" would reject good images.
    """
    if not warnings.filters or warnings.filters[0] != _QUIET:
        warnings.filterwarnings("ignore", module=_MODULE)
    _hush_log()
    if kind == "TIFF":
        _hush_libtiff()


@functools.cache
def _hush_log() -> None:
    """Keep the decoders' records from logging's last resort, which prints them where no handler is set.
    Who sets handlers still gets them.
    """
    for name in ("PIL", "pydicom"):
        logging.getLogger(name).addHandler(logging.NullHandler())


@functools.cache
def _hush_libtiff() -> None:
    """Take away libtiff's handlers, which write to the C library's stderr.

    The symbols are looked up through Pillow's own module, so that the libtiff it uses is meant,
    bundled or of the system. Where libtiff is linked in without its names, as on Windows, it keeps
    its handlers.
    """
    try:
        import ctypes

        pillow = ctypes.CDLL(_imaging.__file__)
        for name in _LIBTIFF_SETTERS:
            setter = getattr(pillow, name)
            setter.argtypes, setter.restype = (ctypes.c_void_p,), ctypes.c_void_p
            setter(None)
    except (ImportError, OSError, AttributeError):
        return
