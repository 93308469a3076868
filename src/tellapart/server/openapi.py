"""The description of the API that tools read: OpenAPI 3.1."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

IMAGE_TYPES = ("image/jpeg", "image/png", "image/webp", "application/octet-stream")


def _json(schema: dict[str, Any], what: str) -> dict[str, Any]:
    return {"description": what, "content": {"application/json": {"schema": schema}}}


def _of(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


TEXT, NUMBER = {"type": "string"}, {"type": "number"}
TEXTS = {"type": "array", "items": TEXT}
ERROR = _json(_of(error=_of(code=TEXT, message=TEXT), request_id=TEXT), "Why there is no answer.")
CLASS_MAP: dict[str, Any] = {
    "class": TEXT,
    "png": {**TEXT, "description": "Transparent, in base64: orange speaks for the class."},
}
ANSWER = _of(
    status={**TEXT, "description": "ok, or why the file is no image that can be used."},
    notes=TEXTS,
    detail=TEXT,
    decision={"enum": ["answered", "unsure", "unfamiliar"]},
    answer={**TEXT, "description": "The most probable class, or the one that costs least."},
    confidence={**NUMBER, "minimum": 0, "maximum": 1},
    probabilities={"type": "object", "additionalProperties": NUMBER},
    unfamiliarity={
        "type": ["number", "null"],
        "description": "Above 1 the image is unlike those of the training.",
    },
    image=_of(
        width=NUMBER, height=NUMBER, brightness=NUMBER, contrast=NUMBER, colourfulness=NUMBER
    ),
    map={
        **_of(
            kind={"enum": ["activation", "occlusion"]},
            **CLASS_MAP,
            runner_up={"anyOf": [_of(**CLASS_MAP), {"type": "null"}]},
            left=NUMBER,
            top=NUMBER,
            width=NUMBER,
            height=NUMBER,
        ),
        "type": ["object", "null"],
        "description": "null where the network has no such map.",
    },
    neighbours={
        "type": "array",
        "items": _of(path=TEXT, label=TEXT, split=TEXT, digest=TEXT, similarity=NUMBER),
    },
    ms=_of(decode=NUMBER, compute=NUMBER, wait=NUMBER),
)


def description(models: Sequence[str], *, token: bool) -> dict[str, Any]:
    """The whole document.

    Args:
        models: the names of the models.
        token: whether clients must show one.
    """
    name = {"name": "name", "in": "path", "required": True, "schema": {"enum": list(models)}}
    heat = {
        "name": "map",
        "in": "query",
        "schema": {"enum": ["0", "1", "occlusion"]},
        "description": (
            "1 adds the heat maps of the answer and of the runner-up, as PNGs in base64. Where the"
            " network has none, occlusion adds maps at the cost of 50 answers."
        ),
    }
    near = {
        "name": "neighbours",
        "in": "query",
        "schema": {"type": "integer", "minimum": 0, "maximum": 50},
        "description": "How many of the nearest training images to add. Needs a served run folder.",
    }
    raw = {kind: {"schema": {"type": "string", "format": "binary"}} for kind in IMAGE_TYPES}
    form = {"schema": _of(image={"type": "array", "items": {"type": "string", "format": "binary"}})}
    answered = {
        "one": {**ANSWER, "properties": {"request_id": TEXT, **ANSWER["properties"]}},
        "several": _of(request_id=TEXT, answers={"type": "array", "items": ANSWER}),
    }
    predict = {
        "summary": "Classify one image, or several in a form.",
        "parameters": [name, heat, near],
        "requestBody": {"required": True, "content": {**raw, "multipart/form-data": form}},
        "responses": {
            "200": _json({"anyOf": list(answered.values())}, "The answer."),
            "422": _json(answered["one"], "The file is no image that can be used."),
            **dict.fromkeys(("400", "401", "404", "408", "413", "429", "503", "504"), ERROR),
        },
    }

    def get(summary: str, what: dict[str, Any]) -> dict[str, Any]:
        return {"get": {"summary": summary, "responses": {"200": _json(what, summary)}}}

    anything: dict[str, Any] = {"type": "object"}
    paths = {
        "/v1/models": get("The models.", _of(models={"type": "array", "items": anything})),
        "/v1/models/{name}": {"parameters": [name], **get("One model.", anything)},
        "/v1/models/{name}/drift": {
            "parameters": [name],
            **get("Whether the images are like those of the training.", anything),
        },
        "/v1/models/{name}/predict": {"post": predict},
        "/v2/health/live": get("Whether the server runs.", anything),
        "/v2/health/ready": get("Whether an image that comes now is answered.", anything),
        "/v2/models/{name}": {"parameters": [name], **get("Inputs and outputs.", anything)},
        "/v2/models/{name}/infer": {
            "post": {
                "summary": "Classify by the Open Inference Protocol.",
                "parameters": [name],
                "requestBody": {"content": {"application/json": {"schema": anything}}},
                "responses": {"200": _json(anything, "The outputs.")},
            }
        },
    }
    schemes = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "basic": {"type": "http", "scheme": "basic"},
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "tellapart", "version": version("tellapart")},
        "paths": paths,
        **({"components": {"securitySchemes": schemes}} if token else {}),
        **({"security": [{scheme: []} for scheme in schemes]} if token else {}),
    }
