"""`predict`: one answer an input, in input order, whatever the inputs are; and the table it is
written as.
"""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import polars
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tellapart
from helpers.images import write_classes, write_image
from helpers.odd_images import cut, encoded, oriented, salt, scene
from tellapart import Answer, Interrupted, Predictor, Refused, Run, UserError, table_writers
from tellapart.catalog.names import unescape
from tellapart.cli.main import main
from tellapart.decoding import decode_file
from tellapart.jobs.predict import predict
from tellapart.modelfile.answers import write_answers
from tellapart.progress import Console

SMALL = {"preprocessing.size_px": 64, "head.folds": 2, "head.c_values": (0.01, 0.1)}
COLUMNS = [
    "path",
    "status",
    "note",
    "decision",
    "answer",
    "confidence",
    "p:brick",
    "p:leaf",
    "p:sky",
]
QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_classes(tmp_path_factory.mktemp("predict") / "photos", 12)


@pytest.fixture(scope="module")
def run(data: Path) -> Run:
    return tellapart.train(data, set=SMALL, out=data.parent / "runs", quiet=True)


@pytest.fixture(scope="module")
def predictor(run: Run) -> Predictor:
    return run.predictor()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to be in, so that short relative names can be given."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def mixed(here: Path) -> list[Path]:
    """Good images with bad files between them."""
    write_image(here / "a.jpg", 1, colour=(190, 80, 60))
    (here / "b.jpg").write_bytes(b"")
    write_image(here / "c.png", 2, colour=(110, 150, 230), pattern="rings")
    (here / "d.jpg").write_bytes(cut(encoded(scene(), "JPEG"), 50))
    (here / "e.jpg").write_bytes(oriented("TIFF", 6))
    return [Path(name) for name in ("a.jpg", "b.jpg", "c.png", "nowhere.jpg", "d.jpg", "e.jpg")]


def plain(cell: str) -> str:
    """A cell without the apostrophe that keeps a spreadsheet from running it."""
    return cell[1:] if cell.startswith("'") else cell


def rows_of(table: Path) -> list[dict[str, str]]:
    with table.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def table_rows(name: str) -> list[dict]:
    """The rows of a table of any kind."""
    path = Path(name)
    if path.suffix == ".csv":
        return rows_of(path)
    read = polars.read_parquet if path.suffix == ".parquet" else polars.read_ndjson
    return read(path).to_dicts()


# ── one answer an input, in input order ──


def test_bad_files_between_good_ones_have_rows_of_their_own(run: Run, mixed: list[Path]):
    answers = predict(run.model, mixed, quiet=True).answers
    assert [answer.path for answer in answers] == [str(path) for path in mixed]
    assert [answer.status for answer in answers] == [
        "ok",
        "empty",
        "ok",
        "missing",
        "truncated",
        "ok",
    ]
    assert [answer.answer for answer in answers][:3] == ["brick", "", "sky"]


def test_what_is_not_ok_has_neither_decision_nor_answer_but_a_reason(
    predictor: Predictor, mixed: list[Path]
):
    bad = [answer for answer in predictor.predict(mixed) if answer.status != "ok"]
    assert all(replace(one, detail="") == Answer(one.path, one.status) for one in bad)
    assert all(one.detail for one in bad)


def test_what_is_ok_has_all_of_it(predictor: Predictor, mixed: list[Path]):
    good = [answer for answer in predictor.predict(mixed) if answer.status == "ok"]
    assert all(answer.decision in ("answered", "unsure", "unfamiliar") for answer in good)
    assert all(answer.confidence == max(answer.probabilities.values()) for answer in good)
    assert all(sum(answer.probabilities.values()) == pytest.approx(1, abs=1e-5) for answer in good)
    assert good[2].notes == ("wrong_extension",)


def test_an_answer_does_not_depend_on_its_neighbours_or_their_order(
    predictor: Predictor, mixed: list[Path]
):
    together = predictor.predict(mixed)
    assert predictor.predict(mixed[::-1]) == together[::-1]
    assert [predictor.predict(path) for path in mixed] == together


def test_the_same_image_many_times_has_the_same_answer(predictor: Predictor, mixed: list[Path]):
    answers = predictor.predict([mixed[0]] * 50)
    assert all(answer == answers[0] for answer in answers)


def test_a_salted_folder_has_one_status_a_file(predictor: Predictor, here: Path):
    expected = salt(here)
    answers = predictor.predict([here / name for name in expected])
    assert {Path(answer.path).name: answer.status for answer in answers} == expected


def test_images_are_decoded_as_everywhere_else(predictor: Predictor, here: Path):
    salt(here)
    one = predictor.predict(here / "inks.jpg")
    assert one.notes == ("cmyk_converted",)
    assert one.probabilities == pytest.approx(
        predictor.predict(decode_file(here / "inks.jpg").pixels).probabilities
    )


# ── what may be given, in Python ──


def test_paths_bytes_and_arrays_of_one_image_have_one_answer(
    predictor: Predictor, mixed: list[Path]
):
    path = mixed[0]
    pixels = decode_file(path).pixels
    answers = predictor.predict([path, str(path), path.read_bytes(), pixels])
    assert len({json.dumps(answer.probabilities) for answer in answers}) == 1
    assert [answer.path for answer in answers] == ["a.jpg", "a.jpg", "", ""]


def test_one_image_has_an_answer_and_a_list_has_a_list(predictor: Predictor, mixed: list[Path]):
    assert isinstance(predictor.predict(mixed[0]), Answer)
    assert predictor.predict([mixed[0]]) == [predictor.predict(mixed[0])]
    assert predictor.predict([]) == []


def test_any_view_of_an_array_will_do(predictor: Predictor):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    turned = pixels[::-1, ::2]
    turned.flags.writeable = False
    assert predictor.predict(turned) == predictor.predict(turned.copy())


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((8, 8, 3), np.float32),
        np.zeros((3, 8, 8), np.uint8),
        np.zeros((1, 8, 8, 3), np.uint8),
        np.zeros((0, 8, 3), np.uint8),
    ],
    ids=lambda array: f"{array.dtype} {array.shape}",
)
def test_an_array_of_another_kind_is_told_what_is_wanted(predictor: Predictor, wrong: np.ndarray):
    with pytest.raises(UserError, match=r"An array must be uint8 of shape \(H, W, 3\) for RGB"):
        predictor.predict(wrong)
    with pytest.raises(UserError, match="An array must be"):
        predictor.predict([wrong])


def test_bytes_that_are_no_image_have_a_status(predictor: Predictor):
    assert [answer.status for answer in predictor.predict([b"", b"%PDF-1.7"])] == [
        "empty",
        "not_an_image",
    ]


def test_the_most_probable_classes_come_first(predictor: Predictor, mixed: list[Path]):
    answer = predictor.predict(mixed[0])
    shares = [share for _, share in answer.top(3)]
    assert shares == sorted(answer.probabilities.values(), reverse=True)
    assert answer.top(1) == [(answer.answer, answer.confidence)]
    assert len(answer.top(99)) == 3


def test_a_image_unlike_all_others_is_unfamiliar_and_a_known_one_is_not(
    predictor: Predictor, data: Path
):
    known = predictor.predict(data / "sky" / "000.jpg")
    strange = predictor.predict(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    assert known.unfamiliarity <= 1 < strange.unfamiliarity
    assert strange.decision == "unfamiliar"


# ── the table ──


@pytest.mark.parametrize("name", ["answers.csv", "answers.jsonl", "answers.parquet"])
def test_a_table_has_these_columns_and_one_row_an_input(run: Run, mixed: list[Path], name: str):
    predict(run.model, mixed, out=Path(name), quiet=True)
    read = {".csv": polars.read_csv, ".jsonl": polars.read_ndjson, ".parquet": polars.read_parquet}[
        Path(name).suffix
    ]
    table = read(name)
    assert table.columns == COLUMNS
    assert table["path"].to_list() == [str(path) for path in mixed]
    assert table["answer"].to_list()[1] is None


@pytest.mark.parametrize("name", ["answers.csv", "answers.jsonl", "answers.parquet"])
def test_every_kind_of_table_says_the_same(run: Run, mixed: list[Path], name: str):
    answers = predict(run.model, mixed, out=Path(name), quiet=True).answers
    read = {".csv": polars.read_csv, ".jsonl": polars.read_ndjson, ".parquet": polars.read_parquet}[
        Path(name).suffix
    ]
    for row, answer in zip(read(name).to_dicts(), answers, strict=True):
        remark = ";".join(answer.notes) if answer.status == "ok" else answer.detail
        assert (row["status"], row["note"] or "") == (answer.status, remark)
        assert (row["decision"], row["answer"]) == (answer.decision or None, answer.answer or None)
        assert row["confidence"] == answer.confidence
        assert [row[f"p:{name}"] for name in run.classes] == [
            answer.probabilities.get(name) for name in run.classes
        ]


def test_rows_that_are_not_ok_are_empty_behind_their_note(run: Run, mixed: list[Path]):
    predict(run.model, mixed, out=Path("answers.csv"), quiet=True)
    bad = [list(row.values())[3:] for row in rows_of(Path("answers.csv")) if row["status"] != "ok"]
    assert bad == [[""] * 6] * 3


def test_the_note_of_an_image_that_cannot_be_used_says_why(run: Run, here: Path):
    (here / "broken.jpg").write_bytes(b"no image")
    (answer,) = predict(
        run.model, [Path("broken.jpg")], out=Path("answers.csv"), quiet=True
    ).answers
    assert answer.detail
    assert [row["note"] for row in rows_of(Path("answers.csv"))] == [answer.detail]


@pytest.mark.parametrize(
    "name", ["=1+1.jpg", "+1.jpg", "-1.jpg", "@sum.jpg", "'quoted.jpg", "\tx.jpg", "\rx.jpg"]
)
def test_a_name_that_a_spreadsheet_would_run_is_neutralised_and_comes_back(
    run: Run, here: Path, name: str
):
    write_image(here / "x.jpg", 1).rename(here / name)
    predict(run.model, [Path(name)], out=Path("answers.csv"), quiet=True)
    (row,) = rows_of(Path("answers.csv"))
    assert row["path"].startswith("'")
    assert plain(row["path"]) == name


NAMES = {
    "newline": "two\nlines.jpg",
    "carriage return": "two\rlines.jpg",
    "quotes": 'it\'s "quoted".jpg',
    "not UTF-8": os.fsdecode(b"caf\xe9.jpg"),
    "backslash": "back\\slash.jpg",
    "a written escape": "\\xe9.jpg",
    "leading dash": "--help.jpg",
    "separators": "a,b;c\td.jpg",
    "percent": "100%s.jpg",
    "right to left": "\u202egpj.jpg",
    "line separator": "a\u2028b\x85c.jpg",
    "emoji": "🦉.jpg",
    "spaces": " a .jpg ",
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
@pytest.mark.parametrize("table", ["answers.csv", "answers.jsonl", "answers.parquet"])
def test_every_name_comes_back_exactly(run: Run, here: Path, name: str, table: str):
    write_image(here / "x.jpg", 1).rename(here / name)
    predict(run.model, [Path(name), Path("nowhere")], out=Path(table), quiet=True)
    rows = {
        ".csv": lambda: [{**row, "path": plain(row["path"])} for row in rows_of(Path(table))],
        ".jsonl": lambda: [json.loads(line) for line in Path(table).read_bytes().split(b"\n")[:-1]],
        ".parquet": lambda: polars.read_parquet(table).to_dicts(),
    }[Path(table).suffix]()
    assert [(unescape(row["path"]), row["status"]) for row in rows] == [
        (name, "ok"),
        ("nowhere", "missing"),
    ]


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)


@settings(max_examples=40, deadline=None)
@given(st.lists(TEXT, min_size=1, max_size=4))
def test_any_text_comes_back_from_csv(tmp_path_factory: pytest.TempPathFactory, texts: list[str]):
    table = tmp_path_factory.getbasetemp() / "any text.csv"
    write_answers(table, [Answer(text, "missing") for text in texts], ["a"])
    assert [plain(row["path"]) for row in rows_of(table)] == texts


def test_classes_named_like_formulas_are_no_formulas(here: Path):
    write_answers(
        Path("answers.csv"),
        [Answer("x.jpg", "ok", answer="=1+1", probabilities={"=1+1": 1.0})],
        ["=1+1"],
    )
    (row,) = rows_of(Path("answers.csv"))
    assert (plain(row["answer"]), row["p:=1+1"]) == ("=1+1", "1.0")
    assert row["answer"].startswith("'")


@pytest.mark.parametrize("name", ["answers.txt", "answers", "answers.csv.gz"])
def test_an_unknown_kind_of_table_is_refused_before_any_work(mixed: list[Path], name: str):
    with pytest.raises(UserError, match=r"Unknown kind of table .+ \.csv, \.jsonl, \.parquet"):
        predict(Path("no model is needed to know that.onnx"), mixed, out=Path(name), quiet=True)


def test_a_table_takes_the_place_of_an_older_one_whole(run: Run, mixed: list[Path], here: Path):
    Path("answers.csv").write_text("old")
    predict(run.model, mixed, out=Path("answers.csv"), quiet=True)
    assert len(rows_of(Path("answers.csv"))) == 6
    assert [file.name for file in here.iterdir() if ".part" in file.name] == []


def test_a_fault_in_the_middle_leaves_the_older_table(
    run: Run, mixed: list[Path], monkeypatch: pytest.MonkeyPatch
):
    def broken(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    Path("answers.csv").write_text("old")
    monkeypatch.setattr(Predictor, "outputs", broken)
    with pytest.raises(Interrupted, match="no answer is kept"):
        predict(run.model, mixed, out=Path("answers.csv"), quiet=True)
    assert Path("answers.csv").read_text() == "old"
    assert not Path("answers.csv.part").exists()


# ── row by row ──


@pytest.fixture
def stopped_at_four(monkeypatch: pytest.MonkeyPatch) -> None:
    """The user presses Ctrl-C when three answers are there."""
    honest = Predictor.predict_each

    def stopping(self: Predictor, images: list[Path], **options: float) -> Iterator[Answer]:
        yield from islice(honest(self, images, **options), 3)
        raise KeyboardInterrupt

    monkeypatch.setattr(Predictor, "predict_each", stopping)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_an_interruption_keeps_the_answers_so_far_and_says_where(
    run: Run, mixed: list[Path], stopped_at_four: None, kind: str
):
    said = rf"answers to the first 3 of 6 images are in .*answers\.{kind}\.part"
    with pytest.raises(Interrupted, match=said):
        predict(run.model, mixed, out=Path(f"answers.{kind}"), quiet=True)
    Path(f"answers.{kind}.part").rename(f"kept.{kind}")
    assert [row["path"] for row in table_rows(f"kept.{kind}")] == ["a.jpg", "b.jpg", "c.png"]


def test_an_interruption_without_a_table_says_that_nothing_is_kept(
    run: Run, mixed: list[Path], stopped_at_four: None
):
    with pytest.raises(Interrupted, match=r"no answer is kept\. With a table to write \(--out"):
        predict(run.model, mixed, quiet=True)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_answers_that_are_not_held_are_in_the_table_all_the_same(
    run: Run, mixed: list[Path], kind: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(table_writers, "CHUNK", 4)
    held = predict(run.model, mixed, out=Path(f"held.{kind}"), quiet=True)
    monkeypatch.setattr(table_writers, "CHUNK", 20_000)
    written = predict(run.model, mixed, out=Path(f"answers.{kind}"), keep=False, quiet=True)
    assert (written.answers, written.statuses) == ((), held.statuses)
    assert table_rows(f"answers.{kind}") == table_rows(f"held.{kind}")
    assert sorted(Path.cwd().glob("*.part*")) == []


def test_answers_that_are_neither_written_nor_held_are_refused(run: Run, mixed: list[Path]):
    with pytest.raises(UserError, match="Name a table with out"):
        predict(run.model, mixed, keep=False, quiet=True)


def test_a_full_disk_ends_a_prediction_and_says_where_the_answers_so_far_are(
    run: Run, mixed: list[Path], monkeypatch: pytest.MonkeyPatch
):
    honest, rows = table_writers.Csv.add, iter(range(100))

    def full(self: object, row: dict) -> None:
        if next(rows) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        honest(self, row)

    monkeypatch.setattr(table_writers.Csv, "add", full)
    with pytest.raises(Refused, match=r"disk is full\. The first 2 rows are in answers\.csv\.part"):
        predict(run.model, mixed, out=Path("answers.csv"), quiet=True)
    assert len(rows_of(Path("answers.csv.part"))) == 2


def test_a_folder_that_cannot_be_written_to_is_refused_before_the_work(
    run: Run, mixed: list[Path], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Predictor, "outputs", lambda *_, **__: pytest.fail("worked"))
    with pytest.raises(UserError, match=r"could not be written"):
        predict(run.model, mixed, out=Path("a.jpg/answers.csv"), quiet=True)


def test_nothing_to_predict_is_said(run: Run):
    with pytest.raises(
        UserError, match=r"There is nothing to predict\. Name images, folders or patterns"
    ):
        predict(run.model, [], quiet=True)


# ── what may be named, on the command line ──


def told(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, list[dict]]:
    """The exit code of a prediction, and its answers."""
    with pytest.raises(SystemExit) as end:
        main(["predict", *words, "--json", "-q"])
    return end.value.code, json.loads(capsys.readouterr().out)["answers"]


def paths_of(answers: list[dict]) -> list[str]:
    return [answer["path"] for answer in answers]


def test_a_folder_stands_for_its_files_sorted_and_without_junk(run: Run, here: Path, capsys):
    for name in ("b.jpg", "a.jpg", "deeper/c.jpg"):
        write_image(here / "new" / name)
    for name in (".DS_Store", "Thumbs.db", "._a.jpg"):
        (here / "new" / name).write_bytes(b"junk")
    code, answers = told(capsys, str(run.model), "new")
    assert paths_of(answers) == ["new/a.jpg", "new/b.jpg", "new/deeper/c.jpg"]
    assert code == 0


def test_a_pattern_stands_for_what_it_matches_sorted(run: Run, here: Path, capsys):
    for name in ("b.png", "a.png", "c.jpg"):
        write_image(here / name)
    _, answers = told(capsys, str(run.model), "*.png")
    assert paths_of(answers) == ["a.png", "b.png"]


def test_a_pattern_that_matches_nothing_is_a_missing_file(run: Run, here: Path, capsys):
    code, answers = told(capsys, str(run.model), "*.gif")
    assert [(answer["path"], answer["status"]) for answer in answers] == [("*.gif", "missing")]
    assert code == 3


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(run: Run, here: Path, capsys):
    write_image(here / "a[1].jpg")
    _, answers = told(capsys, str(run.model), "a[1].jpg")
    assert [(answer["path"], answer["status"]) for answer in answers] == [("a[1].jpg", "ok")]


def test_arguments_keep_their_order_and_a_file_named_twice_has_two_rows(
    run: Run, mixed: list[Path], capsys
):
    code, answers = told(capsys, str(run.model), "c.png", "b.jpg", "c.png", "nowhere.jpg")
    assert paths_of(answers) == ["c.png", "b.jpg", "c.png", "nowhere.jpg"]
    assert code == 3


@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"\0"])
def test_a_list_on_standard_input_may_end_its_names_in_three_ways(
    run: Run, mixed: list[Path], capsys, monkeypatch: pytest.MonkeyPatch, ending: bytes
):
    names = ending.join([b"c.png", b"nowhere.jpg", b"a.jpg", b""])
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(names)))
    _, answers = told(capsys, str(run.model), "-")
    assert paths_of(answers) == ["c.png", "nowhere.jpg", "a.jpg"]


def test_a_list_ended_by_nul_may_hold_names_of_several_lines_and_bytes(
    run: Run, here: Path, capsys, monkeypatch: pytest.MonkeyPatch
):
    for name in ("two\nlines.jpg", "caf\udce9.jpg", "ends with\r"):
        write_image(here / "x.jpg").rename(here / name)
    monkeypatch.setattr(
        sys, "stdin", io.TextIOWrapper(io.BytesIO(b"two\nlines.jpg\0caf\xe9.jpg\0ends with\r\0"))
    )
    _, answers = told(capsys, str(run.model), "-")
    assert [answer["status"] for answer in answers] == ["ok"] * 3


def test_names_that_begin_with_a_dash_follow_two_dashes(run: Run, here: Path, capsys):
    write_image(here / "x.jpg").rename(here / "--json.jpg")
    with pytest.raises(SystemExit) as end:
        main(["predict", "--json", "-q", str(run.model), "--", "--json.jpg"])
    assert end.value.code == 0
    assert paths_of(json.loads(capsys.readouterr().out)["answers"]) == ["--json.jpg"]


def test_the_json_has_the_columns_of_the_table_and_the_top(run: Run, mixed: list[Path], capsys):
    _, answers = told(capsys, str(run.model), "a.jpg", "b.jpg", "--top", "2")
    assert list(answers[0]) == [*COLUMNS, "top"]
    assert [len(answer["top"]) for answer in answers] == [2, 0]


def test_without_a_terminal_every_answer_is_one_line_of_five_cells(
    run: Run, mixed: list[Path], capsys
):
    Path("a.jpg").rename("two\nlines\tand a tab.jpg")
    with pytest.raises(SystemExit):
        main(["predict", str(run.model), "two\nlines\tand a tab.jpg", "b.jpg", "-q", "--top", "2"])
    first, second = capsys.readouterr().out.splitlines()
    assert first.split("\t")[0] == r"two\x0alines\x09and a tab.jpg"
    assert [len(line.split("\t")) for line in (first, second)] == [5, 5]
    assert second.split("\t")[3:] == ["empty", "The file has no content."]


def test_with_out_the_answer_is_where_the_table_is(run: Run, mixed: list[Path], capsys):
    with pytest.raises(SystemExit) as end:
        main(["predict", str(run.model), "a.jpg", "b.jpg", "--out", "answers.csv", "--json", "-q"])
    assert json.loads(capsys.readouterr().out) == {
        "statuses": {"empty": 1, "ok": 1},
        "out": "answers.csv",
        "rows": 2,
    }
    assert end.value.code == 3
