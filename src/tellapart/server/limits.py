"""What a client may send and how long anything may take. None of these limits can be switched off."""

from __future__ import annotations

from dataclasses import dataclass

from tellapart.errors import require

MEGABYTE = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The limits of a server.

    Args:
        max_bytes: of a request's body, 1 kB to 1 GB.
        max_images: in one request, 1 to 1,000.
        max_header_bytes: of a request's line and headers together.
        max_connections: open at once. A client beyond them is told to come back.
        waiting: how many images may wait for a worker, 1 to 100,000. Beyond them a client is told to
            come back.
        receive_seconds: from the first byte of a request to its last. The same holds for a response
            that a client does not take.
        answer_seconds: from a whole request to its answer. What has waited as long is not computed.
        compute_seconds: that decoding and answering one image may take.
        stop_seconds: that the answers in progress have to finish when the server is stopped.

    >>> Limits(max_bytes=5_000_000).max_images
    64
    """

    max_bytes: int = 32 * MEGABYTE
    max_images: int = 64
    max_header_bytes: int = 32_768
    max_connections: int = 1_000
    waiting: int = 128
    receive_seconds: float = 15.0
    answer_seconds: float = 15.0
    compute_seconds: float = 10.0
    stop_seconds: float = 30.0

    def __post_init__(self) -> None:
        for name, least, most in (
            ("max_bytes", 1_000, 1_000 * MEGABYTE),
            ("max_images", 1, 1_000),
            ("max_connections", 1, 100_000),
            ("waiting", 1, 100_000),
            ("receive_seconds", 0.1, 3_600),
            ("answer_seconds", 0.1, 3_600),
            ("compute_seconds", 0.1, 3_600),
            ("stop_seconds", 0.1, 3_600),
        ):
            value = getattr(self, name)
            require(least <= value <= most, name, value, f"must be {least:g} to {most:g}")
