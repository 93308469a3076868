"""The server gives the answers of the model file, in every form in which it can be asked."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from helpers.serving import Serving, form, serving
from tellapart import Predictor


@pytest.fixture(scope="module")
def server(model: Path) -> Iterator[Serving]:
    with serving(model, workers=2) as running:
        yield running


@pytest.fixture(scope="module")
def files(shown: Path) -> list[Path]:
    return sorted(shown.glob("*/*.jpg"))


def same(found: dict[str, Any], path: Path, predictor: Predictor) -> None:
    wanted = predictor.predict(path)
    assert (found["status"], found["decision"], found["answer"]) == (
        "ok",
        wanted.decision,
        wanted.answer,
    )
    assert found["probabilities"] == pytest.approx(wanted.probabilities, abs=1e-6)
    assert found["unfamiliarity"] == pytest.approx(wanted.unfamiliarity, abs=1e-5)


def test_an_image_as_the_body(server: Serving, files: list[Path], predictor: Predictor):
    reply = server.predict(files[0].read_bytes())
    assert reply.status == 200
    same(reply.json, files[0], predictor)
    assert reply.json["model"] == "m" and len(reply.json["digest"]) == 64
    assert reply.json["request_id"] == reply.headers["x-request-id"]
    with Image.open(files[0]) as img:
        assert (reply.json["image"]["width"], reply.json["image"]["height"]) == img.size


def test_several_images_in_a_form(server: Serving, files: list[Path], predictor: Predictor):
    body, kind = form(*[(path.name, path.read_bytes()) for path in files[::5]], ("x.txt", b"hello"))
    reply = server.predict(body, content_type=kind)
    *answers, bad = reply.json["answers"]
    assert reply.status == 200 and len(answers) == len(files[::5])
    for path, answer in zip(files[::5], answers, strict=True):
        assert answer["name"] == path.name
        same(answer, path, predictor)
    assert bad["status"] == "not_an_image" and "answer" not in bad


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"", "empty"),
        (b"hello, I am text", "not_an_image"),
        (b"%PDF-1.7 and so on", "not_an_image"),
        (b"\xff\xd8\xff\xe0" + b"\0" * 100, "corrupt"),
    ],
)
def test_a_file_that_is_no_image_is_told(server: Serving, data: bytes, status: str):
    reply = server.predict(data)
    assert (reply.status, reply.json["status"]) == (422, status)
    assert reply.json["detail"].endswith(".")


def test_each_client_gets_the_answer_to_its_own_image(
    server: Serving, files: list[Path], predictor: Predictor
):
    asked = [path for path in files for _ in range(3)]
    with ThreadPoolExecutor(16) as clients:
        replies = list(clients.map(lambda path: server.predict(path.read_bytes()), asked))
    for path, reply in zip(asked, replies, strict=True):
        same(reply.json, path, predictor)


def test_a_heat_map_lies_on_the_square_that_the_network_sees(server: Serving):
    file = io.BytesIO()
    Image.fromarray(np.full((80, 160, 3), 90, np.uint8)).save(file, "PNG")
    found = server.predict(file.getvalue(), "?map=1").json["map"]
    img = Image.open(io.BytesIO(base64.b64decode(found["png"])))
    assert img.mode == "RGBA"
    assert found["width"] * 160 == pytest.approx(found["height"] * 80)
    assert found["left"] == pytest.approx((1 - found["width"]) / 2, abs=0.01)
    assert "map" not in server.predict(file.getvalue()).json
    assert found["kind"] == "activation" and found["class"] != found["runner_up"]["class"]
    assert Image.open(io.BytesIO(base64.b64decode(found["runner_up"]["png"]))).size == img.size


def test_the_nearest_training_images_of_a_served_run(model: Path, shown: Path):
    photo = (shown / "leaf" / "002.jpg").read_bytes()
    with serving(model.parent, workers=1) as server:
        near = server.predict(photo, "?neighbours=3&map=1").json["neighbours"]
        assert [found["label"] for found in near] == ["leaf"] * 3
        assert "leaf/002.jpg" not in [found["path"] for found in near]
        assert near[0]["similarity"] >= near[1]["similarity"] >= near[2]["similarity"]
        assert "neighbours" not in server.predict(photo, "?neighbours=0").json
        assert server.predict(photo, "?neighbours=many").code == "bad_request"
        assert server.predict(photo, "?neighbours=51").status == 400


def test_a_file_alone_has_no_neighbours_and_says_what_has(server: Serving, files: list[Path]):
    reply = server.predict(files[0].read_bytes(), "?neighbours=3")
    assert (reply.status, reply.code) == (400, "no_neighbours")
    assert "Serve its run folder" in reply.json["error"]["message"]


def test_what_a_client_may_know_of_a_model(server: Serving, predictor: Predictor):
    (about,) = server.ask("/v1/models").json["models"]
    assert about == server.ask("/v1/models/m").json
    assert about["classes"] == list(predictor.classes)
    assert server.ask("/v1/models/other").code == "no_such_model"


def test_drift_counts_the_images_that_were_answered(model: Path, files: list[Path]):
    dark = io.BytesIO()
    Image.new("RGB", (64, 64), (2, 2, 2)).save(dark, "PNG")
    with serving(model, workers=1) as server:
        assert server.ask("/v1/models/m/drift").json["images"] == 0
        for _ in range(40):
            server.predict(dark.getvalue())
        server.predict(b"no image")
        found = server.ask("/v1/models/m/drift").json
        assert found["images"] == 40 and "brightness" in found["differs"]
        text = server.ask("/metrics").body.decode()
        assert 'tellapart_drift_images_total{cell="0",measure="brightness",model="m"} 40.0' in text


# ── the Open Inference Protocol ──


def infer(server: Serving, request: dict[str, Any], binary: bytes = b"") -> Any:
    head = json.dumps(request).encode()
    headers = {"inference_header_content_length": str(len(head))} if binary else {}
    return server.ask("/v2/models/m/infer", head + binary, **headers)


def output(reply: Any, name: str) -> list[Any]:
    (found,) = [entry["data"] for entry in reply.json["outputs"] if entry["name"] == name]
    return list(found)


def test_files_as_base64(server: Serving, files: list[Path], predictor: Predictor):
    data = [base64.b64encode(path.read_bytes()).decode() for path in files[:3]]
    tensor = {"name": "image", "datatype": "BYTES", "shape": [3], "data": data}
    reply = infer(server, {"id": "mine", "inputs": [tensor]})
    assert reply.status == 200 and reply.json["id"] == "mine"
    wanted = [predictor.predict(path) for path in files[:3]]
    assert output(reply, "answer") == [answer.answer for answer in wanted]
    assert output(reply, "decision") == [answer.decision for answer in wanted]
    probabilities = np.array(output(reply, "probabilities")).reshape(3, -1)
    assert probabilities == pytest.approx(predictor.probabilities(files[:3]), abs=1e-6)


def test_pixels_as_binary_data_and_back(server: Serving, predictor: Predictor):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 40, 50, 3), np.uint8)
    tensor = {
        "name": "pixels",
        "datatype": "UINT8",
        "shape": list(pixels.shape),
        "parameters": {"binary_data_size": pixels.nbytes},
    }
    asked = [{"name": "probabilities", "parameters": {"binary_data": True}}, {"name": "answer"}]
    reply = infer(server, {"inputs": [tensor], "outputs": asked}, pixels.tobytes())
    length = int(reply.headers["inference-header-content-length"])
    head = json.loads(reply.body[:length])
    assert [entry["name"] for entry in head["outputs"]] == ["probabilities", "answer"]
    found = np.frombuffer(reply.body[length:], "<f4").reshape(head["outputs"][0]["shape"])
    assert found == pytest.approx(predictor.probabilities(list(pixels)), abs=1e-6)


def test_the_metadata_names_what_infer_takes_and_gives(server: Serving):
    found = server.ask("/v2/models/m").json
    assert [entry["name"] for entry in found["inputs"]] == ["image", "pixels"]
    assert {entry["name"] for entry in found["outputs"]} >= {"decision", "probabilities"}
    assert server.ask("/v2/models/m/versions/1").json == found
    assert server.ask("/v2/models/m/ready").status == 200
    assert server.ask("/v2/health/live").json == {"live": True}
    assert "binary_tensor_data" in server.ask("/v2").json["extensions"]


IMAGE = {"name": "image", "datatype": "BYTES", "shape": [1], "data": [""]}
PIXELS = {"name": "pixels", "datatype": "UINT8", "shape": [1, 2, 2, 3], "data": [0] * 12}


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ({"inputs": []}, 400),
        ({"inputs": "image"}, 400),
        ({"inputs": [IMAGE, IMAGE]}, 400),
        ({"inputs": [{**IMAGE, "shape": [2]}]}, 400),
        ({"inputs": [{**IMAGE, "shape": [-1]}]}, 400),
        ({"inputs": [{**IMAGE, "shape": [10**9]}]}, 413),
        ({"inputs": [{**IMAGE, "data": ["no base64!"]}]}, 400),
        ({"inputs": [{**IMAGE, "data": [7]}]}, 400),
        ({"inputs": [{**PIXELS, "data": [0] * 11}]}, 400),
        ({"inputs": [{**PIXELS, "data": [256] * 12}]}, 400),
        ({"inputs": [{**PIXELS, "shape": [1, 10**6, 10**6, 3]}]}, 400),
        ({"inputs": [{**PIXELS, "parameters": {"binary_data_size": 5}}]}, 400),
        ({"inputs": [PIXELS], "outputs": [{"name": "weights"}]}, 400),
        ({"inputs": [{**IMAGE, "data": [base64.b64encode(b"text").decode()]}]}, 422),
    ],
)
def test_what_the_protocol_does_not_know_is_told(
    server: Serving, request_: dict[str, Any], status: int
):
    reply = infer(server, request_)
    assert reply.status == status
    assert isinstance(reply.json["error"], str)


def test_json_that_is_none_is_told(server: Serving):
    for body in (b"", b"[]", b"{", b"[" * 100_000, b"\xff"):
        assert server.ask("/v2/models/m/infer", body).status == 400
    assert server.ask("/v2/models/m/infer", b" " * 9_000_000).status == 413


# ── what the API says of itself ──


def test_the_description_holds_every_route(server: Serving):
    found = server.ask("/openapi.json").json
    assert found["openapi"].startswith("3.1")
    for path, item in found["paths"].items():
        method = "get" if "get" in item else "post"
        reply = server.ask(path.replace("{name}", "m"), b"" if method == "post" else None)
        assert reply.status not in (404, 405), path
