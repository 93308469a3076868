"""A server on this machine that answers as the hub does, for the calls that fetching weights makes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """A hub with one file, and what was asked of it.

    Args:
        address: of the server.
        file: the path of the file, as timm/NAME/resolve/main/model.safetensors.
        content: what is sent for it.
        digest: the SHA-256 that is announced; "" announces none.
        asked: method and path of each request.
    """

    address: str
    file: str
    content: bytes
    digest: str
    asked: list[tuple[str, str]] = field(default_factory=list)


@contextmanager
def serve_hub(repository: str, content: bytes, digest: str | None = None) -> Iterator[Hub]:
    """A hub that has model.safetensors in one repository.

    Like the real one it redirects to the place of the content, and names its digest on the way.
    """
    hub = Hub("", f"/{repository}/resolve/main/model.safetensors", content, "")
    hub.digest = hashlib.sha256(content).hexdigest() if digest is None else digest

    class Handler(BaseHTTPRequestHandler):
        """Answers requests for the one file."""

        def do_HEAD(self) -> None:
            """Headers only."""
            self._answer(with_content=False)

        def do_GET(self) -> None:
            """Headers and content."""
            self._answer(with_content=True)

        def log_message(self, *words: object) -> None:
            """Print nothing."""

        def _answer(self, *, with_content: bool) -> None:
            hub.asked.append((self.command, self.path))
            place = self.path.partition("?")[0]
            known = place in ("/", "/content", hub.file)
            self.send_response((302 if place == hub.file else 200) if known else 404)
            if place == hub.file:
                self._headers_of_file()
            sent = hub.content if place == "/content" else b""
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            if with_content:
                self.wfile.write(sent)

        def _headers_of_file(self) -> None:
            # Another host, as the real one's content is: the client looks for the facts here.
            place = hub.address.replace("127.0.0.1", "localhost")
            self.send_header("Location", f"{place}/content")
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("X-Linked-Size", str(len(hub.content)))
            if hub.digest:
                self.send_header("X-Linked-Etag", f'"{hub.digest}"')

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
