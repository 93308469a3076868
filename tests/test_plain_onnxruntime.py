"""The model file without tellapart: what the documentation shows for JavaScript answers the same.

What it shows for Python runs with the other blocks, in test_docs.py.
"""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

import tellapart
from helpers.commands import run_command
from helpers.documentation import FOLDER, blocks
from helpers.hosting import RUNTIME
from helpers.images import pixels_of, write_classes
from tellapart.web.runtime import runtime_files

NODE = shutil.which("node")
PAGE = FOLDER / "how-to" / "plain-onnxruntime.md"
# The name under which the page imports the runtime → the WebAssembly build, which needs no npm here.
STAND_IN = """
import { readFileSync } from "node:fs";
import { env } from "./ort.mjs";
env.wasm.numThreads = 1;
env.wasm.wasmBinary = readFileSync(new URL("ort.wasm", import.meta.url));
export * from "./ort.mjs";
"""
CALL = """
const pixels = new Uint8Array(readFileSync("pixels"));
console.log(JSON.stringify(await classify(pixels, 48, 64)));
"""


@pytest.fixture
def folder(tmp_path):
    """A folder in which Node.js finds the runtime."""
    package = tmp_path / "node_modules" / "onnxruntime-node"
    package.mkdir(parents=True)
    files = runtime_files(RUNTIME)
    (package / "ort.mjs").write_bytes(files["ort.js"])
    (package / "ort.wasm").write_bytes(files["ort.wasm"])
    (package / "index.mjs").write_text(STAND_IN)
    (package / "package.json").write_text('{"type": "module", "exports": "./index.mjs"}')
    return tmp_path


@pytest.mark.skipif(NODE is None, reason="Node.js is not installed")
@pytest.mark.skipif(
    not RUNTIME.exists(), reason="npm pack onnxruntime-web was not run; see CONTRIBUTING.md"
)
def test_the_javascript_of_the_page_answers_as_python_does(folder):
    photos = write_classes(folder / "photos", 12)
    run = tellapart.train(photos, out=folder / "runs", quiet=True)
    shutil.copy(run.model, folder / "model.onnx")
    (folder / "model.json").write_text(run_command("inspect", run.model, "--json").out)
    image = photos / "sky" / "000.jpg"
    (folder / "pixels").write_bytes(pixels_of(image.read_bytes()).astype("uint8").tobytes())
    (code,) = [block.text for block in blocks(PAGE, "js") if not block.skipped]
    (folder / "run.mjs").write_text(code + CALL)
    ended = subprocess.run([NODE, "run.mjs"], cwd=folder, capture_output=True, check=True)
    found, wanted = json.loads(ended.stdout), run.predictor().predict(image)
    assert (found["answer"], found["decision"]) == (wanted.answer, wanted.decision)
    assert found["probability"] == pytest.approx(wanted.confidence, abs=0.02)
