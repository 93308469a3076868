"""The body of a request, within limits and in memory alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from multipart import (
    MultipartError,
    MultipartSegment,
    PushMultipartParser,
    parse_options_header,
)
from starlette.requests import ClientDisconnect, Request

from tellapart.server.limits import Limits
from tellapart.server.workers import Refusal

MOST_PART_HEADERS, LONGEST_PART_HEADER = 8, 4_096
FIELDS_BESIDE = 16  # parts that are no images


@dataclass(frozen=True)
class Upload:
    """One image that a client has sent: its name as text that is safe to show, and its bytes."""

    name: str
    data: bytes


async def read_body(request: Request, most: int) -> bytes:
    """The whole body.

    Raises:
        Refusal: it is larger than `most` bytes, or the client went away.
    """
    too_large = Refusal("too_large", 413, f"The body is larger than {most:,} bytes.")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Refusal("encoded", 415, "The body is compressed. Send it as it is.")
    stated = request.headers.get("content-length")
    if stated is not None and int(stated) > most:  # the parser has seen that it is a number
        raise too_large
    pieces, size = [], 0
    try:
        async for piece in request.stream():
            size += len(piece)
            if size > most:
                raise too_large
            pieces.append(piece)
    except ClientDisconnect:
        raise Refusal("gone", 499, "The client went away.") from None
    return b"".join(pieces)


async def read_uploads(request: Request, limits: Limits) -> tuple[list[Upload], bool]:
    """The images of a request, and whether they came as a form, which may hold several.

    Raises:
        Refusal: the body is too large, or no form that can be read.
    """
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    body = await read_body(request, limits.max_bytes)
    if kind != "multipart/form-data":
        return [Upload("", body)], False
    try:
        found = _parts(body, options.get("boundary", ""), limits)
    except (MultipartError, UnicodeError, ValueError):
        raise Refusal("bad_form", 400, "The multipart form cannot be read.") from None
    if not found:
        raise Refusal("no_image", 400, "The form holds no file. Send images as files.")
    if len(found) > limits.max_images:
        raise Refusal(
            "too_many_images", 413, f"At most {limits.max_images:,} images fit in one request."
        )
    return found, True


def _parts(body: bytes, boundary: str, limits: Limits) -> list[Upload]:
    found: list[Upload] = []
    segment: MultipartSegment | None = None
    pieces: list[bytes] = []
    with PushMultipartParser(
        boundary,
        content_length=len(body),
        max_header_size=LONGEST_PART_HEADER,
        max_header_count=MOST_PART_HEADERS,
        max_segment_count=limits.max_images + FIELDS_BESIDE,
        strict=True,
    ) as parser:
        for event in parser.parse(body):
            if isinstance(event, MultipartSegment):
                segment, pieces = event, []
            elif event:
                pieces.append(bytes(cast("bytes", event)))
            elif segment is not None:
                if segment.filename is not None:
                    found.append(Upload(segment.filename[:200], b"".join(pieces)))
                segment = None
    return found
