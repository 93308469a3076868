"""uvicorn's HTTP connection, with deadlines for what a client sends and takes, and limits for what no
body can show: the size of the headers and the number of pieces.

Parsing is httptools', Node's own parser, which refuses requests that two servers could read in two
ways.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tellapart.server.limits import Limits

LEAST_PIECE = 64  # bytes that the pieces of a body must have on average
FREE_PIECES = 1_000  # before that is asked


class Connection(HttpToolsProtocol):
    """One connection to a client."""

    limits: ClassVar[Limits] = Limits()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        self._receiving: asyncio.TimerHandle | None = None
        self._sending: asyncio.TimerHandle | None = None
        self._in_head, self._head_bytes = True, 0
        self._pieces, self._body_bytes = 0, 0
        super().connection_made(transport)
        if len(self.connections) > self.limits.max_connections:
            self._refuse(503, "too_many_connections", "Too many connections are open.")
            return
        self._receiving = self.loop.call_later(self.limits.receive_seconds, self._too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the deadlines."""
        self._stop("_receiving")
        self._stop("_sending")
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes of a request."""
        if self.transport.is_closing():
            return
        if self._receiving is None:
            self._receiving = self.loop.call_later(self.limits.receive_seconds, self._too_slow)
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        # What came with the head may be body; a head that is whole has ended `_in_head`.
        if self._in_head and self._head_bytes > self.limits.max_header_bytes:
            self._refuse(431, "headers_too_large", "The headers are too long.")

    def on_message_begin(self) -> None:
        """Count anew."""
        super().on_message_begin()
        self._in_head, self._pieces, self._body_bytes = True, 0, 0

    def on_headers_complete(self) -> None:
        """Let the application begin, unless the headers are too many."""
        self._in_head, self._head_bytes = False, 0
        size = sum(len(name) + len(value) + 4 for name, value in self.headers) + len(self.url)
        if size > self.limits.max_header_bytes:
            self._refuse(431, "headers_too_large", "The headers are too long.")
            return
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        if self.transport.is_closing():
            return
        self._pieces += 1
        self._body_bytes += len(body)
        if self._pieces > FREE_PIECES and self._body_bytes < LEAST_PIECE * self._pieces:
            self._refuse(400, "pieces_too_small", "The body comes in too many small pieces.")
            return
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._stop("_receiving")
        self._in_head, self._head_bytes = True, 0
        if not self.transport.is_closing():
            super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP."""
        self._refuse(400, "not_http", "This is no HTTP request that can be read.")

    def pause_writing(self) -> None:
        """The client does not take the response: wait for it, but not for ever."""
        super().pause_writing()
        self._stop("_sending")
        self._sending = self.loop.call_later(self.limits.receive_seconds, self._abort)

    def resume_writing(self) -> None:
        """The client has taken the response."""
        self._stop("_sending")
        super().resume_writing()

    def _too_slow(self) -> None:
        self._receiving = None
        if self.cycle is not None and self.cycle.response_started:
            self._abort()
        else:
            self._refuse(408, "too_slow", "The request did not come in time.")

    def _refuse(self, status: int, code: str, message: str) -> None:
        """Answer for the application, and close."""
        if self.transport.is_closing():
            return
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        body = json.dumps({"error": {"code": code, "message": message}}).encode()
        self.transport.write(
            b"HTTP/1.1 %d \r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
            b"connection: close\r\n\r\n%b" % (status, len(body), body)
        )
        self.transport.close()

    def _abort(self) -> None:
        self.transport.abort()

    def _stop(self, timer: str) -> None:
        handle: Any = getattr(self, timer)
        if handle is not None:
            handle.cancel()
        setattr(self, timer, None)
