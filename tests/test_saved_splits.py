"""Saved splits on data that has changed since: refused with the differences, or gone on with what
is the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars
import pytest

from helpers.images import write_image
from tellapart.catalog.scan import drop_empty_classes
from tellapart.catalog.split_findings import find_leaks
from tellapart.catalog.splits import cut_val, make_splits
from tellapart.catalog.table import Catalog, text_column
from tellapart.errors import Refused
from tellapart.options import SplitOptions
from tellapart.pipeline.data import scan_files, scan_memory
from tellapart.progress import Console
from tellapart.recipe import Recipe
from tellapart.runs.folder import new_run
from tellapart.runs.saved_splits import ACCEPT_CHANGES, SavedSplits, read_splits, save_splits
from tellapart.sources.source import read_source


def catalog_of(photos: Path) -> Catalog:
    """The scanned catalog, as a training has it."""
    catalog, recipe = read_source(photos), Recipe()
    with scan_memory(catalog, recipe) as memory:
        return drop_empty_classes(scan_files(catalog, recipe, memory, Console(quiet=True)))


def saved_of(photos: Path) -> SavedSplits:
    catalog = catalog_of(photos)
    with new_run(photos.parent / "runs", "x") as run:
        save_splits(run, catalog.with_splits(make_splits(catalog, SplitOptions(val=0.15), 0)))
    return read_splits(run.path)


def change_one(photos: Path) -> None:
    write_image(photos / "sky" / "003.jpg", 999)


def take_one_away(photos: Path) -> None:
    (photos / "sky" / "003.jpg").unlink()


def add_two(photos: Path) -> None:
    for name, seed in (("new.jpg", 998), ("newer.jpg", 999)):
        write_image(photos / "sky" / name, seed)


def break_one(photos: Path) -> None:
    (photos / "sky" / "003.jpg").write_bytes(b"")


CHANGES = {
    change_one: "1 image has other content ('sky/003.jpg')",
    take_one_away: "1 image is gone or cannot be read ('sky/003.jpg')",
    add_two: "2 images are new ('sky/new.jpg')",
    break_one: "1 image is gone or cannot be read ('sky/003.jpg')",
}


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_change_is_told_and_accepted_only_when_that_is_asked_for(
    photos: Path, change: Callable[[Path], None]
):
    saved = saved_of(photos)
    change(photos)
    catalog = catalog_of(photos)
    assert saved.changes(catalog) == [CHANGES[change]]
    with pytest.raises(Refused, match="add --accept-changes to go on") as refused:
        saved.of(catalog, accept_changes=False, hint=ACCEPT_CHANGES)
    assert refused.value.message.endswith(f"does not fit the data: {CHANGES[change]}.")
    stated = {
        path: row[3]
        for path, row in saved.rows.items()
        if path != "sky/003.jpg" or change is add_two
    }
    splits = saved.of(catalog, accept_changes=True)
    assert {
        path: split for path, split in zip(catalog.paths, splits, strict=True) if split
    } == stated


def test_where_changes_are_accepted_what_looks_alike_without_them_is_no_leak(photos: Path):
    saved = saved_of(photos)
    take_one_away(photos)
    catalog = catalog_of(photos)
    sides = {split: path for path, _, _, split in saved.rows.values() if path != "sky/003.jpg"}
    one, other = (list(catalog.paths).index(sides[split]) for split in ("train", "test"))
    copies = catalog.copies.copy()
    copies[other] = copies[one]
    splits = saved.of(catalog.replace(copies=copies), accept_changes=True)
    assert (splits[one], splits[other]) == ("train", "test")


def test_data_that_is_as_it_was_has_no_changes(photos: Path):
    saved, catalog = saved_of(photos), catalog_of(photos)
    assert saved.changes(catalog) == []
    splits = saved.of(catalog, accept_changes=False)
    assert Counter(splits) == Counter(row[3] for row in saved.rows.values())


def test_a_image_that_moved_to_another_class_stays_out(photos: Path):
    saved, catalog = saved_of(photos), catalog_of(photos)
    labels = catalog.labels.copy()
    labels[0] = 2
    catalog = catalog.replace(labels=labels)
    assert saved.changes(catalog) == ["1 image has another class ('brick/000.jpg')"]
    splits = saved.of(catalog, accept_changes=True)
    assert splits[0] == ""
    assert "" not in splits[1:]


def test_a_resumed_run_wants_the_weights_that_it_had_and_another_run_its_own(photos: Path):
    saved, catalog = saved_of(photos), catalog_of(photos)
    splits = saved.of(catalog, accept_changes=False)
    train = np.flatnonzero(splits == "train")[:2]
    others = np.flatnonzero(splits != "train")  # these are never drawn
    heavy = np.isin(np.arange(len(catalog)), [*train, *others])
    heavier = catalog.replace(weights=np.where(heavy, 3.0, 1.0))
    assert saved.changes(heavier) == [f"2 images have another weight ({catalog.paths[train[0]]!r})"]
    with pytest.raises(Refused, match="2 images have another weight"):
        saved.of(heavier, accept_changes=False, hint=ACCEPT_CHANGES)
    assert np.flatnonzero(saved.of(heavier, accept_changes=True) == "").tolist() == train.tolist()
    assert (saved.extended(heavier, SplitOptions(val=0.15), 0).splits == splits).all()


def test_splits_that_were_saved_without_weights_fit_any(photos: Path):
    file, catalog = saved_of(photos).file, catalog_of(photos)
    about = polars.read_parquet_metadata(file)
    # Arrow's own schema names the dropped column, and older versions of polars bring it back.
    about.pop("ARROW:schema", None)
    polars.read_parquet(file).drop("weight").write_parquet(file, metadata=about)
    assert read_splits(file).changes(catalog.replace(weights=2 * catalog.weights)) == []


def rename_a_class(photos: Path) -> None:
    (photos / "sky").rename(photos / "heaven")


def add_a_class(photos: Path) -> None:
    write_image(photos / "earth" / "1.jpg", 999)


def empty_a_class(photos: Path) -> None:
    for file in (photos / "leaf").iterdir():
        file.unlink()


CLASS_CHANGES = {
    rename_a_class: (
        r"class 'sky' is gone \(12 images\), class 'heaven' is new \(12 images\), 12 images are"
        r" gone"
    ),
    add_a_class: r"class 'earth' is new \(1 image\), 1 image is new",
    empty_a_class: r"class 'leaf' is gone \(12 images\), 12 images are gone",
}


@pytest.mark.parametrize("accept_changes", [False, True])
@pytest.mark.parametrize("change", CLASS_CHANGES, ids=lambda change: change.__name__)
def test_other_classes_are_never_accepted(
    photos: Path, change: Callable[[Path], None], accept_changes: bool
):
    saved = saved_of(photos)
    change(photos)
    with pytest.raises(Refused, match=CLASS_CHANGES[change] + r".+\. Restore the classes"):
        saved.of(catalog_of(photos), accept_changes=accept_changes)


def test_the_same_classes_in_another_order_are_refused(photos: Path):
    saved = saved_of(photos)
    turned = replace(saved, classes=saved.classes[::-1])
    with pytest.raises(Refused, match="the classes are in another order"):
        turned.of(catalog_of(photos), accept_changes=True)


def test_splits_without_the_order_of_the_classes_are_refused(photos: Path):
    file = saved_of(photos).file
    about = {
        key: text
        for key, text in polars.read_parquet_metadata(file).items()
        if key == "tellapart.splits"
    }
    polars.read_parquet(file).write_parquet(file, metadata=about)
    with pytest.raises(
        Refused, match="was written by an earlier tellapart, without the order of the classes"
    ):
        read_splits(file)


# ── another training extends them ──


def extended(saved: SavedSplits, catalog: Catalog, seed: int = 5) -> tuple[dict[str, str], str]:
    """Path → split of the usable images, and what is said."""
    divided = saved.extended(catalog, SplitOptions(val=0.15), seed)
    splits = dict(zip(divided.paths[divided.ok], divided.splits[divided.ok], strict=True))
    return splits, " ".join(divided.remarks)


def old_splits(saved: SavedSplits) -> dict[str, str]:
    return {path: row[3] for path, row in saved.rows.items()}


def test_splits_that_fit_the_data_are_used_as_they_are_and_nothing_is_said(photos: Path):
    saved, catalog = saved_of(photos), catalog_of(photos)
    assert extended(saved, catalog) == (old_splits(saved), "")


def test_new_images_join_and_no_old_one_moves(photos: Path):
    saved = saved_of(photos)
    for number in range(40):
        write_image(photos / "sky" / f"new{number:02}.jpg", 900 + number)
    splits, text = extended(saved, catalog_of(photos))
    assert old_splits(saved).items() <= splits.items()
    assert {splits[f"sky/new{number:02}.jpg"] for number in range(40)} == {"train", "val", "test"}
    assert "are kept, and no image moved: 40 images are new (" in text


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_a_new_copy_and_a_new_image_of_a_group_follow_what_is_known(photos: Path, split: str):
    saved = saved_of(photos)
    known = next(path for path, row in saved.rows.items() if row[3] == split)
    copy = photos / "sky" / "copy.jpg"
    copy.write_bytes((photos / known).read_bytes())
    write_image(photos / "sky" / "other.jpg", 999)
    catalog = catalog_of(photos)
    groups = np.where(np.isin(catalog.paths, [known, "sky/other.jpg"]), "g", "").astype(object)
    splits, text = extended(saved, catalog.replace(groups=groups))
    assert (splits["sky/copy.jpg"], splits["sky/other.jpg"]) == (split, split)
    assert f"1 image is new ('sky/other.jpg'; 1 in {split})" in text


def test_an_image_that_moved_or_changed_its_class_stays_in_its_split(photos: Path):
    saved = saved_of(photos)
    (photos / "sky" / "003.jpg").rename(photos / "leaf" / "moved.jpg")
    splits, text = extended(saved, catalog_of(photos))
    assert splits["leaf/moved.jpg"] == saved.rows["sky/003.jpg"][3]
    assert "1 image has another class ('leaf/moved.jpg')" in text


def test_an_image_with_other_content_stays_where_its_path_was(photos: Path):
    saved = saved_of(photos)
    change_one(photos)
    splits, text = extended(saved, catalog_of(photos))
    assert splits == old_splits(saved)
    assert "1 image has other content ('sky/003.jpg')" in text


def test_images_that_are_gone_are_counted_and_the_others_stay(photos: Path):
    saved = saved_of(photos)
    take_one_away(photos)
    splits, text = extended(saved, catalog_of(photos))
    assert splits.items() <= old_splits(saved).items()
    assert "no image moved: 1 image is gone or cannot be read ('sky/003.jpg')." in text


def test_a_new_class_is_divided_and_told(photos: Path):
    saved = saved_of(photos)
    for number in range(10):
        write_image(photos / "earth" / f"{number}.jpg", 900 + number)
    splits, text = extended(saved, catalog_of(photos))
    assert old_splits(saved).items() <= splits.items()
    assert {splits[f"earth/{number}.jpg"] for number in range(10)} == {"train", "val", "test"}
    assert "class 'earth' is new (10 images)" in text


def test_known_images_that_are_copies_across_two_sides_are_refused(photos: Path):
    saved, catalog = saved_of(photos), catalog_of(photos)
    train, test = (list(catalog.paths).index(path) for path in first_of_two_sides(saved))
    copies = catalog.copies.copy()
    copies[max(train, test)] = min(train, test)
    with pytest.raises(Refused, match="would put 1 images or groups on two sides"):
        saved.extended(catalog.replace(copies=copies), SplitOptions(val=0.15), 0)


def first_of_two_sides(saved: SavedSplits) -> list[str]:
    splits = old_splits(saved)
    return [next(path for path in splits if splits[path] == split) for split in ("train", "test")]


def test_a_new_image_that_joins_both_sides_goes_to_train_and_the_leak_is_found(photos: Path):
    saved = saved_of(photos)
    write_image(photos / "sky" / "new.jpg", 999)
    catalog = catalog_of(photos)
    tied = [list(catalog.paths).index(path) for path in [*first_of_two_sides(saved), "sky/new.jpg"]]
    copies = catalog.copies.copy()
    copies[tied] = [tied[0], tied[1], tied[1]]
    groups = np.where(np.isin(np.arange(len(catalog)), [tied[0], tied[2]]), "g", "").astype(object)
    divided = saved.extended(
        catalog.replace(copies=copies, groups=groups), SplitOptions(val=0.15), 0
    )
    assert divided.splits[tied].tolist() == ["train", "test", "train"]
    assert [leak.splits for leak in find_leaks(divided)] == [("train", "test")]


# ── the splits as a column ──


def divided(photos: Path) -> Catalog:
    catalog = catalog_of(photos)
    return catalog.with_splits(make_splits(catalog, SplitOptions(val=0.15), 0))


def test_a_catalog_is_undivided_until_it_is_given_splits(photos):
    assert set(catalog_of(photos).splits) == {""}


def test_a_split_of_a_catalog_is_its_rows(photos):
    catalog = divided(photos)
    assert set(catalog.splits[catalog.split("val")]) == {"val"}
    assert sum(len(catalog.split(name)) for name in ("train", "val", "test")) == len(catalog)


def test_the_digest_of_the_splits_is_the_hash_of_the_saved_file(photos):
    catalog = divided(photos)
    with new_run(photos.parent / "runs", "x") as run:
        save_splits(run, catalog)
    assert catalog.splits_digest == read_splits(run.path).digest


def test_some_rows_of_a_catalog_keep_their_splits(photos):
    catalog = divided(photos)
    assert catalog.rows(catalog.splits == "test").splits.tolist() == ["test"] * len(
        catalog.split("test")
    )


def test_a_recipe_that_needs_val_cuts_it_from_the_train_images_of_a_probe(photos: Path):
    catalog = catalog_of(photos)
    test_only = text_column(["test" if row % 4 == 0 else "train" for row in range(len(catalog))])
    kept = catalog.with_splits(test_only)
    divided = cut_val(kept, SplitOptions(val=0.15), 0)
    assert (divided.splits == "val").any()
    assert ((divided.splits == "test") == (kept.splits == "test")).all()
    assert "have no val" in divided.remarks[-1]
    assert cut_val(divided, SplitOptions(val=0.15), 0) is divided
