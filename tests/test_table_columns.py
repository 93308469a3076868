"""Which column of a table holds what."""

import pytest

from helpers.images import write_names
from tellapart.errors import UserError
from tellapart.sources.reading import AS_IT_LIES, Reading
from tellapart.sources.source import read_source

NAMES = [(f"{kind}{number}.jpg", kind) for kind in ("bars", "ring") for number in range(4)]


@pytest.fixture
def images(tmp_path):
    """The folder of the tables, with files of the names in them."""
    write_names(tmp_path, [path for path, _ in NAMES])
    write_names(tmp_path, [f"{kind}{n}.jpg" for kind in "ab" for n in range(4)])
    return tmp_path


@pytest.fixture
def read(images):
    """A function that reads a table with a row for each of eight images."""

    def read(header, form, reading=AS_IT_LIES):
        rows = "".join(
            form.format(path=path, label=label, number=number, one=int(label == "ring")) + "\n"
            for number, (path, label) in enumerate(NAMES)
        )
        (images / "t.csv").write_text(f"{header}\n{rows}")
        return read_source(images / "t.csv", reading)

    return read


def labels_of(catalog):
    return [
        (path, catalog.classes[label])
        for path, label in zip(catalog.paths, catalog.labels, strict=True)
    ]


@pytest.mark.parametrize(
    ("header", "form"),
    [
        ("image_id,dx", "{path},{label}"),
        ("img,breed", "{path},{label}"),
        ("Image Path,Class Label", "{path},{label}"),
        ("file-name,LABELS", "{path},{label}"),
        ("filepaths,labels,data set", "{path},{label},train"),
        ("id,image,choice", "{number},{path},{label}"),
        ("uri,species", "{path},{label}"),
        ("id,diagnosis", "{path},{label}"),
        ("id,image_id,label", "{number},{path},{label}"),
        ("path,class,label", "{path},,{label}"),
        ("Datei,Klasse", "{path},{label}"),
    ],
)
def test_usual_names_of_columns_need_no_option(read, header, form):
    catalog = read(header, form)
    assert (labels_of(catalog), catalog.remarks) == (NAMES, ())


@pytest.mark.parametrize(
    ("header", "form", "words"),
    [
        ("where,label", "{path},{label}", "paths of the images are taken from column 'where'"),
        ("id,where,label", "{number},{path},{label}", "taken from column 'where'"),
        ("path,what", "{path},{label}", "labels are taken from column 'what', which has 2 values"),
        ("path,note,what", "{path},{number},{label}", "labels are taken from column 'what'"),
    ],
)
def test_where_names_do_not_settle_it_the_cells_do_and_that_is_told(read, header, form, words):
    catalog = read(header, form)
    assert labels_of(catalog) == NAMES
    assert words in catalog.remarks[0]


def test_the_user_names_the_columns(read):
    columns = {"path": "A", "label": "b b", "split": "c", "group": "d"}
    catalog = read(
        "A,label,B B,c,d", "{path},{number},{label},train,{one}", Reading(columns=columns)
    )
    assert labels_of(catalog) == NAMES
    assert set(catalog.given_splits) == {"train"}
    assert list(catalog.groups) == ["0"] * 4 + ["1"] * 4


def test_a_column_that_the_user_names_and_is_not_there_is_refused(read):
    with pytest.raises(UserError, match=r"no column 'x' for label; its columns are path, y.*--col"):
        read("path,y", "{path},{label}", Reading(columns={"label": "x"}))


def test_columns_that_could_both_be_labels_are_listed_with_cells(read):
    with pytest.raises(
        UserError, match=r"no column for label; its columns are path .*a \('bars', 'ring'\), b"
    ):
        read("path,a,b", "{path},{label},{label} or not")


@pytest.mark.parametrize(
    ("header", "words"),
    [("label,filename,class_name", "class_name"), ("class id,filepaths,labels", "labels")],
)
def test_of_labels_as_numbers_and_in_words_the_words_are_used_and_told(read, header, words):
    catalog = read(header, "{one},{path},{label}")
    assert catalog.classes == ("bars", "ring")
    assert f"say the same. The labels are taken from {words!r}." in catalog.remarks[0]


def test_two_columns_of_labels_that_differ_are_refused_with_the_option(read):
    with pytest.raises(UserError, match=r"2 columns for label: label .*--columns label=label"):
        read("path,label,category", "{path},{label},{number}")


def test_labels_may_be_in_the_paths_of_a_table(read):
    catalog = read("path,size", "{path},3", Reading(label_by="name:^([a-z]+)"))
    assert labels_of(catalog) == NAMES


# ── one column a class ──


@pytest.mark.parametrize("cells", [("1", "0"), ("1.0", "0.0"), ("True", "False"), ("x", "")])
def test_columns_of_yes_and_no_are_classes(images, cells):
    yes, no = cells
    rows = [f"{kind}{n}.jpg,{yes},{no}" for kind in "ab" for n in range(3) if kind == "a"]
    rows += [f"b{n}.jpg,{no},{yes}" for n in range(3)]
    (images / "t.csv").write_text("\n".join(["image, rust, scab", *rows]))
    catalog = read_source(images / "t.csv")
    assert catalog.classes == ("rust", "scab")
    assert list(catalog.labels) == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize(
    ("row", "words"),
    [("1,1", r"row 4: one of .*must be 1, and 2, in 'rust', 'scab' is"), ("0,0", "row 4: .*none")],
)
def test_a_row_with_two_classes_or_none_is_refused_with_its_number(images, row, words):
    rows = ["image,rust,scab", "a.jpg,1,0", "b.jpg,0,1", "c.jpg,0,1", f"d.jpg,{row}"]
    (images / "t.csv").write_text("\n".join(rows))
    with pytest.raises(UserError, match=words):
        read_source(images / "t.csv")


@pytest.mark.parametrize("no", ["0", "-1"])
def test_images_of_several_classes_are_refused_with_their_number(images, no):
    rows = ["image,rust,scab,mould", f"a.jpg,1,1,{no}", f"b.jpg,{no},1,1", f"c.jpg,1,{no},1"]
    (images / "t.csv").write_text("\n".join(rows))
    with pytest.raises(UserError, match="3 columns of yes and no, and 3 rows with more than one"):
        read_source(images / "t.csv")


# ── splits and groups ──


def test_a_column_called_set_that_holds_no_splits_is_told_and_not_used(read):
    catalog = read("path,label,set", "{path},{label},plate A")
    assert set(catalog.given_splits) == {""}
    assert "Column 'set' holds no names of splits, but 'plate A'" in catalog.remarks[0]


def test_a_column_that_the_user_calls_the_split_must_hold_splits(read):
    with pytest.raises(UserError, match="row 1: split 'plate A' is unknown"):
        read("path,label,set", "{path},{label},plate A", Reading(columns={"split": "set"}))


@pytest.mark.parametrize(
    ("name", "splits"),
    [
        ("is_valid", {"train", "test"}),
        ("is_test", {"train", "test"}),
        ("isTrain", {"train", "test"}),
    ],
)
def test_a_column_of_yes_and_no_may_tell_the_splits(images, name, splits):
    rows = [f"{kind}{n}.jpg,{kind},{n % 2}" for kind in "ab" for n in range(4)]
    (images / "t.csv").write_text("\n".join([f"path,label,{name}", *rows]))
    assert set(read_source(images / "t.csv").given_splits) == splits


def test_a_column_of_patients_is_proposed_as_the_group_and_not_taken(read):
    catalog = read("path,label,Patient ID", "{path},{label},p{one}")
    assert set(catalog.groups) == {""}
    assert "'Patient ID' has 2 values for 8 rows" in catalog.remarks[0]
    assert "--group-by column:'Patient ID'" in catalog.remarks[0]
