"""The routes of the review, all below a secret word in the address.

The word keeps other users and other pages of this machine out: neither can guess it.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp

from tellapart.catalog.decisions import ACTIONS, DROPPED, Fix
from tellapart.errors import UserError
from tellapart.server.body import read_body
from tellapart.server.door import Door
from tellapart.server.limits import Limits
from tellapart.server.metrics import Metrics
from tellapart.server.review.heat import Heat, Heats
from tellapart.server.review.journal import Journal, newest
from tellapart.server.review.scaled import SIZES, Missing, Scaled
from tellapart.server.review.stream import Item, Stream
from tellapart.server.workers import Desk, Refusal

FILES = {
    "index.html": "text/html; charset=utf-8",
    "review.js": "text/javascript; charset=utf-8",
    "decisions.js": "text/javascript; charset=utf-8",
    "grid.js": "text/javascript; charset=utf-8",
    "heat.js": "text/javascript; charset=utf-8",
    "images.js": "text/javascript; charset=utf-8",
    "keys.js": "text/javascript; charset=utf-8",
    "style.css": "text/css; charset=utf-8",
}
MOST_BODY = 4_000_000
MOST_AT_ONCE = 1_000  # decisions in one request
LONGEST_NAME = 200
# The address holds the number of an image whose content is fixed, and ends with the server.
KEEP = {"cache-control": "private, max-age=86400, immutable"}


@dataclass(frozen=True)
class Near:
    """A training image that is like the one that is shown.

    Args:
        path: where it is in the data.
        digest: SHA-256 of its file.
        label: its label.
        similarity: by the run's index; higher is nearer.
    """

    path: str
    digest: str
    label: str
    similarity: float


class Review:
    """What the routes answer from.

    Args:
        stream: the findings.
        journal: where decisions go.
        scaled: the images.
        classes: all labels of the data, in the order in which they are numbered.
        title: what is reviewed, in a few words.
        next_step: what to do when all is decided, as a command.
        nearest: digest and path of an image → the training images nearest to it. None where the run
            has no index.
        heats: the heat maps of the model's answers.
    """

    def __init__(
        self,
        stream: Stream,
        journal: Journal,
        scaled: Scaled,
        classes: Sequence[str],
        *,
        title: str,
        next_step: str,
        heats: Heats,
        nearest: Callable[[str, str], list[Near]] | None = None,
    ) -> None:
        self._heats = heats
        self.stream, self.journal, self.scaled, self.nearest = stream, journal, scaled, nearest
        lines = (fix for fixes in journal.images.values() for fix in fixes)
        self._known = set(classes)
        self._made = sorted({fix.now for fix in lines if fix.new and fix.now} - self._known)
        self._classes = list(classes)
        about = {"title": title, "next": next_step, "near": nearest is not None}
        self._about = {**about, "who": journal.who, "file": journal.path.name}
        self._digests = list(dict.fromkeys(item.digest for item in stream.items))

    def page(self) -> bytes:
        """All that the page shows but decisions, as JSON."""
        classes = [*self._classes, *self._made]
        return json.dumps({**self._about, **self.stream.as_json(classes)}).encode()

    def decisions(self) -> dict[str, Any]:
        """Number of an image → action and label, for those that somebody decided; and disputes."""
        numbers = {digest: number for number, digest in enumerate(self._digests)}
        lines = {digest: newest(fixes) for digest, fixes in self.journal.images.items()}
        decided = {
            numbers[digest]: [fix.action, fix.now]
            for digest, fix in lines.items()
            if fix is not None and digest in numbers and digest not in self.journal.disputed
        }
        disputed = {
            numbers[digest]: sorted(verdict.by_person.items())
            for digest, verdict in self.journal.disputed.items()
            if digest in numbers
        }
        return {"decided": decided, "disputed": disputed}

    def decide(self, values: object) -> int:
        """Write decisions of the page; returns how many lines the file has.

        Raises:
            Refusal: they are no decisions, or the disk does not take them.
        """
        entries = values.get("decisions") if isinstance(values, dict) else None
        if not isinstance(entries, list) or not 1 <= len(entries) <= MOST_AT_ONCE:
            raise Refusal("bad_decision", 400, "These are no decisions.")
        fixes = [self._fix(entry) for entry in entries]
        try:
            self.journal.write(fixes)
        except UserError as error:
            raise Refusal("not_saved", 507, f"{error.message} {error.hint}") from None
        made = {fix.now for fix in fixes if fix.new and fix.now}
        self._made = sorted({*self._made, *made})
        return self.journal.count

    def image(self, path: str, digest: str, size: str) -> tuple[bytes, str]:
        """A scaled image, and its media type.

        Raises:
            Refusal: it cannot be shown.
        """
        try:
            return self.scaled.get(path, digest, size)
        except Missing as missing:
            raise Refusal("no_image", 404, str(missing)) from None

    def heat(self, path: str, digest: str) -> Heat:
        """The heat map of the model's answer to an image.

        Raises:
            Refusal: the image cannot be shown.
        """
        try:
            return self._heats.of(path, digest)
        except Missing as missing:
            raise Refusal("no_image", 404, str(missing)) from None

    def _fix(self, entry: object) -> Fix:
        bad = Refusal("bad_decision", 400, "This is no decision.")
        if not isinstance(entry, dict) or entry.get("action") not in ACTIONS:
            raise bad
        place = entry.get("item")
        if not isinstance(place, int) or not 0 <= place < len(self.stream.items):
            raise bad
        label = self._label(entry) if entry["action"] == "relabel" else None
        item = self.stream.items[place]
        finding = self.stream.findings[item.finding]
        return Fix(
            when=self.journal.now(),
            digest=item.digest,
            path=item.path,
            action=entry["action"],
            was=item.label,
            now=label,
            why=f"finding {finding.number}: {finding.title}",
            who=self.journal.who,
            new=label is not None and label not in self._known,
            settles=item.digest in self.journal.disputed,
        )

    def _label(self, entry: Mapping[str, Any]) -> str:
        """The label that an image gets: a class, one that a review made, or one that is made now."""
        label = entry.get("now")
        if not isinstance(label, str) or not 0 < len(label) <= LONGEST_NAME:
            raise Refusal("no_class", 400, f"A class has 1 to {LONGEST_NAME} characters.")
        if label in self._known or label in self._made:
            return label
        if entry.get("new") is not True:
            raise Refusal("no_class", 400, f"{label!r} is no class.")
        # What is not printable would break the lines and tables that show the class.
        if not label.isprintable() or label == DROPPED:
            raise Refusal("no_class", 400, "A class needs a name that can be shown.")
        return label


class _Nowhere(io.StringIO):
    """A log that keeps nothing: that of a page which one person uses tells nothing."""

    def write(self, text: str) -> int:
        return len(text)


def make_review_app(
    review: Review, *, word: str, hosts: Collection[str], limits: Limits
) -> tuple[ASGIApp, Desk]:
    """The application, and the desk that `run` wants; it has no workers.

    Args:
        review: what the routes answer from.
        word: the secret part of the address.
        hosts: the names by which the browser may call the server.
        limits: of requests.
    """
    desk = Desk({}, 0, limits)
    router = Router(_routes(review, word), redirect_slashes=False)
    metrics = Metrics(desk, {})
    return Door(router, token=None, hosts=hosts, metrics=metrics, log=_Nowhere()), desk


def _routes(review: Review, word: str) -> list[Route]:
    here = Path(__file__).parent / "page"
    contents = {name: (here / name).read_bytes() for name in FILES}

    def file(name: str) -> Response:
        return Response(contents[name], headers={"content-type": FILES[name]})

    async def page(request: Request) -> Response:
        return file("index.html")

    async def asset(request: Request) -> Response:
        return file(request.url.path.rpartition("/")[2])

    async def stream(request: Request) -> Response:
        return Response(await asyncio.to_thread(review.page), media_type="application/json")

    async def decided(request: Request) -> Response:
        return JSONResponse(review.decisions())

    async def decide(request: Request) -> Response:
        body = await read_body(request, MOST_BODY)
        try:
            values = json.loads(body)
        except (ValueError, RecursionError):
            raise Refusal("bad_decision", 400, "The body is no JSON.") from None
        return JSONResponse({"lines": await asyncio.to_thread(review.decide, values)})

    async def image(request: Request) -> Response:
        item, size = _item(request, review), request.path_params["size"]
        if size not in SIZES:
            raise Refusal("no_such_page", 404, "There is no such size.")
        data, kind = await asyncio.to_thread(review.image, item.path, item.digest, size)
        return Response(data, media_type=kind, headers=KEEP)

    async def near(request: Request) -> Response:
        item = _item(request, review)
        return JSONResponse(await asyncio.to_thread(_nearest, review, item), headers=KEEP)

    # One map at a time: maps that nobody waits for must not take the threads that images need.
    turn = asyncio.Lock()

    async def heat(request: Request) -> Response:
        item = _item(request, review)
        async with turn:
            if await request.is_disconnected():  # the person has gone on to another image
                return Response(status_code=204)
            found = await asyncio.to_thread(review.heat, item.path, item.digest)
        return JSONResponse(found.as_json(), headers=KEEP)

    assets = [Route(f"/{word}/page/{name}", asset) for name in FILES if name != "index.html"]
    return [
        Route(f"/{word}/", page),
        *assets,
        Route(f"/{word}/stream.json", stream),
        Route(f"/{word}/decisions", decided, methods=["GET"]),
        Route(f"/{word}/decisions", decide, methods=["POST"]),
        Route(f"/{word}/image/{{item:int}}/{{size}}", image),
        Route(f"/{word}/near/{{item:int}}", near),
        Route(f"/{word}/heat/{{item:int}}", heat),
    ]


def _item(request: Request, review: Review) -> Item:
    place = int(request.path_params["item"])
    if place >= len(review.stream.items):
        raise Refusal("no_such_page", 404, "There is no such image.")
    return review.stream.items[place]


def _nearest(review: Review, item: Item) -> list[dict[str, Any]]:
    """The nearest training images, each with a small image in the answer: they need no address."""
    found = []
    for near in review.nearest(item.digest, item.path) if review.nearest else []:
        try:
            data, kind = review.scaled.get(near.path, near.digest, "small")
        except Missing:
            continue
        source = f"data:{kind};base64,{base64.b64encode(data).decode()}"
        found.append({"label": near.label, "similarity": near.similarity, "image": source})
    return found
