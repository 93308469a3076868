"""The Open Inference Protocol, version 2, as KServe and Triton speak it.

https://github.com/kserve/open-inference-protocol, with Triton's extension for binary tensors. A model
takes "image", the bytes of N image files, or "pixels", N images of one size. It gives a decision, an
answer and the numbers behind them for each.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tellapart.server.body import Upload, read_body
from tellapart.server.served import Served, Service
from tellapart.server.workers import Refusal

HEADER_LENGTH = "inference-header-content-length"
LONGEST_JSON = 8_000_000  # bytes; images as JSON numbers are large, and slow to read
PLATFORM = "tellapart_onnx"

Values = list[str] | NDArray[np.float32]  # of one output


class _Refusal(Refusal):
    """A refusal in the protocol's own form."""

    def body(self, request_id: str) -> dict[str, Any]:
        """The JSON object of the response."""
        return {"error": self.message}


def routes(service: Service) -> list[Route]:
    """All routes under /v2."""

    async def live(request: Request) -> Response:
        return JSONResponse({"live": True})

    async def ready(request: Request) -> Response:
        return JSONResponse({"ready": service.desk.ready}, 200 if service.desk.ready else 503)

    async def server(request: Request) -> Response:
        extensions = ["binary_tensor_data"]
        return JSONResponse(
            {"name": "tellapart", "version": version("tellapart"), "extensions": extensions}
        )

    async def model(request: Request) -> Response:
        return JSONResponse(metadata(service.model(request)))

    async def model_ready(request: Request) -> Response:
        served = service.model(request)
        status = 200 if service.desk.ready else 503
        return JSONResponse({"name": served.name, "ready": service.desk.ready}, status)

    async def infer(request: Request) -> Response:
        try:
            served = service.model(request)
            head, binary = _split(
                await read_body(request, service.limits.max_bytes),
                request.headers.get(HEADER_LENGTH),
            )
            images, asks = read_images(head, binary, service.limits.max_images)
            answers = await service.answer(request, served, images, asks)
            for place, answer in enumerate(answers):
                if answer["status"] != "ok":
                    raise Refusal(
                        answer["status"], 422, f"Image {place} (from 0): {answer['detail']}"
                    )
            return write_outputs(head, served, answers)
        except Refusal as refusal:
            raise _Refusal(refusal.code, refusal.status, refusal.message) from None

    found = [
        Route("/v2", server),
        Route("/v2/health/live", live),
        Route("/v2/health/ready", ready),
    ]
    for address in ("/v2/models/{name}", "/v2/models/{name}/versions/1"):
        found += [
            Route(address, model),
            Route(f"{address}/ready", model_ready),
            Route(f"{address}/infer", infer, methods=["POST"]),
        ]
    return found


def metadata(served: Served) -> dict[str, Any]:
    """Inputs and outputs of a model. -1 is any number."""
    classes = len(served.predictor.classes)
    outputs = {
        "decision": ("BYTES", [-1]),
        "answer": ("BYTES", [-1]),
        "confidence": ("FP32", [-1]),
        "unfamiliarity": ("FP32", [-1]),
        "probabilities": ("FP32", [-1, classes]),
    }
    return {
        "name": served.name,
        "versions": ["1"],
        "platform": PLATFORM,
        "inputs": [
            {"name": "image", "datatype": "BYTES", "shape": [-1]},
            {"name": "pixels", "datatype": "UINT8", "shape": [-1, -1, -1, 3]},
        ],
        "outputs": [
            {"name": name, "datatype": kind, "shape": shape}
            for name, (kind, shape) in outputs.items()
        ],
        "parameters": {"classes": list(served.predictor.classes), "digest": served.digest},
    }


def _wrong(message: str) -> Refusal:
    return Refusal("bad_request", 400, message)


def _split(body: bytes, stated: str | None) -> tuple[dict[str, Any], bytes]:
    """The JSON of a request, and the binary tensors behind it."""
    length = len(body)
    if stated is not None:
        if not (stated.isascii() and stated.isdigit() and int(stated) <= len(body)):
            raise _wrong(f"{HEADER_LENGTH} must be a number up to the length of the body.")
        length = int(stated)
    if length > LONGEST_JSON:
        raise Refusal(
            "too_large",
            413,
            f"The JSON is longer than {LONGEST_JSON:,} bytes. Send binary tensors.",
        )
    try:
        head = json.loads(body[:length])
    except (ValueError, RecursionError):
        raise _wrong("The body is no JSON that can be read.") from None
    if not isinstance(head, dict):
        raise _wrong("The JSON must be an object.")
    return head, body[length:]


def read_images(
    head: Mapping[str, Any], binary: bytes, most: int
) -> tuple[list[Upload], list[dict[str, Any]]]:
    """The images of an inference request, and the shape of those that are pixels.

    Raises:
        Refusal: the request is not one that the protocol or the model knows.
    """
    inputs = head.get("inputs")
    if not (isinstance(inputs, list) and len(inputs) == 1 and isinstance(inputs[0], dict)):
        raise _wrong('There must be one input, "image" or "pixels".')
    (tensor,) = inputs
    shape = tensor.get("shape")
    if not isinstance(shape, list) or not all(type(size) is int and size > 0 for size in shape):
        raise _wrong("The shape must be a list of positive numbers.")
    name = tensor.get("name")
    kind = (name, tensor.get("datatype"), len(shape))
    if kind not in (("image", "BYTES", 1), ("image", "BYTES", 2), ("pixels", "UINT8", 4)):
        raise _wrong('The input must be "image", BYTES, [N], or "pixels", UINT8, [N, H, W, 3].')
    if shape[0] > most:
        raise Refusal("too_many_images", 413, f"At most {most:,} images fit in one request.")
    parameters = tensor.get("parameters")
    size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
    if size is not None and size != len(binary):
        raise _wrong("binary_data_size is not the length of the binary data.")
    if name == "pixels":
        if shape[3] != 3 or math.prod(shape) > 2**31:
            raise _wrong("Pixels must be [N, H, W, 3].")
        data = binary if size is not None else _as_bytes(tensor.get("data"))
        if len(data) != math.prod(shape):
            raise _wrong("There are not as many numbers as the shape says.")
        step = math.prod(shape[1:])
        pieces = [data[place * step : (place + 1) * step] for place in range(shape[0])]
        return [Upload("", piece) for piece in pieces], [{"shape": shape[1:]}] * shape[0]
    files = _strings(binary) if size is not None else _from_text(tensor.get("data"))
    if len(files) != math.prod(shape):
        raise _wrong("There are not as many images as the shape says.")
    return [Upload("", file) for file in files], [{}] * len(files)


def _as_bytes(data: object) -> bytes:
    try:
        return np.asarray(data, np.uint8).tobytes()
    except (ValueError, TypeError, OverflowError):
        raise _wrong("The data of pixels must be numbers from 0 to 255.") from None


def _from_text(data: object) -> list[bytes]:
    """Files as base64 text, as JSON cannot hold bytes."""
    flat = data if isinstance(data, list) else []
    flat = flat[0] if len(flat) == 1 and isinstance(flat[0], list) else flat
    try:
        return [base64.b64decode(item, validate=True) for item in flat]
    except (binascii.Error, TypeError, ValueError):
        raise _wrong('The data of "image" must be base64, or come as binary data.') from None


def _strings(binary: bytes) -> list[bytes]:
    """Byte strings, each behind its length in four bytes, least first."""
    found, place = [], 0
    while place < len(binary):
        length = int.from_bytes(binary[place : place + 4], "little")
        place += 4
        if place + length > len(binary):
            raise _wrong("The binary data end within an image.")
        found.append(binary[place : place + length])
        place += length
    return found


def write_outputs(
    head: Mapping[str, Any], served: Served, answers: Sequence[Mapping[str, Any]]
) -> Response:
    """The outputs that a request asks for, all where it names none: as JSON or as binary data.

    Raises:
        Refusal: it asks for an output that the model has not.
    """
    values: dict[str, Values] = {
        "decision": [answer["decision"] for answer in answers],
        "answer": [answer["answer"] for answer in answers],
        "confidence": _numbers([answer["confidence"] for answer in answers]),
        "unfamiliarity": _numbers([answer["unfamiliarity"] for answer in answers]),
        "probabilities": _numbers([list(answer["probabilities"].values()) for answer in answers]),
    }
    asked = head.get("outputs") or [{"name": name} for name in values]
    if not isinstance(asked, list) or not all(
        isinstance(output, dict) and output.get("name") in values for output in asked
    ):
        raise _wrong(f"The outputs are {', '.join(values)}.")
    all_binary = _flag(head, "binary_data_output")
    entries, tail = [], []
    for output in asked:
        name = output["name"]
        value = values[name]
        entry = {"name": name, **_described(value)}
        if _flag(output, "binary_data", all_binary):
            data = _packed(value)
            entry["parameters"] = {"binary_data_size": len(data)}
            tail.append(data)
        else:
            entry["data"] = value if isinstance(value, list) else _finite(value)
        entries.append(entry)
    whole = {"model_name": served.name, "model_version": "1", "outputs": entries}
    if isinstance(head.get("id"), str):
        whole["id"] = head["id"]
    text = json.dumps(whole).encode()
    if not tail:
        return Response(text, media_type="application/json")
    return Response(
        b"".join([text, *tail]),
        media_type="application/octet-stream",
        headers={HEADER_LENGTH: str(len(text))},
    )


def _numbers(values: Sequence[Any]) -> NDArray[np.float32]:
    """Numbers as FP32; one that there is not is NaN."""
    return np.array(values, np.float32)


def _finite(values: NDArray[np.float32]) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in values.ravel().tolist()]


def _described(value: Values) -> dict[str, Any]:
    if isinstance(value, list):
        return {"datatype": "BYTES", "shape": [len(value)]}
    return {"datatype": "FP32", "shape": list(value.shape)}


def _packed(value: Values) -> bytes:
    if isinstance(value, list):
        texts = [text.encode() for text in value]
        return b"".join(len(text).to_bytes(4, "little") + text for text in texts)
    return value.astype("<f4").tobytes()


def _flag(owner: Mapping[str, Any], name: str, default: bool = False) -> bool:
    parameters = owner.get("parameters")
    return bool(parameters.get(name, default)) if isinstance(parameters, dict) else default
