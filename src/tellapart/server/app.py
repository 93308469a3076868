"""All routes of the server in one application, and the server that runs it."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import FrameType
from typing import TextIO

import uvicorn
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp

from tellapart.errors import Fault
from tellapart.modelfile.predictor import Predictor
from tellapart.server import page, v1, v2
from tellapart.server.connection import Connection
from tellapart.server.door import Door
from tellapart.server.limits import Limits
from tellapart.server.metrics import Metrics
from tellapart.server.openapi import description
from tellapart.server.served import Served, Service
from tellapart.server.workers import Desk


def make_app(
    models: Mapping[str, Predictor],
    *,
    workers: int,
    limits: Limits,
    token: str | None = None,
    hosts: Collection[str] = (),
    runs: Mapping[str, Path] | None = None,
    log: TextIO | None = None,
) -> tuple[ASGIApp, Desk]:
    """The application, and the desk whose workers answer while it runs.

    Args:
        models: name → loaded model.
        workers: how many processes answer.
        limits: of requests and answers.
        token: that clients must show; None asks for none.
        hosts: the names by which clients may call the server; empty means any.
        runs: name → run folder, of models that are served as one.
        log: where requests are noted; None means standard error.
    """
    served = {name: Served(name, model, (runs or {}).get(name)) for name, model in models.items()}
    indexed = {
        name: str(model.run) for name, model in served.items() if model.without_index is None
    }
    graphs = {name: model.graph for name, model in models.items()}
    desk = Desk(graphs, workers, limits, indexed)
    metrics = Metrics(desk, {name: model.seen for name, model in served.items() if model.seen})
    service = Service(served, desk, limits, metrics)

    async def numbers(request: Request) -> Response:
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def openapi(request: Request) -> Response:
        return JSONResponse(description(list(models), token=token is not None))

    routes = [  # tried in this order: what is asked most comes first
        *v1.routes(service),
        *v2.routes(service),
        *page.routes(),
        Route("/metrics", numbers),
        Route("/openapi.json", openapi),
    ]
    router = Router(routes, redirect_slashes=False)
    return Door(router, token=token, hosts=hosts, metrics=metrics, log=log), desk


class Server(uvicorn.Server):
    """uvicorn's server, which stops when its desk gives up, and tells the desk when it stops."""

    def __init__(self, config: uvicorn.Config, desk: Desk) -> None:
        super().__init__(config)
        self._desk = desk

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop taking requests at the first signal, and end at once at the second."""
        if self.should_exit:
            os._exit(128 + sig)
        self._desk.stopping = True
        self.should_exit = True

    async def on_tick(self, counter: int) -> bool:
        """Whether to stop now."""
        if self._desk.gave_up.is_set():
            self.should_exit = True
        return await super().on_tick(counter)


def run(
    app: ASGIApp,
    desk: Desk,
    listening: socket.socket,
    limits: Limits,
    started: Callable[[], None],
) -> None:
    """Serve until a signal comes.

    Args:
        app: from `make_app`.
        desk: likewise.
        listening: a bound socket.
        limits: of connections.
        started: is called when the first request can be answered.

    Raises:
        Fault: the workers cannot be started, or die again and again.
    """
    Connection.limits = limits
    config = uvicorn.Config(
        app,
        http=Connection,
        ws="none",
        lifespan="off",
        log_config=None,  # the application writes the log
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=int(limits.stop_seconds),
        timeout_keep_alive=int(max(limits.receive_seconds, 1)),
        backlog=1024,
    )
    server = Server(config, desk)

    async def serve() -> None:
        # Who asks before the workers have loaded their models hears that the server is not ready.
        serving = asyncio.create_task(server.serve([listening]))
        try:
            await desk.open()
            started()
            await serving
        finally:
            server.should_exit = True
            await serving
            await desk.close()

    asyncio.run(serve())
    if desk.gave_up.is_set():
        raise Fault(
            "The processes that answer images died five times in a minute.",
            "Look at the log for the images that came before, and start the server again.",
        )


def bind(host: str, port: int) -> socket.socket:
    """A listening address. Port 0 takes a free one.

    Raises:
        OSError: it is taken, or not one of this machine.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listening = socket.socket(family, kind, protocol)
    try:
        if os.name != "nt":
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except OSError:
        listening.close()
        raise
    return listening
