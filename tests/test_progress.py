"""What the product says while it works: lines and a progress bar, always on standard error."""

import io
import re
import time

import pytest

from tellapart import progress
from tellapart.progress import Console, Task, duration


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Clock:
    """A clock that moves when it is told to, and lets the console look at it each second."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds

    def pass_by(self, seconds: int, console: Console) -> None:
        for _ in range(seconds):
            self.seconds += 1
            console.speak_if_due()


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress.time, "monotonic", clock)
    return clock


def on_terminal(monkeypatch) -> Terminal:
    """Make standard error a terminal. No fixture: pytest would put its own in place again."""
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    return terminal


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


def test_without_a_terminal_progress_is_a_line_every_ten_seconds(capsys, clock):
    console = Console()
    with console.track("Reading", 100) as advance:
        for _ in range(23):
            advance()
            clock.pass_by(1, console)
    assert capsys.readouterr().err.splitlines() == [
        "Reading: 2 of 100, about 1 min 38 s left",
        "Reading: 12 of 100, about 1 min 28 s left",
        "Reading: 22 of 100, about 1 min 18 s left",
    ]


def test_a_slow_step_that_cannot_be_counted_says_how_long_it_has_taken(capsys, clock):
    console = Console()
    with console.step("Fitting the head"):
        clock.pass_by(23, console)
    assert capsys.readouterr().err.splitlines() == [
        "Fitting the head: 2 s so far",
        "Fitting the head: 12 s so far",
        "Fitting the head: 22 s so far",
    ]


def test_a_fast_step_is_silent(capsys, clock):
    console = Console()
    with console.step("Fitting the head"):
        clock.pass_by(1, console)
    clock.pass_by(20, console)
    assert capsys.readouterr() == ("", "")


def test_a_thing_that_takes_long_is_no_reason_for_silence(capsys, clock):
    console = Console()
    with console.track("Folds", 5):
        clock.pass_by(12, console)
    assert capsys.readouterr().err.splitlines() == ["Folds: 0 of 5", "Folds: 0 of 5"]


def test_a_thread_speaks_while_the_work_goes_on(capsys, monkeypatch):
    monkeypatch.setattr(progress, "FIRST_SECONDS", 0.0)
    monkeypatch.setattr(progress, "POLL_SECONDS", 0.01)
    with Console().step("Fitting the head"):
        time.sleep(0.3)
    assert capsys.readouterr().err == "Fitting the head: 0 s so far\n"


def test_work_inside_other_work_is_named_beside_it(capsys, clock):
    console = Console()
    with console.track("Trials", 3, done=1), console.inner().track("Epoch 1 of 2", 9):
        clock.pass_by(2, console)
    assert capsys.readouterr().err == "Trials: 1 of 3; Epoch 1 of 2: 0 of 9\n"


def test_lines_of_an_inner_console_are_kept_and_not_printed(capsys):
    console = Console()
    inner = console.inner()
    inner.say("one")
    assert capsys.readouterr().err == ""
    assert (len(inner.lines), console.lines) == (1, [])


def test_a_quiet_console_has_a_quiet_inner_one(capsys, clock):
    console = Console(quiet=True).inner()
    with console.step("Fitting the head"):
        clock.pass_by(30, console)
    assert capsys.readouterr() == ("", "")


def test_the_time_left_follows_the_latest_pace(clock):
    task = Task("Reading", 10_100)
    for _ in range(10_000):  # remembered from an earlier scan
        task()
    for _ in range(60):
        clock.seconds += 1
        task()
    assert task.left(clock.seconds) == pytest.approx(40)


def test_work_that_knows_when_it_ends_is_believed(clock):
    task = Task("Trials")
    task.ends_at = 90.0
    clock.seconds = 30.0
    assert task.state(clock.seconds) == ("", "about 1 min 0 s left")


def test_work_that_is_done_at_once_says_nothing(capsys):
    with Console().track("Reading", 3) as advance:
        [advance() for _ in range(3)]
    assert capsys.readouterr().err == ""


def test_nothing_to_do_is_no_progress(capsys):
    with Console().track("Reading", 0) as advance:
        advance()
    assert capsys.readouterr().err == ""


def test_on_a_terminal_there_is_a_bar_that_goes_away(monkeypatch):
    terminal = on_terminal(monkeypatch)
    with Console().track("Reading", 2) as advance:
        advance()
        advance()
    assert "Reading" in terminal.getvalue()
    assert "2 of 2" in terminal.getvalue()


def test_on_a_terminal_a_fast_step_leaves_no_trace(monkeypatch):
    terminal = on_terminal(monkeypatch)
    with Console().step("Fitting the head"):
        pass
    assert terminal.getvalue() == ""


def test_on_a_terminal_a_slow_step_shows_its_seconds(monkeypatch, clock):
    terminal = on_terminal(monkeypatch)
    console = Console()
    with console.step("Fitting the head"):
        clock.pass_by(12, console)
    assert re.search(r"Fitting the head +12 s so far", terminal.getvalue())


def test_on_a_terminal_a_long_label_leaves_room_for_the_time(monkeypatch, clock):
    terminal = on_terminal(monkeypatch)
    console = Console()
    with console.track("Embedding images with the trained network " * 2, 100_000) as advance:
        clock.seconds = 9.0
        advance()
    drawn = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue()).splitlines()
    assert drawn[-2].endswith("… ━━━━━━━━━━━━━━━━━━━━ 1 of 100,000 about 249 h 59 min left")
    assert max(map(len, drawn)) <= 76


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


def test_work_with_nothing_to_count_shows_its_share():
    task = Task("Fitting the head")
    task.reach(0.5)
    task.reach(0.756)
    assert task.state(task.began + 3)[0] == "75 %"
