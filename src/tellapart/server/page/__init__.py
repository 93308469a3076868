"""The page at /: plain ES modules and styles, which lie beside this file, with no build step."""

from __future__ import annotations

from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

FILES = {
    "index.html": "text/html; charset=utf-8",
    "app.js": "text/javascript; charset=utf-8",
    "client.js": "text/javascript; charset=utf-8",
    "words.js": "text/javascript; charset=utf-8",
    "style.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
}


def routes() -> list[Route]:
    """The page and its files, which are read once."""
    here = Path(__file__).parent
    contents = {name: (here / name).read_bytes() for name in FILES}

    def file(name: str) -> Response:
        return Response(contents[name], headers={"content-type": FILES[name]})

    async def page(request: Request) -> Response:
        return file("index.html")

    async def asset(request: Request) -> Response:
        return file(request.url.path.rpartition("/")[2])

    assets = [Route(f"/page/{name}", asset) for name in FILES if name != "index.html"]
    return [Route("/", page), *assets]
