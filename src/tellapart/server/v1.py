"""The server's own API: an image in, a decision out."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tellapart.server.body import read_uploads
from tellapart.server.served import Served, Service
from tellapart.server.workers import Refusal

MOST_NEIGHBOURS = 50
_MAPS = {"1": "1", "true": "1", "occlusion": "occlusion"}


def routes(service: Service) -> list[Route]:
    """All routes under /v1."""

    async def models(request: Request) -> Response:
        return JSONResponse({"models": [served.about() for served in service.models.values()]})

    async def model(request: Request) -> Response:
        return JSONResponse(service.model(request).about())

    async def drift(request: Request) -> Response:
        return JSONResponse(service.model(request).drift())

    async def predict(request: Request) -> Response:
        served = service.model(request)
        ask = _wishes(request, served)
        images, several = await read_uploads(request, service.limits)
        answers = await service.answer(request, served, images, [ask] * len(images))
        whole: dict[str, Any] = {
            "request_id": request.state.request_id,
            "model": served.name,
            "digest": served.digest,
        }
        if several:
            named = [
                {"name": image.name, **answer}
                for image, answer in zip(images, answers, strict=True)
            ]
            return JSONResponse({**whole, "answers": named})
        (answer,) = answers
        return JSONResponse({**whole, **answer}, 200 if answer["status"] == "ok" else 422)

    return [
        Route("/v1/models/{name}/predict", predict, methods=["POST"]),
        Route("/v1/models", models),
        Route("/v1/models/{name}", model),
        Route("/v1/models/{name}/drift", drift),
    ]


def _wishes(request: Request, served: Served) -> dict[str, Any]:
    """What is asked beside the answer, for `worker.answer`.

    Raises:
        Refusal: the number of neighbours is none, or the model has no index of them.
    """
    ask: dict[str, Any] = {"map": _MAPS.get(request.query_params.get("map", ""))}
    if (text := request.query_params.get("neighbours")) is None:
        return ask
    if not (text.isascii() and text.isdecimal() and len(text) < 4 and int(text) <= MOST_NEIGHBOURS):
        raise Refusal(
            "bad_request", 400, f"neighbours must be a number from 0 to {MOST_NEIGHBOURS}."
        )
    if int(text) and served.without_index:
        raise Refusal("no_neighbours", 400, served.without_index)
    return {**ask, "neighbours": int(text)}
