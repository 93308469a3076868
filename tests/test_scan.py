"""Every file gets one verdict: read once, hashed, fully decoded; and the threads that do it."""

import hashlib
import threading
import time

import numpy as np
import pytest

from helpers import odd_images as odd
from helpers.images import write_image
from tellapart.catalog.names import unescape
from tellapart.catalog.scan import drop_empty_classes, scan
from tellapart.cores import usable_cores
from tellapart.decoders.rules import DecodeRules
from tellapart.errors import UserError
from tellapart.sources.source import read_source
from tellapart.threads import map_ahead

LIMIT = 10**8


class Notebook:
    """A hook that writes down what it is shown."""

    def __init__(self, *known):
        self.shown = []
        self._known = known

    def known(self, digest, decoded_by):
        return digest in self._known

    def visit(self, digest, pixels, decoded_by):
        self.shown.append((digest, pixels.shape))


@pytest.fixture(scope="module")
def salted(tmp_path_factory):
    """(folder, name → status) with every kind of odd file in the class folder "odd", and two
    ordinary images.
    """
    folder = tmp_path_factory.mktemp("salted")
    for name in ("odd", "plain"):
        write_image(folder / name / "fine.png", seed=len(name))
    return folder, odd.salt(folder / "odd")


def statuses(catalog):
    return dict(zip(catalog.paths, catalog.statuses, strict=True))


# ── one verdict a file ──


def test_every_odd_file_gets_its_verdict_and_every_file_has_one_row(salted):
    folder, expected = salted
    expected = {
        f"odd/{name}": status for name, status in expected.items() if not name.startswith("._")
    }
    catalog = scan(read_source(folder), rules=DecodeRules())
    assert statuses(catalog) == {**expected, "odd/fine.png": "ok", "plain/fine.png": "ok"}
    assert catalog.ignored == {"junk files": 1}


def test_a_image_has_its_size_and_the_hash_of_its_bytes(tmp_path):
    path = write_image(tmp_path / "a" / "a.png", size=(40, 30))
    catalog = scan(read_source(tmp_path), rules=DecodeRules(max_pixels=LIMIT))
    assert (catalog.widths[0], catalog.heights[0]) == (40, 30)
    assert catalog.digests[0] == hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_size_is_that_of_the_upright_image(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "a.jpg").write_bytes(odd.oriented("JPEG", 6))
    catalog = scan(read_source(tmp_path), rules=DecodeRules(max_pixels=LIMIT))
    assert (catalog.widths[0], catalog.heights[0]) == (64, 48)


def test_a_file_that_is_not_read_has_no_hash_and_no_size(photos):
    catalog = read_source(photos)
    (photos / "brick" / "000.jpg").unlink()
    catalog = scan(catalog, rules=DecodeRules(max_pixels=LIMIT))
    row = (catalog.statuses[0], catalog.digests[0], catalog.widths[0], catalog.heights[0])
    assert row == ("missing", "", 0, 0)


def test_a_image_above_the_limit_is_too_large(tmp_path):
    write_image(tmp_path / "a" / "a.png", size=(40, 30))
    assert (
        scan(read_source(tmp_path), rules=DecodeRules(max_pixels=1199)).statuses[0] == "too_large"
    )


def test_a_file_that_vanishes_between_list_and_open_is_missing(photos):
    catalog = read_source(photos)
    (photos / "leaf" / "003.jpg").unlink()
    assert statuses(scan(catalog, rules=DecodeRules(max_pixels=LIMIT)))["leaf/003.jpg"] == "missing"


def test_a_folder_that_vanishes_between_list_and_open_costs_its_files_alone(photos):
    catalog = read_source(photos)
    (photos / "leaf").rename(photos / "moved")
    assert scan(catalog, rules=DecodeRules(max_pixels=LIMIT)).counts().tolist() == [12, 0, 12]


def test_a_file_of_a_name_that_is_not_utf_8_is_scanned(photos):
    (photos / "sky" / "000.jpg").rename(photos / "sky" / "caf\udce9\\.jpg")
    catalog = scan(read_source(photos), rules=DecodeRules(max_pixels=LIMIT))
    assert catalog.ok.all()
    assert (photos / unescape(catalog.paths[-1])).name == "caf\udce9\\.jpg"


def test_notes_of_the_source_the_name_and_the_content_are_kept_together(tmp_path):
    (tmp_path / "elsewhere").write_bytes(odd.animated("GIF"))
    for name in ("a", "b"):
        write_image(tmp_path / "data" / name / "1.png")
    (tmp_path / "data" / "a" / "2.jpg").symlink_to("../../elsewhere")
    catalog = scan(read_source(tmp_path / "data"), rules=DecodeRules(max_pixels=LIMIT))
    assert catalog.notes[1] == "link_outside;wrong_extension;first_frame"


def test_progress_advances_once_a_file(photos):
    done = []
    catalog = scan(
        read_source(photos), rules=DecodeRules(max_pixels=LIMIT), advance=lambda: done.append(1)
    )
    assert len(done) == len(catalog) == 36


# ── visitors ──


def test_a_visitor_is_shown_every_good_image_once(photos):
    (photos / "sky" / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    notebook = Notebook()
    catalog = scan(read_source(photos), rules=DecodeRules(max_pixels=LIMIT), hook=notebook)
    assert sorted(digest for digest, _ in notebook.shown) == sorted(catalog.digests[catalog.ok])
    assert {shape for _, shape in notebook.shown} == {(48, 64, 3)}


def test_copies_are_decoded_and_shown_once_though_threads_meet_them_together(tmp_path):
    image = write_image(tmp_path / "one.png", size=(600, 600)).read_bytes()
    for number in range(16):
        path = tmp_path / "data" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image)
    notebook = Notebook()
    catalog = scan(
        read_source(tmp_path / "data"), rules=DecodeRules(max_pixels=LIMIT), hook=notebook
    )
    assert len(notebook.shown) == 1
    assert catalog.ok.sum() == 16


def test_a_copy_has_the_note_of_its_own_name(tmp_path):
    for name in ("a/1.png", "b/1.jpg"):
        write_image(tmp_path / name.replace("jpg", "png")).rename(tmp_path / name)
    assert list(scan(read_source(tmp_path), rules=DecodeRules(max_pixels=LIMIT)).notes) == [
        "",
        "wrong_extension",
    ]


def test_what_a_visitor_knows_is_not_shown_again(photos):
    catalog = scan(read_source(photos), rules=DecodeRules(max_pixels=LIMIT))
    notebook = Notebook(*catalog.digests[1:])
    scan(read_source(photos), rules=DecodeRules(max_pixels=LIMIT), hook=notebook)
    assert [digest for digest, _ in notebook.shown] == [catalog.digests[0]]


def test_an_error_of_a_visitor_is_not_hidden(photos):
    def visit(digest, pixels, decoded_by):
        raise RuntimeError("no room")

    notebook = Notebook()
    notebook.visit = visit
    with pytest.raises(RuntimeError, match="no room"):
        scan(read_source(photos), rules=DecodeRules(max_pixels=LIMIT), hook=notebook)


# ── classes without images ──


def broken(folder):
    for path in folder.iterdir():
        path.write_bytes(b"")


def test_a_class_whose_files_are_all_broken_is_left_out_and_remarked(photos):
    broken(photos / "leaf")
    catalog = drop_empty_classes(scan(read_source(photos), rules=DecodeRules(max_pixels=LIMIT)))
    assert catalog.classes == ("brick", "sky")
    assert catalog.counts().tolist() == [12, 12]
    assert catalog.remarks[0].startswith(
        "Class 'leaf' is left out: none of its 12 files can be used. Add images"
    )


def test_the_broken_files_of_a_class_left_out_keep_their_rows(photos):
    broken(photos / "leaf")
    catalog = drop_empty_classes(scan(read_source(photos), rules=DecodeRules(max_pixels=LIMIT)))
    left_out = np.char.startswith(catalog.paths.astype(str), "leaf/")
    assert set(catalog.labels[left_out]) == {-1}
    assert set(catalog.statuses[left_out]) == {"empty"}


def test_one_class_with_images_is_too_few(photos):
    broken(photos / "leaf")
    broken(photos / "sky")
    with pytest.raises(
        UserError, match=r"only 'brick' has any: 12 of 36 files can be used. Add images of a second"
    ):
        drop_empty_classes(scan(read_source(photos), rules=DecodeRules(max_pixels=LIMIT)))


def test_where_nothing_can_be_used_the_statuses_say_why(photos):
    for name in ("brick", "leaf", "sky"):
        broken(photos / name)
    with pytest.raises(
        UserError,
        match=r"none has any: 0 of 36 files can be used. Statuses: 36 empty\. The file has",
    ):
        drop_empty_classes(scan(read_source(photos), rules=DecodeRules(max_pixels=LIMIT)))


def test_a_class_with_usable_images_in_test_only_is_refused(split_photos):
    broken(split_photos / "train" / "leaf")
    with pytest.raises(
        UserError, match=r"'leaf' has no usable image in train \(4 in val or test\). Add training"
    ):
        drop_empty_classes(scan(read_source(split_photos), rules=DecodeRules(max_pixels=LIMIT)))


# ── threads ──


def test_results_come_in_the_order_of_the_items():
    def slowly(number):
        time.sleep((number % 3) / 500)
        return number

    assert list(map_ahead(slowly, range(60), workers=8)) == list(range(60))


def test_no_more_than_a_bounded_number_of_results_waits():
    begun = []
    results = map_ahead(begun.append, range(1000), workers=2, ahead=3)
    next(results)
    time.sleep(0.05)
    assert len(begun) <= 2 * 3
    results.close()


def test_items_are_taken_only_as_they_are_needed():
    taken = []
    results = map_ahead(
        abs, (taken.append(number) or number for number in range(1000)), workers=2, ahead=3
    )
    next(results)
    assert len(taken) == 2 * 3
    results.close()


def test_closing_drops_what_has_not_begun():
    begun, gate = [], threading.Event()

    def wait(number):
        begun.append(number)
        if len(begun) > 1:
            gate.wait(5)

    results = map_ahead(wait, [0, *range(100)], workers=1, ahead=50)
    next(results)
    threading.Timer(0.05, gate.set).start()
    results.close()
    assert len(begun) < 50


def test_an_error_reaches_the_caller_and_drops_the_rest():
    done = []

    def work(number):
        time.sleep(0.002)
        done.append(number)
        return 1 / number

    with pytest.raises(ZeroDivisionError):
        list(map_ahead(work, [1, 0, *range(2, 1000)], workers=2))
    assert len(done) < 20


def test_an_error_of_the_caller_ends_the_scan_at_once(photos):
    seen = []

    def interrupt():
        seen.append(1)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scan(read_source(photos), rules=DecodeRules(max_pixels=LIMIT), advance=interrupt)
    assert len(seen) == 1
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("tellapart")]


def test_nothing_to_do_gives_nothing():
    assert list(map_ahead(abs, [])) == []


def test_there_is_at_least_one_core():
    assert usable_cores() >= 1
