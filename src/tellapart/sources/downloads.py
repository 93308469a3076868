"""An image at a web address that the user names. Nothing else is fetched, and nothing is kept."""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.request
from typing import IO
from urllib.parse import urlsplit

from tellapart.errors import UserError, one_line
from tellapart.image_input import StoredImage

ANSWER_SECONDS = 10.0  # to wait for the server each time
WHOLE_SECONDS = 60.0  # that one image may take
MAX_BYTES = 2**27
_PIECE_BYTES = 2**18


def without_secrets(address: str) -> str:
    """An address without the user, the password and the query, which may hold a token.

    >>> without_secrets("https://me:pw@example.org/cat.jpg?token=1")
    'https://example.org/cat.jpg'
    """
    parts = urlsplit(address)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()


def fetch_image(address: str) -> StoredImage:
    """The image at an address. Its name is the address without secrets.

    Raises:
        UserError: it cannot be reached, or is too large or too slow.
    """
    shown = without_secrets(address)
    try:
        request = urllib.request.Request(address, headers={"User-Agent": "tellapart"})  # noqa: S310 - http(s)
        with _OPENER.open(request, timeout=ANSWER_SECONDS) as response:
            data = _read(response, shown)
    except (OSError, http.client.HTTPException, ValueError) as error:
        code = f"{error.code} " if isinstance(error, urllib.error.HTTPError) else ""
        inner = getattr(error, "reason", None) or error
        words = one_line(getattr(inner, "strerror", None) or inner) or type(error).__name__
        raise UserError(
            f"{shown} could not be fetched ({code}{words}).",
            "Download the image yourself, and give its file.",
        ) from None
    return StoredImage(shown, lambda: data)


def _read(response: IO[bytes], shown: str) -> bytes:
    data, end = bytearray(), time.monotonic() + WHOLE_SECONDS
    while piece := response.read(_PIECE_BYTES):
        data += piece
        if len(data) > MAX_BYTES:
            raise UserError(
                f"{shown} is larger than {MAX_BYTES // 2**20} MiB.",
                "Download it, and give its file.",
            )
        if time.monotonic() > end:
            raise TimeoutError(f"it takes longer than {WHOLE_SECONDS:g} seconds")
    return bytes(data)


class _WebOnly(urllib.request.HTTPRedirectHandler):
    """Follows a server to other web addresses, and nowhere else."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        if not newurl.lower().startswith(("https://", "http://")):
            raise urllib.error.URLError(f"it leads to {urlsplit(newurl).scheme}:")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


_OPENER = urllib.request.build_opener(_WebOnly)
