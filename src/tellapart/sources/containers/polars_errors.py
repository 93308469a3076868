"""What polars raises for a file that it cannot read."""

from __future__ import annotations

import struct


def polars_errors() -> tuple[type[BaseException], ...]:
    """The exceptions of polars, to be caught around every read of a file of the user's.

    A panic is one of them: damaged files reach code of polars that expects whole ones, and a panic
    is no `Exception`.
    """
    import polars

    return (
        polars.exceptions.PolarsError,
        polars.exceptions.PanicException,
        OSError,
        ValueError,
        LookupError,
        MemoryError,
        struct.error,
    )
