"""What every request passes: who may ask, one line in the log, one count, and headers that keep a
browser from doing more than the page needs.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hmac
import json
import sys
import time
import traceback
import uuid
from collections.abc import Collection, Mapping
from typing import Any, TextIO
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tellapart.server.metrics import Metrics
from tellapart.server.workers import Refusal

LIVE = "/v2/health/live"  # the one route that asks for no token
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:;"
        " media-src 'self' blob:; connect-src 'self'; manifest-src 'self'; base-uri 'none';"
        " form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
    "cache-control": "no-store",
}


def refused(refusal: Refusal, request_id: str) -> Response:
    """The response to a request that is not answered."""
    return JSONResponse(refusal.body(request_id), refusal.status, refusal.headers)


class Door:
    """The outermost application.

    Args:
        app: what answers.
        token: what a client must show, as a bearer token or as the password of HTTP Basic, which
            browsers ask for. None lets everybody in.
        hosts: the names by which clients may call the server. Empty means any.
        metrics: counts.
        log: gets one line of JSON a request.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        token: str | None,
        hosts: Collection[str],
        metrics: Metrics,
        log: TextIO | None = None,
    ) -> None:
        self._app, self._token, self._hosts = app, token, frozenset(hosts)
        self._metrics, self._log = metrics, log or sys.stderr

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        request_id = uuid.uuid4().hex
        entry: dict[str, Any] = {"request_id": request_id, "status": 0}
        scope["state"] = {**scope.get("state", {}), "entry": entry, "request_id": request_id}
        scope["app"] = self  # so that routes raise what they do not know

        async def send_on(message: Message) -> None:
            if message["type"] == "http.response.start":
                entry["status"] = message["status"]
                given = {name.lower() for name, _ in message.get("headers", [])}
                added = {**HEADERS, "x-request-id": request_id}
                message["headers"] = [
                    *message.get("headers", []),
                    *(
                        (name.encode(), value.encode())
                        for name, value in added.items()
                        if name.encode() not in given
                    ),
                ]
            await send(message)

        with self._metrics.open.track_inprogress():
            try:
                self._let_in(scope)
                await self._app(scope, receive, send_on)
            except Refusal as refusal:
                entry["refused"] = refusal.code
                self._metrics.refused.labels(refusal.code).inc()
                await refused(refusal, request_id)(scope, receive, send_on)
            except HTTPException as error:
                known = Refusal("no_such_page", error.status_code, "There is no such page.")
                if error.status_code == 405:
                    known = Refusal("wrong_method", 405, "This address takes another method.")
                await refused(known, request_id)(scope, receive, send_on)
            except Exception:
                if entry["status"]:
                    raise
                entry["fault"] = traceback.format_exc(limit=-3)
                fault = Refusal("fault", 500, "A mistake in the server. Its log says more.")
                await refused(fault, request_id)(scope, receive, send_on)
        route = getattr(scope.get("endpoint"), "__name__", "other")
        self._metrics.requests.labels(route, str(entry["status"])).inc()
        milliseconds = round(1000 * (time.perf_counter() - began), 1)
        self._write({"route": route, "method": scope["method"], **entry, "ms": milliseconds})

    def _let_in(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if self._hosts and _name_of(host) not in self._hosts:
            raise Refusal("wrong_host", 421, "The server does not answer under this name.")
        origin = headers.get("origin")
        if scope["method"] != "GET" and origin not in (None, f"http://{host}", f"https://{host}"):
            raise Refusal("wrong_origin", 403, "A page of another site may not ask.")
        if self._token is None or scope["path"] == LIVE:
            return
        shown = _shown_token(headers.get("authorization", ""))
        if not hmac.compare_digest(shown.encode(), self._token.encode()):
            raise Refusal("no_token", 401, "Send the server's token: Authorization: Bearer TOKEN.")

    def _write(self, line: Mapping[str, Any]) -> None:
        """One line of the log. A full disk or a closed terminal stops no answer."""
        timed = {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), **line}
        with contextlib.suppress(OSError, ValueError):
            self._log.write(json.dumps(timed) + "\n")
            self._log.flush()


def _name_of(host: str) -> str:
    """The name in a Host header, without its port."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _shown_token(header: str) -> str:
    kind, _, shown = header.partition(" ")
    if kind.lower() == "bearer":
        return shown.strip()
    if kind.lower() == "basic":
        with contextlib.suppress(binascii.Error, UnicodeDecodeError):
            return base64.b64decode(shown, validate=True).decode().partition(":")[2]
    return ""
