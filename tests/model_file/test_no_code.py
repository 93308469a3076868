"""No code of a file is ever run, and no connection is made."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import tellapart
from tellapart import Predictor, UserError
from tellapart.modelfile.card import seal

PACKAGE = Path(tellapart.__file__).parent


class Canary:
    """Makes a file when it is unpickled."""

    def __init__(self, sign: Path) -> None:
        self._sign = str(sign)

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (self._sign, "w")


@pytest.fixture(params=["pickle", "torch"])
def canary(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[bytes]:
    """A file that runs code when it is read carelessly; afterwards, none was run."""
    sign, file = tmp_path / "it sang", tmp_path / "canary"
    if request.param == "pickle":
        file.write_bytes(pickle.dumps({"state_dict": Canary(sign)}))
    else:
        torch.save({"state_dict": Canary(sign)}, file)
    yield file.read_bytes()
    assert not sign.exists()


# ── no code of a file's is ever run ──


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_the_canary_sings_when_it_is_read_carelessly(tmp_path: Path):
    pickle.loads(pickle.dumps(Canary(tmp_path / "it sang")))
    assert (tmp_path / "it sang").exists()


@pytest.mark.parametrize("name", ["model.onnx", "model.pth", "model.pt", "model.safetensors"])
def test_a_pickle_as_a_model_is_refused_and_its_code_never_runs(
    canary: bytes, tmp_path: Path, data: Path, name: str
):
    (tmp_path / name).write_bytes(canary)
    with pytest.raises(UserError, match="not a tellapart model file"):
        tellapart.load(tmp_path / name)
    with pytest.raises(UserError, match="not a tellapart model file"):
        tellapart.evaluate(tmp_path / name, data, quiet=True)


def test_a_sealed_pickle_is_refused_too(canary: bytes):
    with pytest.raises(UserError, match="not a graph that onnxruntime can run"):
        Predictor(seal(canary))


@pytest.mark.parametrize(
    "name", ["weights.onnx", "weights.pth", "weights.pt", "weights.safetensors"]
)
def test_a_pickle_as_weights_is_refused_and_its_code_never_runs(
    canary: bytes, tmp_path: Path, data: Path, name: str
):
    (tmp_path / name).write_bytes(canary)
    with pytest.raises(UserError, match=f"{name} is not a file of plain tensors"):
        tellapart.train(
            data, set={"backbone.weights": str(tmp_path / name)}, out=tmp_path / "runs", quiet=True
        )
    assert not list(tmp_path.glob("runs/*"))


def test_a_recipe_that_names_code_is_refused_and_its_code_never_runs(tmp_path: Path, data: Path):
    sign = tmp_path / "it sang"
    (tmp_path / "recipe.yaml").write_text(
        f"name: !!python/object/apply:pathlib.Path.touch [{sign}]\n"
    )
    with pytest.raises(UserError, match=r"recipe\.yaml, line 1 is not YAML"):
        tellapart.train(
            data, recipe=str(tmp_path / "recipe.yaml"), out=tmp_path / "runs", quiet=True
        )
    assert not sign.exists()


def test_the_package_holds_nothing_that_could_run_a_files_code():
    careless = re.compile(
        r"weights_only=False|pickle\.loads?|allow_pickle=True|yaml\.load\(|import joblib|joblib\."
        r"|(^|[^.\w])(eval|exec)\(",
        re.MULTILINE,
    )
    assert [file.name for file in PACKAGE.rglob("*.py") if careless.search(file.read_text())] == []


# ── no connection ──


def test_the_runtime_is_told_to_stay_at_home_before_it_is_loaded():
    code = "import os, tellapart.modelfile.session; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"
