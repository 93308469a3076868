"""Fixtures of the tests of archives: a file under a name that says nothing, and what it costs."""

import contextlib
import time

import pytest

from helpers.archives import KINDS


@pytest.fixture
def pack(tmp_path):
    """A function that writes bytes under a name that says nothing, for the content decides."""

    def write(data):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / "data.bin").write_bytes(data)
        return tmp_path / "in" / "data.bin"

    return write


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def spent():
    """A context that ends within ten seconds, or fails."""

    @contextlib.contextmanager
    def watch():
        begun = time.monotonic()
        yield
        assert time.monotonic() - begun < 10

    return watch
