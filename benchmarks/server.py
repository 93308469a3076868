"""How much of the machine does the server leave to its images, and how does it stand beside torch?

    python benchmarks/server.py MODEL IMAGES [--connections 1,8,32] [--seconds 10] [--rounds 3]
        [--torch] [--out benchmarks/results/server.json]

Sides take turns, each a fresh process: the server with `wrk`; a bare loop that decodes the same files
by Pillow and runs the same graph by onnxruntime, in as many processes as the server has workers; and,
with --torch, a plain FastAPI server of the same network in torch, as most people write it, asked
likewise; that needs `pip install fastapi` too. IMAGES is a folder; 64 files of it are sent in turn.
"of_bare" is the throughput as a share of the bare loop's, and "median_of_bare" the median time of one
client as a multiple of its.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from recording import about, environment

import tellapart
from tellapart.cores import usable_cores
from tellapart.sources.walk import IMAGE_SUFFIXES

SENT = 64

BARE = """
import io, sys, time
import numpy as np
import onnxruntime as ort
from PIL import Image, ImageOps

model, seconds, *files = sys.argv[1:]
options = ort.SessionOptions()
options.intra_op_num_threads = 1
session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
bodies = [open(file, "rb").read() for file in files]

def answer(body):
    with Image.open(io.BytesIO(body)) as image:
        pixels = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    return session.run(["probabilities", "unfamiliarity"], {"pixels": pixels[None]})

for body in bodies[:4]:
    answer(body)
print("ready", flush=True)
sys.stdin.readline()
times, end = [], time.perf_counter() + float(seconds)
while time.perf_counter() < end:
    began = time.perf_counter()
    answer(bodies[len(times) % len(bodies)])
    times.append(time.perf_counter() - began)
print(len(times), sorted(times)[len(times) // 2])
"""

TORCH = """
import io, sys
import timm, torch, uvicorn
from fastapi import FastAPI, Request
from PIL import Image

app = FastAPI()
model = timm.create_model(sys.argv[1], num_classes=2).eval()
transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))

@app.get("/v2/health/ready")
async def ready():
    return {}

@app.post("/v1/models/m/predict")
async def predict(request: Request):
    image = Image.open(io.BytesIO(await request.body())).convert("RGB")
    with torch.inference_mode():
        return {"probabilities": model(transform(image)[None]).softmax(1)[0].tolist()}

uvicorn.run(app, port=int(sys.argv[2]), log_level="error")
"""

SCRIPT = """
local bodies = {}
for line in io.lines("%s") do
  local file = io.open(line, "rb")
  bodies[#bodies + 1] = file:read("*all")
  file:close()
end
local turn = 0
request = function()
  turn = turn + 1
  return wrk.format("POST", "/v1/models/m/predict", nil, bodies[turn %% #bodies + 1])
end
done = function(summary, latency, requests)
  local bad = summary.errors.status + summary.errors.connect + summary.errors.timeout
  print(string.format("RESULT %%d %%d %%f %%f %%f", summary.requests, bad,
    summary.duration / 1e6, latency:percentile(50) / 1e6, latency:percentile(95) / 1e6))
end
"""


def bare(model: Path, files: list[Path], seconds: float, processes: int) -> dict[str, float]:
    """Images a second of a loop without a server, and its median time."""
    words = [sys.executable, "-c", BARE, str(model), str(seconds), *map(str, files)]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    running = [
        subprocess.Popen(words, env={**os.environ, "OMP_NUM_THREADS": "1"}, **pipes)
        for _ in range(processes)
    ]
    for process in running:
        assert process.stdout and process.stdout.readline() == "ready\n"
    for process in running:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    ends = [process.communicate()[0].split() for process in running]
    counts, medians = zip(*[(int(count), float(median)) for count, median in ends], strict=True)
    return {"per_second": sum(counts) / seconds, "median": statistics.median(medians)}


def memory(process: int) -> int:
    """MiB that a process and its children have for themselves, shared pages counted by their shares."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    rollup = Path(f"/proc/{process}/smaps_rollup").read_text()
    pss = re.search(r"^Pss:\s+(\d+)", rollup, re.MULTILINE)
    assert pss
    return int(pss[1]) // 1024 + sum(memory(int(child)) for child in children)


def asked(
    words: list[str], port: int, files: list[Path], connections: list[int], seconds: float
) -> dict[str, Any]:
    """What `wrk` measures of a server that these words start."""
    with tempfile.TemporaryDirectory() as name:
        listed, script = Path(name) / "files.txt", Path(name) / "ask.lua"
        listed.write_text("".join(f"{file}\n" for file in files))
        script.write_text(SCRIPT % listed)
        server = subprocess.Popen(words, env=environment(), stderr=subprocess.DEVNULL)
        try:
            address = f"http://127.0.0.1:{port}"
            ready = ["curl", "-sf", f"{address}/v2/health/ready"]
            while subprocess.run(ready, capture_output=True, check=False).returncode:
                assert server.poll() is None, "the server has ended"
                time.sleep(0.2)
            found: dict[str, Any] = {}
            for count in (1, *connections):  # the first is to warm up
                ask = ["wrk", "-t1", f"-c{count}", f"-d{seconds:g}s", "--timeout", "30s"]
                told = subprocess.run(
                    [*ask, "-s", str(script), address], capture_output=True, text=True, check=True
                )
                line = re.search(r"RESULT (.*)", told.stdout)
                assert line, told.stdout
                requests, bad, took, median, late = map(float, line[1].split())
                found[str(count)] = {
                    "per_second": requests / took,
                    "bad": bad,
                    "median": median,
                    "p95": late,
                }
            return {"connections": found, "memory_mib": memory(server.pid)}
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(40)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--connections", default="1,8,32")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--torch", action="store_true")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    model = options.model / "model.onnx" if options.model.is_dir() else options.model
    every = sorted(
        path for path in options.images.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES
    )
    files = every[:: max(1, len(every) // SENT)][:SENT]
    connections = [int(count) for count in options.connections.split(",")]
    workers = usable_cores()
    words = [sys.executable, "-m", "tellapart", "serve", f"m={model}", "--port", "8765", "-q"]
    other = [sys.executable, "-c", TORCH, tellapart.load(model).card.backbone, "8766"]
    rounds = []
    for _ in range(options.rounds):
        row: dict[str, Any] = {
            "bare": bare(model, files, options.seconds, workers),
            "bare alone": bare(model, files, options.seconds, 1),
            "server": asked(words, 8765, files, connections, options.seconds),
        }
        if options.torch:
            row["torch"] = asked(other, 8766, files, connections, options.seconds)
        served = row["server"]["connections"]
        row["of_bare"] = {
            count: found["per_second"] / row["bare"]["per_second"]
            for count, found in served.items()
        }
        row["median_of_bare"] = served["1"]["median"] / row["bare alone"]["median"]
        rounds.append(row)
        print(json.dumps(row), flush=True)
    most = str(max(connections))
    summary = {
        "of_bare": statistics.median(row["of_bare"][most] for row in rounds),
        "median_of_bare": statistics.median(row["median_of_bare"] for row in rounds),
    }
    print(json.dumps(summary, indent=1))
    if options.out:
        result = {**about([options.images.name]), "workers": workers, **summary, "rounds": rounds}
        options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
