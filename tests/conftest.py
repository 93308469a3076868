"""Shared fixtures: small generated folders of images, and a cache folder that is not the user's."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from helpers.browsers import open_browser
from helpers.images import write_classes
from helpers.light import TESTS, needs_torch
from helpers.probes import train_probe
from tellapart import Run, UserError

# The same examples every time, and none too slow for a busy machine.
settings.register_profile(
    "tests", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("tests")

# Where PyTorch is not installed, the tests that need it are left out: whole modules by what they
# import, whole folders by what their conftest imports, and single tests when tellapart says that it
# needs it. tests/test_light.py holds what has to work without.
LIGHT = find_spec("torch") is None
OF_TORCH = ("torch", "torchvision", "timm", "accelerate", "huggingface_hub")
collect_ignore = (
    [
        str(module.parent if module.name == "conftest.py" else module)
        for module in TESTS.rglob("*.py")
        if needs_torch(module)
    ]
    if LIGHT
    else []
)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    try:
        return (yield)
    except Exception as error:
        if not LIGHT or item.path.name == "test_light.py" or not needs_packages(error):
            raise
        pytest.skip("needs PyTorch")


def needs_packages(error: BaseException | None) -> bool:
    """Whether the error, or one that it came of, says that a package of tellapart[torch] is missing."""
    if error is None:
        return False
    if isinstance(error, UserError) and "tellapart[torch]" in error.hint:
        return True
    if isinstance(error, ModuleNotFoundError) and (error.name or "").split(".")[0] in OF_TORCH:
        return True
    return needs_packages(error.__cause__ or error.__context__)


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One cache folder for the whole session: the user's is never touched, and a network is
    exported once.
    """
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("TELLAPART_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="module")
def single_thread() -> Iterator[None]:
    """torch computes in one thread, so that the last digits are the same on every machine."""
    from tellapart.models.backbones import one_thread

    with one_thread():
        yield


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory, own_cache: Path) -> Run:
    """A run on 8 images a class, trained once. Tests only read it."""
    folder = tmp_path_factory.mktemp("run")
    return train_probe(write_classes(folder / "photos", 8), folder / "runs")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, one for the tests of a module."""
    with open_browser() as running:
        yield running


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with one folder a class: brick, leaf and sky, 12 images each."""
    return write_classes(tmp_path / "photos", 12)


@pytest.fixture
def split_photos(tmp_path: Path) -> Path:
    """A folder with train/ (10 images a class) and test/ (4 a class); no val."""
    write_classes(tmp_path / "split_photos" / "train", 10)
    write_classes(tmp_path / "split_photos" / "test", 4, first_seed=100)
    return tmp_path / "split_photos"
