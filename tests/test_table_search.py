"""Tables that lie beside the images they name, found by looking at the folder."""

import json
from collections import Counter

import pytest

from helpers.images import write_names
from tellapart.errors import UserError
from tellapart.sources.reading import Reading
from tellapart.sources.source import read_source

NAMES = [f"{kind}{number}.jpg" for kind in "ab" for number in range(4)]


@pytest.fixture
def folder(tmp_path):
    """A function that writes empty images and texts into a folder: name → text, and reads it."""

    def read(images, texts, reading=None):
        write_names(tmp_path / "data", images)
        for name, text in texts.items():
            path = tmp_path / "data" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return read_source(tmp_path / "data", reading or Reading())

    return read


def table(names, header="file_name,label", inside=""):
    """A table that gives each image the first letter of its name as its label."""
    return "\n".join([header, *(f"{inside}{name},{name[0]}" for name in names)])


def counts(catalog):
    """How many images each split has of each class."""
    return dict(
        sorted(
            Counter(
                f"{split or 'none'} {catalog.classes[label]}"
                for split, label in zip(catalog.given_splits, catalog.labels, strict=True)
            ).items()
        )
    )


@pytest.mark.parametrize("name", ["metadata.csv", "labels.csv", "train.csv", "notes/x.csv"])
def test_a_table_beside_loose_images_labels_them(folder, name):
    catalog = folder(NAMES, {name: table(NAMES)})
    assert catalog.source == f"a table ({name}) of 8 images"
    assert counts(catalog) == {"none a": 4, "none b": 4}


def test_a_table_and_its_copy_of_another_kind_are_one(folder):
    lines = "".join(f'{{"file_name": "{name}", "label": "{name[0]}"}}\n' for name in NAMES)
    catalog = folder(NAMES, {"metadata.csv": table(NAMES), "metadata.jsonl": lines})
    assert catalog.source == "a table (metadata.csv) of 8 images"


def test_a_table_in_each_split_folder_gives_its_splits(folder):
    images = [f"{split}/{name}" for split in ("train", "valid", "test") for name in NAMES]
    catalog = folder(
        images, {f"{split}/_classes.csv": table(NAMES) for split in ("train", "valid", "test")}
    )
    assert counts(catalog) == {
        f"{split} {kind}": 4 for split in ("test", "train", "val") for kind in "ab"
    }


@pytest.mark.parametrize("form", ["{}.csv", "{}_labels.csv", "csv/{}-set.csv"])
def test_a_table_a_split_is_read_with_the_others(folder, form):
    texts = {
        form.format("train"): table(NAMES[::2]),
        form.format("test"): table(NAMES[1::2]),
    }
    catalog = folder([f"images/{name}" for name in NAMES], texts)
    assert counts(catalog) == {"test a": 2, "test b": 2, "train a": 2, "train b": 2}
    assert catalog.source.startswith("a set of 2 tables")


def test_a_list_a_split_is_read_with_the_others(folder):
    texts = {
        f"{split}.txt": "".join(f"images/{name} {int(name[0] == 'b')}\n" for name in names)
        for split, names in (("train", NAMES[::2]), ("test", NAMES[1::2]))
    }
    catalog = folder([f"images/{name}" for name in NAMES], texts)
    assert counts(catalog) == {"test 0": 2, "test 1": 2, "train 0": 2, "train 1": 2}


def test_labels_in_json_beside_the_folder_of_the_images_are_found(folder):
    labels = json.dumps({name: name[0] for name in NAMES})
    catalog = folder([f"images/{name}" for name in NAMES], {"labels.json": labels})
    assert counts(catalog) == {"none a": 4, "none b": 4}


def test_a_test_table_without_labels_is_passed_over_and_told(folder):
    texts = {
        "train.csv": table(NAMES, "id,label"),
        "test.csv": "id,sex\n" + "\n".join(f"t{n}.jpg,{'fm'[n % 2]}" for n in range(4)),
        "sample_submission.csv": "id,label\n" + "\n".join(f"t{n}.jpg,a" for n in range(4)),
    }
    images = [f"train/{name}" for name in NAMES] + [f"test/t{n}.jpg" for n in range(4)]
    catalog = folder(images, texts)
    assert counts(catalog) == {"none a": 4, "none b": 4}
    assert "test.csv is left out: " in catalog.remarks[-1]
    assert catalog.ignored == {"images that no table names": 4}


def test_a_table_that_agrees_with_the_class_folders_is_no_second_way(folder):
    images = [f"{name[0]}/{name}" for name in NAMES]
    rows = "\n".join(f"{name[0]}/{name},{name[0]}" for name in NAMES)
    assert counts(folder(images, {"index.csv": f"path,label\n{rows}"})) == {
        "none a": 4,
        "none b": 4,
    }


def test_a_table_that_disagrees_with_the_class_folders_is_asked_about(folder, tmp_path):
    images = [f"{name[0]}/{name}" for name in NAMES]
    rows = "\n".join(f"{name[0]}/{name},{name[1]}" for name in NAMES)
    with pytest.raises(UserError, match="can be read in two ways that disagree") as refused:
        folder(images, {"index.csv": f"path,label\n{rows}"})
    assert f"tellapart train {tmp_path}/data/index.csv" in refused.value.hint


def test_a_column_that_the_user_names_means_that_the_table_counts(folder):
    images = [f"{name[0]}/{name}" for name in NAMES]
    rows = "\n".join(f"{name[0]}/{name},{name[1]}" for name in NAMES)
    reading = Reading(columns={"label": "shape"})
    catalog = folder(images, {"index.csv": f"path,shape\n{rows}"}, reading)
    assert catalog.classes == ("0", "1", "2", "3")


def test_a_column_to_group_by_may_be_that_of_a_table_in_the_folder(folder):
    rows = "\n".join(f"{name},{name[0]},p{name[1]}" for name in NAMES)
    catalog = folder(
        NAMES, {"labels.csv": f"path,label,patient\n{rows}"}, Reading(group_column="patient")
    )
    assert list(catalog.groups) == ["p0", "p1", "p2", "p3"] * 2


def test_why_the_only_table_cannot_be_used_is_told(folder):
    rows = "\n".join(f"{name},{n}.5" for n, name in enumerate(NAMES))
    with pytest.raises(UserError, match=r"has no column for label; its columns are file .*price"):
        folder(NAMES, {"notes.csv": f"file,price\n{rows}"})


def test_a_table_of_boxes_is_explained(folder):
    rows = "\n".join(f"{name},{name[0]},1,2,3,4" for name in NAMES)
    with pytest.raises(UserError, match=r"holds a table of boxes: 8 boxes of 2 classes.*--crops"):
        folder(NAMES, {"_annotations.csv": f"filename,class,xmin,ymin,xmax,ymax\n{rows}"})


def test_a_table_of_several_labels_an_image_is_no_way_but_its_reason_is_told(folder):
    rows = "\n".join(f"{name},{label}" for name in NAMES for label in "ab")
    with pytest.raises(UserError, match="gives 8 images more than one label"):
        folder(NAMES, {"rows.csv": f"image,label\n{rows}"})


@pytest.mark.parametrize(
    "texts",
    [
        {"requirements.txt": "torch 2\nnumpy 1\n"},
        {"classes.txt": "0 a\n1 b\n"},
        {"answers.csv": "path,status,decision,answer\n" + "\n".join(f"{n},ok,a,a" for n in NAMES)},
        {"prices.csv": "item,label\nx,1\ny,2\n"},
        {f"a/{name}.txt": "0 0.5 0.5 1 1\n" for name in NAMES},
    ],
)
def test_other_texts_are_no_tables_of_images(folder, texts):
    images = [f"{name[0]}/{name}" for name in NAMES]
    assert folder(images, texts).source == "2 class folders"


def test_masks_with_the_names_of_their_images_are_not_taken_for_these(folder):
    images = ["images/a.jpg", "images/b.jpg", "masks/a.jpg", "masks/b.jpg"]
    catalog = folder(images, {"labels.csv": "id,label\na,cat\nb,dog\n"})
    assert list(catalog.paths) == ["images/a.jpg", "images/b.jpg"]


def test_a_table_that_agrees_with_the_folders_and_knows_the_splits_is_taken(folder):
    images = [f"{name[0]}/{name}" for name in NAMES]
    rows = "\n".join(
        f"{name[0]}/{name},{name[0]},{'test' if name[1] == '0' else 'train'}" for name in NAMES
    )
    catalog = folder(images, {"index.csv": f"path,label,split\n{rows}"})
    assert counts(catalog) == {"test a": 1, "test b": 1, "train a": 3, "train b": 3}
