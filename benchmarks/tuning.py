"""Does the sampler of `tune` find better settings than random search, trial for trial?

    python benchmarks/tuning.py DATA [--trials 20] [--seeds 5] [--recipe probe] [--space FILE]
    [--set KEY=VALUE …]
        [--out x.json]

One study a seed and sampler, on the same splits and in the same space; both begin with the recipe's
own settings. The table holds the best val value so far after some numbers of trials: the mean over
the seeds, and the least and the largest. Beside it the test accuracy of each study's best, trained
once more: what the search was worth. Features of probes are shared among all studies, so only the
first of them pays for a backbone at a size.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from recording import about

SAMPLERS = ("tpe", "random")
SPLIT_SEED = 0  # the same images in val for every seed of the search


def studied(data: Path, recipe: str, more: list[str], folder: Path) -> dict[str, Any]:
    """One study by the command line: what `--json` says."""
    command = [
        sys.executable,
        "-m",
        "tellapart",
        "tune",
        str(data),
        "--recipe",
        recipe,
        "--out",
        str(folder / "runs"),
    ]
    variables = {
        **os.environ,
        "TELLAPART_CACHE": os.environ.get("TELLAPART_CACHE", str(folder / "cache")),
    }
    done = subprocess.run(
        [*command, *more, "--json"], stdout=subprocess.PIPE, text=True, env=variables, check=False
    )
    if done.returncode not in (0, 3):
        sys.exit(f"{' '.join(command[1:])} failed:\n{done.stdout[-2000:]}")
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def splits_of(data: Path, folder: Path) -> Path:
    """The splits that all studies share, made by one probe."""
    command = [
        sys.executable,
        "-m",
        "tellapart",
        "train",
        str(data),
        "--seed",
        str(SPLIT_SEED),
        "--json",
        "--quiet",
    ]
    variables = {
        **os.environ,
        "TELLAPART_CACHE": os.environ.get("TELLAPART_CACHE", str(folder / "cache")),
    }
    done = subprocess.run(
        [*command, "--out", str(folder / "runs")],
        stdout=subprocess.PIPE,
        text=True,
        env=variables,
        check=False,
    )
    if done.returncode not in (0, 3):
        sys.exit(f"train failed:\n{done.stdout[-2000:]}")
    return Path(json.loads(done.stdout.splitlines()[-1])["run"])


def best_so_far(values: list[float | None], lower: bool) -> list[float]:
    """After each trial the best value up to it; a trial without one changes nothing.

    >>> best_so_far([0.5, None, 0.7, 0.4], lower=True)
    [0.5, 0.5, 0.5, 0.4]
    """
    bests: list[float] = []
    for value in values:
        known = [*bests[-1:], *([] if value is None else [value])]
        bests.append((min(known) if lower else max(known)) if known else float("nan"))
    return bests


def one_study(
    data: Path, splits: Path, sampler: str, seed: int, options: argparse.Namespace, folder: Path
) -> Any:
    """Best so far after each trial, the test accuracy of the best, and the minutes of one study."""
    more = [
        "--trials",
        str(options.trials),
        "--sampler",
        sampler,
        "--seed",
        str(seed),
        "--splits",
        str(splits),
    ]
    more += [
        "--name",
        f"{sampler}-{seed}",
        *(["--space", str(options.space)] if options.space else []),
    ]
    more += [word for setting in options.set for word in ("--set", setting)]
    start = time.perf_counter()
    told = studied(data, options.recipe, more, folder)
    metric = told["best"]["metric"]
    values = [trial["value"] if trial["state"] == "finished" else None for trial in told["trials"]]
    row = {
        "sampler": sampler,
        "seed": seed,
        "metric": metric,
        "best_so_far": best_so_far(values, metric.endswith(("loss", "error"))),
        "settings": told["best"]["settings"],
        "test": told["test"] and told["test"]["accuracy"],
        "counts": told["counts"],
        "minutes": round((time.perf_counter() - start) / 60, 2),
    }
    print(
        f"{sampler}, seed {seed}: best {row['best_so_far'][-1]:.4f} in {row['minutes']} minutes",
        flush=True,
    )
    return row


def table(rows: list[dict[str, Any]], trials: int) -> str:
    """Best so far against trials, a line a sampler.

    >>> rows = [{"sampler": name, "best_so_far": [0.5, 0.25], "test": {"value": 0.9}} for name in SAMPLERS]
    >>> print(table(rows, 2).splitlines()[2])
    | tpe | 0.5000 (0.5000 to 0.5000) | 0.2500 (0.2500 to 0.2500) | 90.0 % |
    """
    marks = [mark for mark in (1, 2, 5, 10, 15, 20, 30, 40, 50, 75, 100) if mark < trials] + [
        trials
    ]
    heads = ["sampler", *(f"after {mark}" for mark in marks), "test accuracy of the best, mean"]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for sampler in SAMPLERS:
        own = [row for row in rows if row["sampler"] == sampler]
        cells = []
        for mark in marks:
            values = [row["best_so_far"][mark - 1] for row in own]
            cells.append(f"{statistics.fmean(values):.4f} ({min(values):.4f} to {max(values):.4f})")
        tested = [row["test"]["value"] for row in own if row["test"]]
        cells.append(f"{100 * statistics.fmean(tested):.1f} %" if tested else "–")
        lines.append("| " + " | ".join([sampler, *cells]) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--recipe", default="probe")
    parser.add_argument("--space", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--out", type=Path, help="write the result as JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        splits = splits_of(options.data, folder)
        rows = [
            one_study(options.data, splits, sampler, seed, options, folder)
            for seed in range(options.seeds)
            for sampler in SAMPLERS
        ]
    result = {
        **about([options.data.name]),
        "seed": f"0 to {options.seeds - 1}, splits of seed {SPLIT_SEED}",
        "threads": "each command's own",
        "recipe": options.recipe,
        "space": options.space.read_text() if options.space else "the recipe's own",
        "trials": options.trials,
        "studies": rows,
    }
    print(
        f"\nBest val {rows[0]['metric']} so far, mean over {options.seeds} seeds (least to"
        " largest):\n"
    )
    print(table(rows, options.trials))
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
