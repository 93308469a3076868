"""Write constraints-oldest.txt: the lowest version of each package that pyproject.toml allows.

    python tools/oldest.py            # rewrite the file; `make test-oldest` tests with it
    python tools/oldest.py --check    # exit code 1 if the file is not what pyproject.toml says

pip has no option to take the lowest versions, so each package is held at its floor. What our
packages need in turn is left to pip.
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
CONSTRAINTS = ROOT / "constraints-oldest.txt"
HEAD = "# The floors of pyproject.toml, written by tools/oldest.py: do not change by hand.\n"
FLOOR = re.compile(r"([\w.-]+)(?:\[[^\]]*\])?\s*(?:>=|==)\s*([\w.]+)")


def floors(pyproject: Path) -> dict[str, str]:
    """Package → lowest version, of the base, of all extras and of the groups `test` and `dev`; sorted."""
    text = tomllib.loads(pyproject.read_text(encoding="utf-8"))
    wanted = [
        *text["project"]["dependencies"],
        *(line for lines in text["project"]["optional-dependencies"].values() for line in lines),
        *text["dependency-groups"].get("test", []),
        *text["dependency-groups"]["dev"],
    ]
    found = {}
    for requirement in wanted:
        if isinstance(requirement, dict) or requirement.startswith("tellapart["):
            continue  # a group or an extra that includes another one
        floor = FLOOR.match(requirement)
        if floor is None:
            raise ValueError(f"{requirement!r} has no lowest version. Write one with >=.")
        found[floor[1].lower()] = floor[2]
    return dict(sorted(found.items()))


def constraints(pyproject: Path) -> str:
    """The text of the constraints file."""
    return HEAD + "".join(f"{name}=={version}\n" for name, version in floors(pyproject).items())


def main() -> None:
    """Rewrite constraints-oldest.txt, or say whether that would change it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 if outdated")
    words = parser.parse_args()
    text = constraints(ROOT / "pyproject.toml")
    if words.check and CONSTRAINTS.read_text(encoding="utf-8") != text:
        sys.exit("constraints-oldest.txt is outdated. Run: python tools/oldest.py")
    if not words.check:
        CONSTRAINTS.write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
