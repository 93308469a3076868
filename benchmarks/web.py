"""How large and how fast is the page without a server, and does it answer as Python does?

    python benchmarks/web.py RUN DATA [--images 200] [--visits 5] [--runtime FILE.tgz]
        [--out result.json]

The page is exported, served by Python's own static server on loopback, and opened in Chromium.
Measured are the bytes of the folder, as they are and packed by gzip; the seconds from opening the
address to the first answer, in a fresh browser profile each; the same offline, after that visit; and
the milliseconds of each answer, beside Python's for the same file on one thread, in turn. Reported
too is how many decisions differ, and the largest difference of a probability.
"""

from __future__ import annotations

import argparse
import base64
import functools
import gzip
import json
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from recording import about

import tellapart
from tellapart.sources.walk import IMAGE_SUFFIXES

ASK = """async (text) => {
  const client = await import(new URL("page/client.js", location.href).href);
  const file = new File([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))], "image");
  const begin = performance.now();
  const answer = await client.classify("model", file);
  return [answer, performance.now() - begin];
}"""
PATIENCE = 60_000  # ms


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *words: Any) -> None:
        pass


@contextmanager
def hosted(folder: Path) -> Iterator[str]:
    handler = functools.partial(_Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def sizes(folder: Path) -> dict[str, int]:
    """The bytes of all files, as they are and packed one by one."""
    contents = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    return {
        "bytes": sum(map(len, contents)),
        "bytes_packed": sum(len(gzip.compress(content)) for content in contents),
        "files": len(contents),
    }


def first_answer(context: BrowserContext, home: str, image: Path) -> tuple[Page, float]:
    """The page, and the seconds from opening it to its first answer."""
    page = context.new_page()
    begin = time.monotonic()
    page.goto(home)
    page.set_input_files("#files", str(image))
    expect(page.locator("#rows tr")).to_have_count(1, timeout=PATIENCE)
    return page, time.monotonic() - begin


def visits(browser: Browser, home: str, image: Path, count: int) -> dict[str, list[float]]:
    """The seconds to the first answer: of new visitors, and of the same offline."""
    online, offline = [], []
    for _ in range(count):
        context = browser.new_context()
        page, seconds = first_answer(context, home, image)
        online.append(seconds)
        page.evaluate("async () => { await navigator.serviceWorker.ready; }")
        context.set_offline(True)
        offline.append(first_answer(context, home, image)[1])
        context.close()
    return {"first_answer_s": online, "first_answer_offline_s": offline}


def answers(page: Page, model: tellapart.Predictor, files: list[Path]) -> dict[str, Any]:
    """What the page and Python say of the same files, and how long each takes, in turn."""
    in_page, in_python, differences, others = [], [], [], 0
    for file in files:
        data = file.read_bytes()
        found, milliseconds = page.evaluate(ASK, base64.b64encode(data).decode())
        begin = time.perf_counter()
        wanted = model.predict(data)
        in_python.append(1000 * (time.perf_counter() - begin))
        in_page.append(milliseconds)
        pair = (found["answer"], found["decision"])
        others += pair != (wanted.answer, wanted.decision)
        differences.append(
            max(
                abs(found["probabilities"][name] - wanted.probabilities[name])
                for name in wanted.probabilities
            )
        )
    return {
        "images": len(files),
        "page_ms": statistics.median(in_page),
        "python_ms": statistics.median(in_python),
        "other_answers_or_decisions": others,
        "probability_largest": max(differences),
        "probability_mean": statistics.mean(differences),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--visits", type=int, default=5)
    parser.add_argument("--runtime", type=Path)
    parser.add_argument("--out", type=Path)
    words = parser.parse_args()
    found = sorted(path for path in words.data.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    files = found[:: max(1, len(found) // words.images)][: words.images]
    model = tellapart.load(words.run)
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name) / "page"
        tellapart.export_web(words.run, folder, runtime=words.runtime, quiet=True)
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        with hosted(folder) as home:
            timed = visits(browser, home, files[0], words.visits)
            page, _ = first_answer(browser.new_context(), home, files[0])
            result = {
                **about([words.data.name]),
                "browser": f"Chromium {browser.version}, headless, wasm on one thread",
                "precision": model.card.precision,
                **sizes(folder),
                **{key: statistics.median(values) for key, values in timed.items()},
                "visits": words.visits,
                **answers(page, model, files),
            }
        browser.close()
    print(json.dumps(result, indent=1))
    if words.out:
        words.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
