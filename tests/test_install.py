"""The base install: what `pip install tellapart` gives, in a virtual environment of its own."""

import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

import tellapart
from helpers.images import write_classes

ROOT = Path(__file__).parents[1]
MOST_BYTES = 250_000_000


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    pip = [
        folder / "bin" / "python",
        "-m",
        "pip",
        "install",
        "--quiet",
        "--constraint",
        ROOT / "constraints.txt",
    ]
    subprocess.run([*pip, ROOT], check=True)
    return folder / "bin"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    photos = write_classes(tmp_path_factory.mktemp("install") / "photos", 6)
    return tellapart.train(
        photos, set={"preprocessing.size_px": 64}, out=photos.parent / "runs", quiet=True
    )


@pytest.mark.install
def test_a_base_install_is_small_and_has_no_torch(base):
    (packages,) = base.parent.glob("lib/*/site-packages")
    files = [file for file in packages.rglob("*") if file.is_file()]
    assert not (packages / "torch").exists()
    assert sum(file.stat().st_size for file in files) < MOST_BYTES


@pytest.mark.install
def test_a_base_install_predicts_and_evaluates(base, run, photos):
    image = sorted(photos.rglob("*.jpg"))[0]
    predicted = subprocess.run(
        [base / "tellapart", "predict", run.model, image],
        capture_output=True,
        text=True,
        check=True,
    )
    assert str(image) in predicted.stdout
    evaluated = subprocess.run(
        [base / "tellapart", "evaluate", run.model, photos],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "accuracy" in evaluated.stdout


@pytest.mark.install
def test_training_with_a_base_install_says_what_to_install(base, photos):
    trained = subprocess.run(
        [base / "tellapart", "train", photos], capture_output=True, text=True, check=False
    )
    assert trained.returncode == 2
    assert "pip install 'tellapart[train]'" in trained.stderr


@pytest.mark.install
def test_with_its_extra_it_serves(base, run, photos):
    # The steps of the Dockerfile, but for the user and the base image.
    pip = [base / "python", "-m", "pip", "install", "--quiet", "--constraint"]
    subprocess.run([*pip, ROOT / "constraints.txt", f"{ROOT}[serve]"], check=True)
    (packages,) = base.parent.glob("lib/*/site-packages")
    size = sum(file.stat().st_size for file in packages.rglob("*") if file.is_file())
    assert size < MOST_BYTES + 20_000_000
    words = [base / "tellapart", "serve", f"m={run.path}", "--port", "0", "--workers", "1"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as server:
        try:
            address = next(line.split()[-1] for line in server.stderr if "POST" in line)
            image = sorted(photos.rglob("*.jpg"))[0].read_bytes()
            with urllib.request.urlopen(urllib.request.Request(address, image)) as response:
                assert b'"status":"ok"' in response.read()
        finally:
            server.terminate()
        assert server.wait(30) == 0
