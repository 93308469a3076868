"""How large the report of many images is, how long it takes, and how fast a browser opens it.

    python benchmarks/report.py DATA [--images 10000] [--keep FOLDER] [--out benchmarks/results/report.json]

DATA is a folder with one folder a class. So many images of it are copied and trained on, then the
report is made anew; --keep puts it into a folder, to be looked at. Chromium opens the page on a
phone and on a desktop screen, and axe-core looks for faults. Needs playwright and
axe-playwright-python.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Browser, sync_playwright
from recording import about

import tellapart
from tellapart.keyed import keyed_numbers

SCREENS = {"phone": (390, 844), "desktop": (1280, 900)}
OPENED = 5  # times, of which the median counts
_TIMES = """async () => {
  const painted = () => performance.getEntriesByName("first-contentful-paint")[0];
  while (!painted()) await new Promise(requestAnimationFrame);
  const [navigation] = performance.getEntriesByType("navigation");
  return {load: navigation.loadEventEnd, paint: painted().startTime};
}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = copied(arguments.data, arguments.images, Path(folder) / arguments.data.name)
        result = measured(data, Path(folder) / "runs", arguments.seed, arguments.keep)
    result |= about([arguments.data.name], arguments.seed)
    text = json.dumps(result, indent=1)
    print(text)
    if arguments.out:
        arguments.out.write_text(f"{text}\n")


def copied(data: Path, count: int, to: Path) -> Path:
    """So many random images of a folder, in the folders of their classes."""
    paths = sorted(file for file in data.rglob("*") if file.is_file())
    names = [file.relative_to(data).as_posix() for file in paths]
    order = np.argsort(keyed_numbers(0, "benchmark", names), kind="stable")[:count]
    for place in order.tolist():
        goal = to / names[place]
        goal.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(paths[place], goal)
    return to


def measured(data: Path, runs: Path, seed: int, keep: Path | None) -> dict[str, Any]:
    """Sizes, times and faults of the report of a training."""
    run = tellapart.train(data, out=runs, seed=seed)
    began = time.perf_counter()
    written = tellapart.write_report(run.path)
    seconds = time.perf_counter() - began
    if keep:
        keep.mkdir(parents=True, exist_ok=True)
        for file in (written.page, written.facts, written.model_card):
            shutil.copyfile(file, keep / file.name)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        opened = {name: seen(browser, written.page, *size) for name, size in SCREENS.items()}
        browser.close()
    return {
        "images": sum(run.statuses.values()),
        "test_images": run.metrics.accuracy.count,
        "accuracy": run.metrics.accuracy.as_json(),
        "megabytes": {
            file.name: round(file.stat().st_size / 1e6, 3)
            for file in (written.page, written.facts, written.model_card)
        },
        "seconds_in_training": {step: run.seconds.get(step) for step in ("learning curve", "all")},
        "seconds_anew": round(seconds, 2),
        "opened": opened,
    }


def seen(browser: Browser, page: Path, width: int, height: int) -> dict[str, Any]:
    """How fast a screen opens the page, and what axe-core finds."""
    times = []
    for _ in range(OPENED):
        context = browser.new_context(viewport={"width": width, "height": height})
        tab = context.new_page()
        tab.goto(page.as_uri(), wait_until="load")
        times.append(tab.evaluate(_TIMES))
        context.close()
    tab = browser.new_page(viewport={"width": width, "height": height})
    tab.goto(page.as_uri(), wait_until="load")
    faults = Axe().run(tab).response["violations"]
    overflow = tab.evaluate("document.documentElement.scrollWidth - innerWidth")
    elements = tab.evaluate("document.querySelectorAll('*').length")
    tab.close()
    return {
        "ms_to_load": round(statistics.median(entry["load"] for entry in times), 1),
        "ms_to_first_paint": round(statistics.median(entry["paint"] for entry in times), 1),
        "elements": elements,
        "pixels_too_wide": max(overflow, 0),
        "faults": {fault["id"]: fault["impact"] for fault in faults},
    }


if __name__ == "__main__":
    main()
