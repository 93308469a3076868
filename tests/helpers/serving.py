"""A server in a process of its own, and a client that speaks to it as a test wants."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

START = """
import json, sys, tellapart
words = json.loads(sys.argv[1])
limits = tellapart.Limits(**words.pop("limits", {}))
tellapart.serve(words.pop("models"), port=0, limits=limits, **words)
"""


@dataclass
class Reply:
    """A response: its status, headers in lower case, and body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return str(self.json["error"]["code"])


@dataclass
class Serving:
    """A running server, and what it has written."""

    process: subprocess.Popen[str]
    temporary: Path  # where it would put temporary files
    port: int = 0
    lines: list[str] = field(default_factory=list)

    def ask(
        self,
        path: str,
        body: bytes | None = None,
        method: str | None = None,
        **headers: str,
    ) -> Reply:
        """One request on a connection of its own. An underscore in a header's name is a dash."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        with contextlib.closing(connection):
            connection.request(method or ("GET" if body is None else "POST"), path, body, named)
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Reply(response.status, found, response.read())

    def predict(self, body: bytes, query: str = "", **headers: str) -> Reply:
        return self.ask(f"/v1/models/m/predict{query}", body, **headers)

    def raw(self, sent: bytes, seconds: float = 5.0) -> bytes:
        """All that the server answers to these bytes until it closes, or until time is up."""
        received = b""
        with socket.create_connection(("127.0.0.1", self.port), timeout=seconds) as connection:
            with contextlib.suppress(OSError):
                connection.sendall(sent)
            with contextlib.suppress(OSError):
                while piece := connection.recv(65536):
                    received += piece
        return received

    @property
    def log(self) -> list[dict[str, Any]]:
        """The requests that are in the log."""
        return [json.loads(line) for line in list(self.lines) if line.startswith("{")]

    def workers(self) -> list[int]:
        """The process numbers of the workers."""
        found = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(number) for number in found.split()]

    def wait_until(self, condition: Any, seconds: float = 20.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end and self.process.poll() is None, self.lines[-5:]
            time.sleep(0.02)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(40)


@contextlib.contextmanager
def serving(model: Path, **words: Any) -> Iterator[Serving]:
    """A server of the model "m", which is ready; it is stopped at the end."""
    given = json.dumps({"models": [f"m={model}"], **words})
    temporary = Path(tempfile.mkdtemp())
    process = subprocess.Popen(
        [sys.executable, "-c", START, given],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(temporary)},
    )
    server = Serving(process, temporary)

    def listen() -> None:
        assert process.stderr
        for line in process.stderr:
            server.lines.append(line)

    reader = threading.Thread(target=listen, daemon=True)
    reader.start()
    try:
        server.wait_until(lambda: any("The page is" in line for line in server.lines), 60)
        address = re.search(r"http://[^ ]*:(\d+)/", "".join(server.lines))
        assert address
        server.port = int(address[1])
        yield server
    finally:
        process.kill()
        process.wait()
        reader.join(5)
        assert process.stderr
        process.stderr.close()
        shutil.rmtree(temporary)


def form(*files: tuple[str, bytes], boundary: str = "limit") -> tuple[bytes, str]:
    """A multipart form of files, and its content type."""
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="{name}"\r\n'
        f"Content-Type: image/jpeg\r\n\r\n".encode()
        + data
        + b"\r\n"
        for name, data in files
    ]
    return (
        b"".join([*parts, f"--{boundary}--\r\n".encode()]),
        f"multipart/form-data; boundary={boundary}",
    )
