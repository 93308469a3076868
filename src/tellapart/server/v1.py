"""The server's own API: an image in, a decision out."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tellapart.server.body import read_uploads
from tellapart.server.served import Service


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
        images, several = await read_uploads(request, service.limits)
        ask = {"map": request.query_params.get("map") in ("1", "true")}
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
        Route("/v1/models", models),
        Route("/v1/models/{name}", model),
        Route("/v1/models/{name}/drift", drift),
        Route("/v1/models/{name}/predict", predict, methods=["POST"]),
    ]
