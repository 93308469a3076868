"""A review of 10,000 findings, driven in Chromium: how fast it is, and that no kill loses a decision.

    python stress/review_kills.py [--findings 10000] [--kills 20] [--decisions 300] [--px 1024]

Images, a small run and its findings are generated. The page is opened five times, and decisions are
made by keys with a pause between them, as a quick person makes them. Then the server is killed at
random moments while decisions come without a pause. In every second round the file also gets half a
line, as a machine leaves it that lost its power. Each decision that the server acknowledged must be
in the file when the review is opened again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import tellapart
from tellapart.catalog.fixes import read_fixes

CLASSES = {"cat": (190, 80, 60), "dog": (70, 160, 60), "emu": (110, 150, 230)}
BASES = 24  # different images; all others are these with another comment, so with another digest

SHOWN = "#frame img"  # which is there only when it can be painted
PRESS = """
async ([key, pause]) => {
  const frame = document.querySelector("#frame");
  const item = () => frame.querySelector("img")?.dataset.item;
  await new Promise((resolve) => setTimeout(resolve, pause));
  const before = item(), began = performance.now();
  document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
  while (item() === before || !frame.querySelector("img").complete) {
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
  await new Promise((resolve) => requestAnimationFrame(resolve));
  return performance.now() - began;
}
"""
# What the browser needs to paint anything at all, on this machine in this moment.
FRAME = """
async (pause) => {
  await new Promise((resolve) => setTimeout(resolve, pause));
  const began = performance.now();
  await new Promise((resolve) => setTimeout(resolve, 0));
  await new Promise((resolve) => requestAnimationFrame(resolve));
  return performance.now() - began;
}
"""
HAMMER = """
() => setInterval(() => {
  const key = "1 2 Delete".split(" ")[Math.floor(3 * Math.random())];
  document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
}, 15)
"""


def write_data(folder: Path, count: int, px: int) -> list[dict[str, Any]]:
    """Images of three classes and the findings about them, one an image."""
    rng, findings = np.random.default_rng(0), []
    bases = [base(rng, list(CLASSES)[place % 3], px) for place in range(BASES)]
    names = list(CLASSES)
    for number in range(count):
        label = names[number % 3]
        data = with_comment(bases[number % BASES], number)
        path = folder / label / f"{number:06}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        image = {
            "path": f"{label}/{number:06}.jpg",
            "digest": hashlib.sha256(data).hexdigest(),
            "label": label,
            "split": "train",
            "proposal": names[(number + 1) % 3],
            "confidence": 0.9,
        }
        findings.append(
            {
                "number": number + 1,
                "kind": "label" if number % 5 else "outlier",
                "title": "Perhaps a wrong label",
                "text": "The model sees another class. Look whether the label is right.",
                "score": 1.0 - number / count,
                "images": [image],
            }
        )
    return findings


def base(rng: np.random.Generator, label: str, px: int) -> bytes:
    """A JPEG with as much detail as a photo has."""
    coarse = Image.fromarray(rng.uniform(0, 255, (12, 16, 3)).astype(np.uint8))
    smooth = np.asarray(coarse.resize((px, px * 3 // 4), Image.Resampling.BICUBIC), np.float64)
    noise = rng.normal(0, 8, smooth.shape)
    pixels = (0.5 * smooth + 0.5 * np.array(CLASSES[label]) + noise).clip(0, 255)
    with tempfile.SpooledTemporaryFile() as file:
        Image.fromarray(pixels.astype(np.uint8)).save(file, "JPEG", quality=88)
        file.seek(0)
        return bytes(file.read())


def with_comment(jpeg: bytes, number: int) -> bytes:
    """The same image with a comment behind its first marker."""
    text = f"{number:08}".encode()
    return jpeg[:2] + b"\xff\xfe" + (len(text) + 2).to_bytes(2) + text + jpeg[2:]


def write_run(folder: Path, count: int, px: int) -> tuple[Path, Path]:
    """A small run and the data of its review; returns both."""
    learned = folder / "learned"
    write_data(learned, 48, 128)
    run = tellapart.train(learned, out=folder / "runs", name="review", quiet=True).path
    findings = write_data(folder / "data", count, px)
    (run / "audit").mkdir()
    lines = "".join(f"{json.dumps(finding)}\n" for finding in findings)
    (run / "audit" / "findings.jsonl").write_text(lines)
    return run, folder / "data"


@contextmanager
def reviewing(run: Path, data: Path) -> Iterator[tuple[subprocess.Popen[str], str, float]]:
    """The review in a process of its own: the process, its address, and the seconds it took."""
    words = ["-m", "tellapart", "review", str(run), "--data", str(data), "--who", "ann"]
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *words], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stderr
    try:
        for line in process.stderr:
            if found := re.search(r"http://\S+/", line):
                yield process, found[0], time.perf_counter() - began
                return
        raise RuntimeError("The review did not start.")
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def measure_opening(browser: Any, address: str, times: int = 5) -> list[float]:
    """Seconds from asking for the page to the first image on it, by the browser's own clock."""
    found = []
    for _ in range(times):
        context = browser.new_context()
        page = context.new_page()
        page.goto(address)
        page.wait_for_selector(SHOWN)
        found.append(page.evaluate("performance.getEntriesByName('image')[0].startTime") / 1000)
        context.close()
    return found


def measure_next(
    browser: Any, address: str, decisions: int, pause_ms: int
) -> tuple[list[float], list[float]]:
    """Milliseconds from a key to the next image, and those of a frame alone."""
    page = browser.new_context().new_page()
    page.goto(address)
    page.wait_for_selector(SHOWN)
    page.wait_for_timeout(1000)
    found, alone = [], []
    for _ in range(decisions):
        found.append(page.evaluate(PRESS, ["1", pause_ms]))
        alone.append(page.evaluate(FRAME, pause_ms))
    page.wait_for_selector("#saved:not(.waits)")
    page.context.close()
    return sorted(found), sorted(alone)


def kill_once(browser: Any, run: Path, data: Path, rng: random.Random) -> list[dict[str, Any]]:
    """Decide without a pause until the server is killed; returns what it acknowledged."""
    acknowledged: list[dict[str, Any]] = []

    def note(response: Any) -> None:
        if response.request.method == "POST" and response.status == 200:
            acknowledged.extend(json.loads(response.request.post_data)["decisions"])

    with reviewing(run, data) as (process, address, _):
        page = browser.new_context().new_page()
        page.on("response", note)
        page.goto(address)
        page.wait_for_selector(SHOWN)
        page.evaluate(HAMMER)
        page.wait_for_timeout(rng.uniform(100, 2500))
        process.kill()
        process.wait()
        page.wait_for_timeout(50)
        page.context.close()
    return acknowledged


def lost(run: Path, acknowledged: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The acknowledged decisions that the file does not hold."""
    lines = (run / "audit" / "findings.jsonl").read_text().splitlines()
    images = [json.loads(line)["images"][0] for line in lines]
    kept = {
        (fix.digest, fix.action, fix.now) for fix in read_fixes(run / "audit" / "fixes.jsonl").lines
    }
    return [
        entry
        for entry in acknowledged
        if (images[entry["item"]]["digest"], entry["action"], entry.get("now")) not in kept
    ]


def main() -> None:
    """Measure, kill and check."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--findings", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--decisions", type=int, default=300)
    parser.add_argument("--px", type=int, default=1024, help="the width of the images")
    parser.add_argument("--pause-ms", type=int, default=200, help="between two decisions")
    parser.add_argument("--folder", type=Path, help="where to keep what is generated")
    given = parser.parse_args()
    from playwright.sync_api import sync_playwright

    folder = given.folder or Path(tempfile.mkdtemp(prefix="review-"))
    run, data = write_run(folder, given.findings, given.px)
    rng, all_acknowledged, torn = random.Random(0), [], 0
    chromium = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        with reviewing(run, data) as (_, address, seconds):
            print(f"start of the server: {seconds:.2f} s")
            openings = measure_opening(browser, address)
            print(
                f"opening: median {statistics.median(openings):.2f} s, most {max(openings):.2f} s"
            )
            measured = measure_next(browser, address, given.decisions, given.pause_ms)
            for what, times in zip(("next image", "a frame alone"), measured, strict=True):
                print(
                    f"{what}, {len(times)} times: median {times[len(times) // 2]:.0f} ms,"
                    f" 95th percentile {times[int(0.95 * len(times))]:.0f} ms,"
                    f" most {times[-1]:.0f} ms"
                )
        fixes = run / "audit" / "fixes.jsonl"
        for number in range(given.kills):
            all_acknowledged += kill_once(browser, run, data, rng)
            if number % 2:
                with fixes.open("ab") as file:
                    file.write(b'{"digest": "0123')
                    torn += 1
        with reviewing(run, data):  # which repairs the file
            pass
        browser.close()
    missing = lost(run, all_acknowledged)
    print(
        f"{given.kills} kills, {torn} torn lines: {len(all_acknowledged):,} decisions acknowledged,"
        f" {len(missing)} lost"
    )
    if not given.folder:
        shutil.rmtree(folder)
    sys.exit(1 if missing else 0)


if __name__ == "__main__":
    main()
