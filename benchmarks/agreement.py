"""Do all ways to ask a model give the same answers?

    python benchmarks/agreement.py RUN IMAGES [--images 500] [--out benchmarks/results/agreement.json]

The same images are answered by Python, by the command line, by plain onnxruntime after Pillow, by the
server as raw bodies, as a form and by the Open Inference Protocol, and by the server's page in
Chromium. Python's answers are what the others are held against: how many answers and decisions differ,
and the largest difference of a probability. `web.py` measures the page without a server.
"""

from __future__ import annotations

import argparse
import base64
import csv
import http.client
import io
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from PIL import Image, ImageOps
from recording import about, environment

import tellapart
from tellapart.sources.walk import IMAGE_SUFFIXES

# Of each image: its answer, its decision, and the probabilities in the order of the classes. A way
# that does not give one of them gives None.
Rows = list[tuple[str | None, str | None, list[float] | None]]


def by_python(model: tellapart.Predictor, files: Sequence[Path]) -> Rows:
    found = model.predict(list(files))
    return [(row.answer, row.decision, list(row.probabilities.values())) for row in found]


def by_command(run: Path, classes: Sequence[str], files: Sequence[Path]) -> Rows:
    with tempfile.TemporaryDirectory() as name:
        out = Path(name) / "answers.csv"
        words = [sys.executable, "-m", "tellapart", "predict", run, *files, "--out", out, "-q"]
        subprocess.run(list(map(str, words)), check=True, env=environment(), capture_output=True)
        with out.open(encoding="utf-8") as table:
            return [
                (row["answer"], row["decision"], [float(row[f"p:{label}"]) for label in classes])
                for row in csv.DictReader(table)
            ]


def by_onnxruntime(model: tellapart.Predictor, files: Sequence[Path]) -> Rows:
    session = ort.InferenceSession(model.graph, providers=["CPUExecutionProvider"])
    threshold = json.loads(session.get_modelmeta().custom_metadata_map["thresholds"])["confidence"]
    found: Rows = []
    for file in files:
        with Image.open(file) as image:
            pixels = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
        probs, far = session.run(["probabilities", "unfamiliarity"], {"pixels": pixels[None]})
        best = int(probs[0].argmax())
        decision = "unsure" if threshold and probs[0, best] < threshold else "answered"
        decision = "unfamiliar" if far[0] > 1 else decision
        found.append((model.classes[best], decision, probs[0].tolist()))
    return found


def ask(port: int, path: str, body: bytes, kind: str = "application/octet-stream") -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", path, body, {"Content-Type": kind})
    answer = json.loads(connection.getresponse().read())
    connection.close()
    return answer


def by_http(port: int, files: Sequence[Path]) -> Rows:
    found = [ask(port, "/v1/models/m/predict", file.read_bytes()) for file in files]
    return [(row["answer"], row["decision"], list(row["probabilities"].values())) for row in found]


def by_form(port: int, files: Sequence[Path]) -> Rows:
    rows: Rows = []
    for start in range(0, len(files), 20):
        parts = [
            b'--limit\r\nContent-Disposition: form-data; name="i"; filename="%d.jpg"\r\n\r\n%b\r\n'
            % (place, file.read_bytes())
            for place, file in enumerate(files[start : start + 20])
        ]
        body = b"".join([*parts, b"--limit--\r\n"])
        found = ask(port, "/v1/models/m/predict", body, "multipart/form-data; boundary=limit")
        rows += [
            (row["answer"], row["decision"], list(row["probabilities"].values()))
            for row in found["answers"]
        ]
    return rows


def by_protocol(port: int, files: Sequence[Path]) -> Rows:
    rows: Rows = []
    for start in range(0, len(files), 10):
        data = [base64.b64encode(file.read_bytes()).decode() for file in files[start : start + 10]]
        tensor = {"name": "image", "datatype": "BYTES", "shape": [len(data)], "data": data}
        outputs = ask(port, "/v2/models/m/infer", json.dumps({"inputs": [tensor]}).encode())
        found = {output["name"]: output["data"] for output in outputs["outputs"]}
        probs = np.reshape(found["probabilities"], (len(data), -1)).tolist()
        rows += zip(found["answer"], found["decision"], probs, strict=True)
    return rows


def by_page(port: int, files: Sequence[Path]) -> Rows:
    """Through the page's own table, which a visitor saves."""
    from playwright.sync_api import expect, sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{port}/")
        expect(page).to_have_title(re.compile("^m "))
        page.set_input_files("#files", [str(file) for file in files])
        answered = page.locator("#progress")
        expect(answered).to_have_text(f"{len(files)} answered", timeout=600_000)
        with page.expect_download() as download:
            page.click("#save")
        text = Path(download.value.path()).read_text(encoding="utf-8-sig")
        browser.close()
    rows = {row["image"]: row for row in csv.DictReader(io.StringIO(text))}
    return [(rows[file.name]["answer"], rows[file.name]["decision"], None) for file in files]


def compared(rows: Rows, wanted: Rows) -> dict[str, Any]:
    pairs = list(zip(rows, wanted, strict=True))
    distances = [
        float(np.abs(np.subtract(row[2], other[2])).max())
        for row, other in pairs
        if row[2] is not None and other[2] is not None
    ]
    return {
        "other_answers": sum(row[0] != other[0] for row, other in pairs),
        "other_decisions": sum(row[1] != other[1] for row, other in pairs),
        "probability_largest": max(distances) if distances else None,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--images", dest="most", type=int, default=500)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    every = sorted(
        path for path in options.images.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES
    )
    files = every[:: max(1, len(every) // options.most)][: options.most]
    model = tellapart.load(options.run)
    wanted = by_python(model, files)
    words = [sys.executable, "-m", "tellapart", "serve", f"m={options.run}", "--port", "0"]
    server = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=environment())
    assert server.stderr
    line = next(line for line in server.stderr if "The page is" in line)
    address = re.search(r":(\d+)/", line)
    assert address
    port = int(address[1])
    # Whoever does not read the log of a server makes it wait.
    reader = subprocess.Popen(["cat"], stdin=server.stderr, stdout=subprocess.DEVNULL)
    ways: dict[str, Callable[[], Rows]] = {
        "command line": lambda: by_command(options.run, model.classes, files),
        "plain onnxruntime": lambda: by_onnxruntime(model, files),
        "HTTP, raw body": lambda: by_http(port, files),
        "HTTP, form": lambda: by_form(port, files),
        "Open Inference Protocol": lambda: by_protocol(port, files),
        "page": lambda: by_page(port, files),
    }
    try:
        found = {name: compared(way(), wanted) for name, way in ways.items()}
    finally:
        server.terminate()
        server.wait(40)
        reader.wait(10)
    result = {**about([options.images.name]), "images": len(files), "ways": found}
    print(json.dumps(result["ways"], indent=1))
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
