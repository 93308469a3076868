"""A folder as a static host serves it, and where the tests find ONNX Runtime Web."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tellapart.web.runtime import ARCHIVE

ROOT = Path(__file__).parents[2]
# What `npm pack` made: where the variable says, or in build/ of the checkout.
RUNTIME = Path(os.environ.get("TELLAPART_WEB_RUNTIME", ROOT / "build" / ARCHIVE))


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *words: Any) -> None:
        """Say nothing."""


@contextmanager
def hosted(folder: Path) -> Iterator[str]:
    """The address of a folder that lies in another one of the host, as on many static hosts."""
    handler = functools.partial(_Quiet, directory=str(folder.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/{folder.name}/"
        server.shutdown()
        thread.join()
