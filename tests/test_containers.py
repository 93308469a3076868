"""Parquet, Arrow and WebDataset files that hold images with their labels are read as they are."""

import gzip
import json
from concurrent.futures import ThreadPoolExecutor

import polars
import pytest

from helpers.archives import make_tar
from helpers.containers import (
    CLASSES,
    hub_frame,
    small_image,
    small_images,
    write_parquet,
    write_saved,
    write_shard,
)
from tellapart.catalog.scan import scan
from tellapart.errors import UserError
from tellapart.sources.containers import archives, kinds, parquet
from tellapart.sources.containers.shards import Shard, catalog_of_shards
from tellapart.sources.reading import Reading
from tellapart.sources.source import read_source

# ── Parquet ──


def test_a_parquet_file_with_images_is_read_with_its_class_names(tmp_path):
    catalog = read_source(write_parquet(tmp_path / "train-00000-of-00001.parquet"))
    assert catalog.classes == CLASSES
    assert catalog.labels.tolist() == [0, 1, 0, 1]
    assert catalog.paths[2] == "train-00000-of-00001.parquet/2"
    assert catalog.files.read(catalog.paths[2]) == small_image(0, 2)


def test_a_hubs_snapshot_is_read_with_the_splits_of_its_file_names(tmp_path):
    for split, count in (("train", 8), ("validation", 4), ("test", 2)):
        write_parquet(tmp_path / "data" / f"{split}-00000-of-00001.parquet", hub_frame(count))
    catalog = read_source(tmp_path)
    assert sorted(catalog.given_splits) == ["test"] * 2 + ["train"] * 8 + ["val"] * 4
    assert "train 8, val 4, test 2; each is what its name says" in catalog.source


def test_with_one_split_beside_train_it_is_the_test_set(tmp_path):
    for split in ("train", "validation"):
        write_parquet(tmp_path / f"{split}-0.parquet")
    assert set(read_source(tmp_path).given_splits) == {"train", "test"}


def test_all_images_of_several_row_groups_are_the_right_ones_from_any_thread(tmp_path):
    path = write_parquet(tmp_path / "many.parquet", hub_frame(50), row_group_size=7)
    catalog = read_source(path)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(catalog.files.read, reversed(catalog.paths)))
    assert found[::-1] == small_images(50)[1]


def test_the_row_groups_of_the_footer_are_those_that_were_written(tmp_path):
    path = write_parquet(tmp_path / "many.parquet", hub_frame(50), row_group_size=20)
    assert parquet.open_parquet(path, "x").starts == [0, 20, 40, 50]


def test_a_row_group_that_does_not_fit_into_memory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "MAX_GROUP_BYTES", 10)
    with pytest.raises(UserError, match="Write it again with smaller row groups"):
        read_source(write_parquet(tmp_path / "x.parquet"))


def test_plain_bytes_and_labels_in_words_are_read_too(tmp_path):
    _, images = small_images()
    frame = polars.DataFrame({"jpg": images, "class": ["emu", "cow", "emu", None]})
    catalog = read_source(write_parquet(tmp_path / "x.parquet", frame, names=()))
    assert catalog.classes == ("cow", "emu")
    assert catalog.ignored == {"images without a label": 1}


def test_numbers_without_names_are_in_their_order(tmp_path):
    frame = polars.DataFrame({"image": small_images(3)[1], "label": [10, 9, 0]})
    assert read_source(write_parquet(tmp_path / "x.parquet", frame, names=())).classes == (
        "0",
        "9",
        "10",
    )


def test_a_test_split_without_labels_is_left_out_and_counted(tmp_path):
    write_parquet(tmp_path / "train-0.parquet")
    write_parquet(tmp_path / "test-0.parquet", hub_frame().with_columns(label=polars.lit(-1)))
    catalog = read_source(tmp_path)
    assert (len(catalog), catalog.ignored) == (4, {"images without a label in test": 4})


def test_the_user_may_name_the_columns(tmp_path):
    frame = hub_frame().rename({"label": "species"}).with_columns(label=polars.lit("x"))
    reading = Reading(columns={"label": "species"}, group_column="label")
    catalog = read_source(write_parquet(tmp_path / "x.parquet", frame, names=()), reading)
    assert catalog.classes == ("0", "1")
    assert set(catalog.groups) == {"x"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": polars.lit(0.5)}, "holds no names or whole numbers, but Float64"),
        ({"label": polars.lit(7)}, "has 2 class names, but images with label 7"),
        (
            {"image": polars.lit(b"x"), "img": polars.lit(b"y")},
            "2 columns of images: 'image', 'img'",
        ),
    ],
)
def test_a_column_that_cannot_be_what_it_is_for_is_refused(tmp_path, change, message):
    path = write_parquet(tmp_path / "x.parquet", hub_frame().with_columns(**change))
    with pytest.raises(UserError, match=message):
        read_source(path)


def test_without_a_label_the_columns_are_named(tmp_path):
    path = write_parquet(tmp_path / "x.parquet", hub_frame().rename({"label": "size"}), names=())
    with pytest.raises(UserError, match="no column for label; its columns are 'image', 'size'"):
        read_source(path)


def test_several_configurations_in_one_folder_are_refused(tmp_path):
    for folder in ("large", "small"):
        write_parquet(tmp_path / folder / "train-0.parquet")
    with pytest.raises(UserError, match="several data sets, in 'large', 'small'"):
        read_source(tmp_path)


def test_a_damaged_parquet_file_is_refused_in_one_line(tmp_path):
    path = write_parquet(tmp_path / "x.parquet")
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(UserError, match="not a Parquet file that can be read"):
        read_source(path)


def test_a_table_of_paths_stays_a_table(tmp_path):
    (tmp_path / "a.png").write_bytes(small_image(0, 0))
    polars.DataFrame({"path": ["a.png"], "label": ["x"]}).write_parquet(tmp_path / "x.parquet")
    assert read_source(tmp_path / "x.parquet").source == "a table of 1 image"


def test_an_unchanged_file_keeps_its_stamp_and_a_scan_finds_all_images_good(tmp_path):
    path = write_parquet(tmp_path / "x.parquet")
    catalog = scan(read_source(path))
    assert catalog.status_counts == {"ok": 4}
    assert read_source(path).files.stamp("x.parquet/1") == catalog.files.stamp("x.parquet/1")


def test_the_label_with_class_names_goes_before_others_of_usual_names(tmp_path):
    frame = hub_frame().with_columns(category=polars.lit("x"), species=polars.lit("y"))
    assert read_source(write_parquet(tmp_path / "x.parquet", frame)).classes == CLASSES


def test_a_column_of_splits_is_used_where_it_names_splits(tmp_path):
    frame = hub_frame(8).with_columns(
        split=polars.Series(["train"] * 6 + ["test"] * 2), mode=polars.lit("portrait")
    )
    catalog = read_source(write_parquet(tmp_path / "x.parquet", frame.drop("mode")))
    assert (catalog.given_splits == "test").sum() == 2
    other = write_parquet(tmp_path / "y.parquet", frame.drop("split"))
    assert set(read_source(other).given_splits) == {""}


def test_labels_that_all_differ_are_no_classes(tmp_path):
    frame = polars.DataFrame({"image": small_images(20)[1], "label": list(range(20))})
    with pytest.raises(UserError, match="20 different labels, such as '0' and '1', which are no"):
        read_source(write_parquet(tmp_path / "x.parquet", frame, names=()))


@pytest.mark.parametrize("reading", [Reading(label_by="folder"), Reading(crops=True)])
def test_an_option_that_means_files_is_refused_for_records(tmp_path, reading):
    with pytest.raises(UserError, match=r"Leave --(label-by|crops) out"):
        read_source(write_parquet(tmp_path / "x.parquet"), reading)


# ── Arrow ──


def test_a_saved_folder_is_read_with_its_class_names_and_splits(tmp_path):
    for split, count in (("train", 6), ("test", 2)):
        write_saved(tmp_path / split, count)
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    catalog = read_source(tmp_path)
    assert catalog.classes == CLASSES
    assert (catalog.given_splits == "test").sum() == 2
    assert catalog.files.read("train/data-00000-of-00001.arrow/5") == small_image(1, 5)


def test_files_that_a_saved_folder_does_not_name_are_left_out(tmp_path):
    write_saved(tmp_path)
    hub_frame(9).write_ipc_stream(tmp_path / "cache-1.arrow")
    assert len(read_source(tmp_path)) == 4


def test_a_stream_of_many_batches_is_read_a_batch_at_a_time(tmp_path):
    hub_frame(4).write_ipc_stream(tmp_path / "four.arrow")
    data = (tmp_path / "four.arrow").read_bytes()
    schema_size = 8 + int.from_bytes(data[4:8], "little")
    (tmp_path / "four.arrow").unlink()
    batch = data[schema_size:-8]
    (tmp_path / "x.arrow").write_bytes(data[:schema_size] + 3 * batch + data[-8:])
    catalog = read_source(tmp_path / "x.arrow")
    assert len(catalog) == 12
    assert catalog.files.read("x.arrow/09") == small_image(1, 1)


def test_a_feather_file_is_read_too(tmp_path):
    hub_frame(4).write_ipc(tmp_path / "x.feather")
    assert read_source(tmp_path / "x.feather").files.read("x.feather/3") == small_image(1, 3)


@pytest.mark.parametrize("keep", [10, 200, 700])
def test_a_cut_stream_is_refused(tmp_path, keep):
    path = write_saved(tmp_path) / "data-00000-of-00001.arrow"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UserError, match="is cut short, damaged, or no Arrow stream"):
        read_source(tmp_path)


def test_a_batch_whose_sizes_cannot_be_is_refused_before_memory_is_asked_for(tmp_path):
    path = write_saved(tmp_path) / "data-00000-of-00001.arrow"
    data = bytearray(path.read_bytes())
    rows = (4).to_bytes(8, "little")
    at = data.rindex(rows + bytes(8))  # a length and a count of nulls, as each column has them
    data[at : at + 8] = (2**62).to_bytes(8, "little")
    path.write_bytes(data)
    with pytest.raises(UserError, match="is cut short, damaged, or no Arrow stream"):
        read_source(tmp_path)


# ── WebDataset ──


def test_a_shard_is_read_with_its_labels(tmp_path):
    catalog = read_source(write_shard(tmp_path / "shard-000000.tar", [0, 1, 0]))
    assert catalog.classes == ("0", "1")
    assert catalog.paths[1] == "shard-000000.tar/000001.png"
    assert catalog.files.read(catalog.paths[1]) == small_image(1, 1)


def test_shards_of_splits_are_told_by_their_names_and_classes_by_the_list_beside(tmp_path):
    for name in ("set-train-000000.tar", "set-train-000001.tar", "set-val-000000.tar"):
        write_shard(tmp_path / name, [0, 1])
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    catalog = read_source(tmp_path)
    assert catalog.classes == CLASSES
    assert list(catalog.given_splits) == ["train"] * 4 + ["test"] * 2


def test_a_shard_that_was_made_from_a_dot_is_read(tmp_path):
    samples = {f"./{number}.png": small_image(number, number) for number in (0, 1)}
    labels = {f"./{number}.cls": str(number).encode() for number in (0, 1)}
    (tmp_path / "x.tar").write_bytes(make_tar(samples | labels))
    assert list(read_source(tmp_path / "x.tar").paths) == ["x.tar/0.png", "x.tar/1.png"]


def test_a_packed_shard_is_read(tmp_path):
    path = write_shard(tmp_path / "plain.tar", [0, 1, 0])
    (tmp_path / "x.tar.gz").write_bytes(gzip.compress(path.read_bytes()))
    assert list(read_source(tmp_path / "x.tar.gz").labels) == [0, 1, 0]


def test_an_archive_beside_class_folders_is_not_listed_to_its_end(tmp_path, monkeypatch):
    for label in (0, 1):
        (tmp_path / CLASSES[label]).mkdir()
        (tmp_path / CLASSES[label] / "1.png").write_bytes(small_image(label, 1))
    names = [f"{label}/{number}.png" for label in CLASSES for number in range(40)]
    (tmp_path / "backup.tar").write_bytes(make_tar(dict.fromkeys(names, small_image(0, 0))))
    monkeypatch.setattr(archives, "Index", None)  # what listing it would need
    assert read_source(tmp_path).classes == CLASSES


def test_of_many_shards_none_stays_open_and_a_change_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(kinds, "MOST_OPEN", 1)
    for name in ("a.tar", "b.tar"):
        write_shard(tmp_path / name, [0, 1])
    catalog = read_source(tmp_path)
    assert catalog.files.read("b.tar/000001.png") == small_image(1, 1)
    write_shard(tmp_path / "b.tar", [1, 1, 1])
    assert catalog.files.read("b.tar/000001.png").status == "unreadable"


@pytest.mark.parametrize(
    ("suffix", "form"),
    [
        (".txt", lambda label: f"{label}\n"),
        (".json", lambda label: json.dumps({"id": 1, "label": label})),
    ],
)
def test_labels_may_be_words_in_text_or_json(tmp_path, suffix, form):
    path = write_shard(tmp_path / "x.tar", ["cat", "dog"], suffix, form)
    assert read_source(path).classes == CLASSES


def test_json_without_a_usual_key_is_refused_with_its_keys_or_read_by_the_users_key(tmp_path):
    path = write_shard(tmp_path / "x.tar", [1, 2], ".json", lambda label: json.dumps({"y": label}))
    with pytest.raises(UserError, match="its keys are 'y'"):
        read_source(path)
    assert read_source(path, Reading(columns={"label": "y"})).classes == ("1", "2")


def test_files_that_name_their_classes_differently_are_refused_with_both_lists():
    def shard(*names: str) -> Shard:
        return Shard("x.parquet", ("", 0.0), [0, 1], lambda number: b"", class_names=names)

    with pytest.raises(UserError, match="differently: 'cat', 'dog' in one, and 'cat', 'emu' in"):
        catalog_of_shards("data", "", "Parquet", [shard("cat", "dog"), shard("cat", "emu")])
