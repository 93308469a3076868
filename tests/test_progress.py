"""What the product says while it works: lines and a progress bar, always on standard error."""

import io
import re

import pytest

from tellapart import progress
from tellapart.progress import Console, duration


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """A clock that moves by one second a look."""
    seconds = iter(range(10**6))
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(seconds)))


def test_a_line_goes_to_standard_error_and_none_to_standard_output(capsys):
    Console().say("Reading photos")
    assert capsys.readouterr() == ("", "Reading photos\n")


def test_lines_are_kept_with_their_time_for_the_log(capsys):
    console = Console()
    console.say("one")
    console.say("two")
    assert [re.sub(r"^\d\d:\d\d:\d\d ", "", line) for line in console.lines] == ["one", "two"]


def test_a_quiet_one_keeps_its_lines_and_prints_none(capsys):
    console = Console(quiet=True)
    console.say("one")
    with console.track("Reading", 10) as advance:
        advance()
    assert capsys.readouterr() == ("", "")
    assert len(console.lines) == 1


@pytest.mark.parametrize(
    "line", ["[red]not markup[/red]", "[/]", "x" * 300, "'a' 1 http://b", "%s {0}"]
)
def test_a_line_is_printed_as_it_is(capsys, line):
    Console().say(line)
    assert capsys.readouterr().err == line + "\n"


def test_a_name_that_is_not_text_is_shown_with_escapes(capsys):
    console = Console()
    console.say("caf\udce9.jpg")
    assert capsys.readouterr().err == "caf\\xe9.jpg\n"
    assert console.lines[0].endswith("caf\\xe9.jpg")


def test_without_a_terminal_progress_is_a_line_now_and_then(capsys, clock):
    with Console().track("Reading", 100) as advance:
        [advance() for _ in range(100)]
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Reading: 2 of 100, about 1 min 38 s left"
    assert 5 <= len(lines) <= 11


def test_work_that_is_done_at_once_says_nothing(capsys):
    with Console().track("Reading", 3) as advance:
        [advance() for _ in range(3)]
    assert capsys.readouterr().err == ""


def test_nothing_to_do_is_no_progress(capsys):
    with Console().track("Reading", 0) as advance:
        advance()
    assert capsys.readouterr().err == ""


def test_on_a_terminal_there_is_a_bar_that_goes_away(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with Console().track("Reading", 2) as advance:
        advance()
        advance()
    assert "Reading" in terminal.getvalue()
    assert "2/2" in terminal.getvalue()


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (95, "1 min 35 s"),
        (3599.7, "1 h 0 min"),
        (5400, "1 h 30 min"),
    ],
)
def test_a_duration_is_said_in_words(seconds, words):
    assert duration(seconds) == words
