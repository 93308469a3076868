"""Who may ask, how much, and how slowly: nothing that a client sends stops the server for others."""

from __future__ import annotations

import base64
import contextlib
import http.client
import io
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import tellapart
from helpers.serving import Serving, form, serving
from tellapart import UserError

TOKEN = "a-token-of-twenty-nine-letters"
MOST = 50_000


@pytest.fixture(scope="module")
def server(model: Path) -> Iterator[Serving]:
    limits = {"max_bytes": MOST, "max_images": 3, "receive_seconds": 2}
    with serving(model, workers=1, limits=limits) as running:
        yield running


@pytest.fixture(scope="module")
def guarded(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A server that asks for a token."""
    file = tmp_path_factory.mktemp("token") / "token.txt"
    file.write_text(TOKEN + "\n")
    with serving(model, workers=1, token_file=str(file)) as running:
        yield running


# ── who may ask ──


def test_other_addresses_need_a_token(model: Path):
    for host in ("0.0.0.0", "::", "192.0.2.1", "example.org"):
        with pytest.raises(UserError, match="--token-file"):
            tellapart.serve(model, host=host)


@pytest.mark.parametrize("token", ["", "short", "with a space in the middle", "ümlaut" * 5])
def test_a_weak_token_is_refused(model: Path, tmp_path: Path, token: str):
    (tmp_path / "token.txt").write_text(token)
    with pytest.raises(UserError, match="16 or more"):
        tellapart.serve(model, token_file=tmp_path / "token.txt")


def basic(password: str) -> str:
    return "Basic " + base64.b64encode(f"anyone:{password}".encode()).decode()


@pytest.mark.parametrize(
    "path",
    ["/", "/page/app.js", "/v1/models", "/v2/health/ready", "/metrics", "/openapi.json", "/x"],
)
def test_every_route_but_liveness_asks_for_the_token(guarded: Serving, path: str):
    wrong = ["", "Bearer", "Bearer ", f"Bearer {TOKEN[:-1]}", f"Bearer {TOKEN}x", TOKEN]
    wrong += [basic(""), basic(TOKEN[1:]), "Basic !!!", f"Digest {TOKEN}"]
    for header in wrong:
        reply = guarded.ask(path, authorization=header)
        assert (reply.status, reply.code) == (401, "no_token")
        assert reply.headers["www-authenticate"].startswith("Basic ")
    for header in (f"Bearer {TOKEN}", f"bearer {TOKEN}", basic(TOKEN)):
        assert guarded.ask(path, authorization=header).status in (200, 404)
    assert guarded.ask("/v2/health/live").status == 200


def test_the_token_is_in_no_log_and_no_metric(guarded: Serving):
    guarded.ask("/v1/models", authorization=f"Bearer {TOKEN}")
    reply = guarded.ask("/metrics", authorization=f"Bearer {TOKEN}")
    guarded.wait_until(lambda: len(guarded.log) > 1)
    assert TOKEN not in "".join(guarded.lines) + reply.body.decode() + str(reply.headers)


def test_pages_of_other_sites_are_kept_out(server: Serving, image: bytes):
    # By a name that some other site's owner points at this machine.
    for host in ("evil.example", "evil.example:80", "127.0.0.1.evil.example", "[::2]", "a]"):
        assert server.predict(image, host=host).status == 421
    for origin in ("http://evil.example", "null", "http://localhost:1", "http://[", ""):
        reply = server.predict(image, origin=origin)
        assert (reply.status, reply.code) == (403, "wrong_origin")
    own = f"127.0.0.1:{server.port}"
    assert server.predict(image, host=own, origin=f"http://{own}").status == 200
    assert server.predict(image, host="localhost:1").status == 200
    assert "access-control-allow-origin" not in server.predict(image).headers


def test_what_a_browser_may_do_is_told(server: Serving):
    headers = server.ask("/").headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "server" not in headers


def test_nothing_but_the_listed_routes_answers(server: Serving):
    paths = ["/v1", "/v1/models/m/load", "/v1/models/../../etc/passwd", "/page/../door.py"]
    paths += [
        "/page/index.html",
        "/page/%2e%2e/app.py",
        "/v2/repository/index",
        "/docs",
        "//",
        "/?x=file:///etc",
    ]
    replies = {path: server.ask(path).status for path in paths}
    assert replies.pop("/?x=file:///etc") == 200  # the page, which asks nothing of its address
    assert set(replies.values()) == {404}


# ── how much ──


def padded(image: bytes, size: int) -> bytes:
    """The image as a file of so many bytes: what follows a JPEG's end is not read."""
    return image + b"\0" * (size - len(image))


def test_the_limit_of_bytes_is_exact(server: Serving, image: bytes):
    assert server.predict(padded(image, MOST)).status == 200
    reply = server.predict(padded(image, MOST + 1))
    assert (reply.status, reply.code) == (413, "too_large")


HEAD = b"POST /v1/models/m/predict HTTP/1.1\r\nHost: localhost\r\n"


def test_chunks_are_cut_at_the_limit(server: Serving, image: bytes):
    def chunked(data: bytes) -> bytes:
        pieces = [data[start : start + 1000] for start in range(0, len(data), 1000)]
        body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
        head = HEAD + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        return server.raw(head + body + b"0\r\n\r\n")

    assert chunked(padded(image, MOST)).startswith(b"HTTP/1.1 200")
    assert chunked(padded(image, MOST + 1)).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize(
    "headers",
    [
        b"Content-Length: -1\r\n",
        b"Content-Length: ten\r\n",
        b"Content-Length: 1\r\nContent-Length: 2\r\n",
        b"Content-Length: 99999999999999999999999\r\n",
        b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        b"Content-Length : 4\r\n",
        b"no colon here\r\n",
        b"Content-Length: 0x4\r\n",
    ],
)
def test_lengths_that_can_be_read_in_two_ways_are_refused(server: Serving, headers: bytes):
    assert server.raw(HEAD + headers + b"\r\nbody").startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize(
    "headers",
    [
        b"".join(b"X-%d: y\r\n" % number for number in range(10_000)),
        b"X-Long: " + b"y" * 1_000_000 + b"\r\n",
        b"X-Never-Ends: " + b"y" * 40_000,
    ],
)
def test_too_many_headers_are_refused(server: Serving, headers: bytes):
    begin = time.monotonic()
    received = server.raw(HEAD + headers + b"\r\n")
    assert received[:12] in (b"HTTP/1.1 431", b"")  # reset, where much is left unread
    assert time.monotonic() - begin < 5
    assert server.ask("/v2/health/live").status == 200


def test_a_body_of_tiny_pieces_is_refused(server: Serving):
    begin = time.monotonic()
    sent = HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 40_000
    assert server.raw(sent)[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 413", b"")
    assert time.monotonic() - begin < 5


def test_a_compressed_body_is_refused(server: Serving):
    reply = server.predict(b"\x1f\x8b", content_encoding="gzip")
    assert (reply.status, reply.code) == (415, "encoded")


def test_a_pipeline_of_garbage_is_refused(server: Serving):
    for sent in (
        b"\0" * 1000,
        b"GET\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02",
    ):
        assert server.raw(sent, 3)[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 408", b"HTTP/1.1 404", b"")
    assert server.ask("/v2/health/live").status == 200


def test_forms_have_limits_of_their_own(server: Serving, image: bytes):
    def sent(body: bytes, kind: str) -> tuple[int, Any]:
        reply = server.predict(body, content_type=kind)
        return reply.status, reply.json.get("error", {}).get("code")

    small = io.BytesIO()
    Image.new("RGB", (40, 40)).save(small, "PNG")
    four = form(*[("x.png", small.getvalue())] * 4)
    assert sent(*four) == (413, "too_many_images")
    assert sent(*form(*[("", b"")] * 3, boundary="b")) == (200, None)
    bad = (400, "bad_form")
    body, kind = form(("x.jpg", image))
    assert sent(body[:-8], kind) == bad  # cut off
    assert sent(body, "multipart/form-data") == bad  # no boundary
    assert sent(body, "multipart/form-data; boundary=" + "x" * 2000) == bad
    assert sent(b"", kind) == bad
    assert sent(b"preamble " * 5000, kind) == bad
    flood = b"".join(b"X-%d: y\r\n" % number for number in range(1000))
    assert sent(b"--limit\r\n" + flood + b"\r\nx\r\n--limit--\r\n", kind) == bad
    parts = b'--limit\r\nContent-Disposition: form-data; name="a"\r\n\r\n\r\n' * 700
    assert sent(parts + b"--limit--\r\n", kind) == bad
    field = b'--limit\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n--limit--\r\n'
    assert sent(field, kind) == (400, "no_image")
    # The advisories of parsers: many semicolons, quotes that do not end, a boundary of dashes.
    begin = time.monotonic()
    for header in (
        '; a="' * 3000,
        ";" * 20_000,
        "; boundary=" + '"' * 9000,
        "; boundary=\\" * 2000,
    ):
        assert sent(body, "multipart/form-data" + header) == bad
    assert time.monotonic() - begin < 5


# ── how slowly ──


def dripping(server: Serving, count: int, sent: bytes) -> list[socket.socket]:
    found = []
    for _ in range(count):
        connection = socket.create_connection(("127.0.0.1", server.port), timeout=10)
        connection.sendall(sent)
        found.append(connection)
    return found


@pytest.mark.parametrize("sent", [b"", b"POST /v1", HEAD + b"Content-Length: 1000\r\n\r\nabc"])
def test_slow_clients_are_closed_and_disturb_nobody(server: Serving, image: bytes, sent: bytes):
    slow = dripping(server, 50, sent)
    began = time.monotonic()
    assert server.predict(image).status == 200
    while slow and time.monotonic() - began < 10:
        for connection in list(slow):
            with contextlib.suppress(OSError):
                connection.sendall(b"x")
                connection.settimeout(0.001)
                try:
                    if connection.recv(4096):
                        continue
                except TimeoutError:
                    continue
            connection.close()
            slow.remove(connection)
        time.sleep(0.1)
    assert not slow
    assert time.monotonic() - began < 6
    assert server.predict(image).status == 200


def test_clients_that_go_away_leave_a_line_each_and_no_trace_of_an_exception(
    server: Serving, image: bytes
):
    before = len(server.log)
    head = b"POST /v1/models/m/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
    for _ in range(6):
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(head % len(image) + image)
    server.wait_until(lambda: len(server.log) == before + 6)
    assert "gone" in [line.get("refused") for line in server.log[before:]]
    assert server.predict(image).status == 200
    assert "exception was never retrieved" not in "".join(server.lines)


def test_a_connection_that_rests_between_requests_is_kept(server: Serving):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    with contextlib.closing(connection):
        connection.connect()
        first = connection.sock
        for _ in range(3):
            connection.request("GET", "/v2/health/live")
            assert connection.getresponse().read() == b'{"live":true}'
            time.sleep(0.8)
        assert connection.sock is first


# ── what is left behind ──


def test_uploads_touch_no_disk_and_errors_tell_nothing_of_the_server(server: Serving, image: bytes):
    bodies = [image, b"", b"\xff\xd8" + b"x" * 2000, b"GIF89a" + b"\xff" * 500, b"RIFF\0\0\0\0WEBP"]
    texts = []
    for body in bodies:
        reply = server.predict(body)
        assert reply.status in (200, 422)
        texts.append(reply.body.decode())
    texts += [server.ask(path).body.decode() for path in ("/nothing", "/v1/models", "/metrics")]
    for text in texts:
        assert not [
            word for word in ("Traceback", "0x", "BytesIO", "site-packages", "PIL") if word in text
        ]
    assert not list(server.temporary.iterdir())


def test_each_request_is_one_line_of_the_log(server: Serving, image: bytes):
    name = "a\nb\x1b[31m<img src=x onerror=alert(1)>.jpg"
    body, kind = form((name.replace("\n", "%0A"), image))
    reply = server.predict(body, content_type=kind)
    assert reply.headers["content-type"] == "application/json"
    server.wait_until(lambda: reply.json["request_id"] in "".join(server.lines))
    (line,) = [line for line in server.lines if reply.json["request_id"] in line]
    entry = json.loads(line)
    assert (entry["route"], entry["status"], entry["model"]) == ("predict", 200, "m")
    assert entry["answers"][0]["status"] == "ok"
    assert "\x1b" not in line and "onerror" not in line


def test_counts_are_those_of_the_client(model: Path, image: bytes):
    with serving(model, workers=1) as server:
        told: dict[tuple[str, str], int] = {}
        for number in range(30):
            replies = {
                "predict": server.predict(image if number % 3 else b"text"),
                "other": server.ask(f"/random/{number}"),
                "ready": server.ask("/v2/health/ready"),
            }
            for route, reply in replies.items():
                key = (route, str(reply.status))
                told[key] = told.get(key, 0) + 1
        text = server.ask("/metrics").body.decode()
        lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
        for (route, status), count in told.items():
            name = f'tellapart_requests_total{{route="{route}",status="{status}"}}'
            assert float(lines[name]) == count
        assert sum(name.startswith("tellapart_requests_total") for name in lines) == len(told)
        assert float(lines["tellapart_computed"]) == 30
        images = [name for name in lines if name.startswith("tellapart_images_total")]
        assert sum(float(lines[name]) for name in images) == 30
