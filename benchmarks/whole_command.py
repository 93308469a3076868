"""How long does `tellapart train DATA` take from nothing kept, beside another checkout and torch?

    python benchmarks/whole_command.py DATA --before SRC [--rounds 5] [--python PYTHON]
        [--out benchmarks/results/whole-command.json]

Each measurement is a fresh process with an empty cache: the command by this checkout, the command
by the one whose `src` is SRC, and `python -c "import torch"`, in turns. PYTHON runs this checkout, and
may be of an environment without torch; the others run with the interpreter of this script. Reported
are medians, ratios within a round, and the steps that the run itself records.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from recording import about, environment

SRC = Path(__file__).parents[1] / "src"


def command(python: str, src: Path, data: Path) -> dict[str, Any]:
    """One training from nothing: seconds, steps, score and size."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        variables = environment(PYTHONPATH=str(src), TELLAPART_CACHE=str(folder / "cache"))
        words = [python, "-m", "tellapart", "train", data, "--out", folder / "runs", "--json", "-q"]
        start = time.perf_counter()
        done = subprocess.run(
            list(map(str, words)), env=variables, cwd=folder, check=True, capture_output=True
        )
        seconds = time.perf_counter() - start
        answer = json.loads(done.stdout)
        record = json.loads((Path(answer["run"]) / "metrics.json").read_text())
        return {
            "seconds": round(seconds, 2),
            "steps": record["seconds"],
            "accuracy": answer["test"]["accuracy"]["value"],
            "model_mb": round(Path(answer["model"]).stat().st_size / 1e6, 2),
        }


def torch_seconds() -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import torch"], env=environment(), check=True)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--before", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/whole-command.json"))
    words = parser.parse_args()
    data = words.data.resolve()
    rounds: list[dict[str, Any]] = []
    for _ in range(words.rounds):
        rounds.append(
            {
                "now": command(words.python, SRC, data),
                "before": command(sys.executable, words.before.resolve(), data),
                "import_torch": round(torch_seconds(), 2),
            }
        )
        print(json.dumps(rounds[-1]), flush=True)
    ratios = {
        "now_to_before": [row["now"]["seconds"] / row["before"]["seconds"] for row in rounds],
        "now_to_import_torch": [row["now"]["seconds"] / row["import_torch"] for row in rounds],
        "before_to_import_torch": [
            row["before"]["seconds"] / row["import_torch"] for row in rounds
        ],
    }
    summary = {name: round(statistics.median(values), 3) for name, values in ratios.items()}
    print(json.dumps(summary, indent=1))
    words.out.write_text(
        json.dumps({**about([data.name]), "median_ratios": summary, "rounds": rounds}, indent=1)
        + "\n"
    )


if __name__ == "__main__":
    main()
