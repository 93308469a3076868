"""What the user points at is recognised by looking: class folders, split folders, Tiny ImageNet, or
a table.
"""

import hashlib
import os
import socket

import pytest

from helpers.images import write_classes, write_image
from tellapart.catalog.scan import drop_empty_classes, scan
from tellapart.catalog.splits import make_splits
from tellapart.decoders.rules import DecodeRules
from tellapart.errors import UserError
from tellapart.options import SplitOptions
from tellapart.sources.reading import Reading
from tellapart.sources.source import read_source


@pytest.fixture
def tree(tmp_path):
    """A function that makes files from their paths (empty, for nothing is opened here); returns the
    folder.
    """

    def make(*paths):
        for path in paths:
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).touch()
        return tmp_path

    return make


def labelled(catalog):
    """path → class name"""
    names = [catalog.classes[label] for label in catalog.labels]
    return dict(zip(catalog.paths, names, strict=True))


def split_of(catalog):
    return dict(zip(catalog.paths, catalog.given_splits, strict=True))


def snapshot(folder):
    """Of every file and folder: name, mode, time of change, and SHA-256 of the content."""
    return {path: _state(path) for path in [folder, *folder.rglob("*")]}


def _state(path):
    info = path.stat()
    return (
        info.st_mode,
        info.st_mtime_ns,
        path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest(),
    )


# ── one folder a class ──


def test_each_folder_is_a_class(tree):
    catalog = read_source(tree("dog/2.jpg", "cat/1.jpg", "cat/3.png"))
    assert catalog.classes == ("cat", "dog")
    assert labelled(catalog) == {"cat/1.jpg": "cat", "cat/3.png": "cat", "dog/2.jpg": "dog"}
    assert catalog.source == "2 class folders"


def test_nested_folders_belong_to_the_top_one(tree):
    catalog = read_source(tree("cat/2020/a/1.jpg", "cat/2.jpg", "dog/1.jpg"))
    assert labelled(catalog) == {"cat/2020/a/1.jpg": "cat", "cat/2.jpg": "cat", "dog/1.jpg": "dog"}


def test_rows_are_in_the_order_of_their_paths(tree):
    catalog = read_source(tree("b/1.jpg", "a/B.jpg", "a/a.jpg", "a/b/1.jpg"))
    assert list(catalog.paths) == ["a/B.jpg", "a/a.jpg", "a/b/1.jpg", "b/1.jpg"]


def test_files_beside_the_class_folders_are_counted_as_ignored(tree):
    catalog = read_source(tree("cat/1.jpg", "dog/1.jpg", "readme.txt", "loose.jpg"))
    assert catalog.ignored == {"files in the top folder, beside the class folders": 2}


def test_an_empty_class_folder_is_a_class_until_it_is_left_out_by_name(photos):
    (photos / "empty").mkdir()
    catalog = read_source(photos)
    assert "empty" in catalog.classes
    left = drop_empty_classes(scan(catalog, rules=DecodeRules(max_pixels=10**8)))
    assert left.classes == ("brick", "leaf", "sky")
    assert [
        remark for remark in left.remarks if "'empty' is left out: its folder is empty" in remark
    ]


def test_nothing_is_opened(tree):
    catalog = read_source(tree("cat/1.jpg", "dog/1.jpg"))
    assert set(catalog.statuses) == {""}
    assert set(catalog.digests) == {""}


@pytest.mark.parametrize(
    ("paths", "words"),
    [
        ([], r"holds no folder with images \(0 loose files\)"),
        (
            ["1.jpg", "2.jpg"],
            r"holds no folder with images \(2 loose files\). Found: 2 .jpg files. Make a folder",
        ),
        (
            ["animals/cat/1.jpg", "animals/dog/1.jpg"],
            r"one class only, 'animals'.*Did you mean .*/animals, .*'cat', 'dog'",
        ),
        (
            ["test/cat/1.jpg", "test/dog/1.jpg", "val/cat/2.jpg", "val/dog/2.jpg"],
            "but there is no train folder",
        ),
        (
            ["train/1.jpg", "test/2.jpg"],
            r"split folders of .* hold no class folders \(2 loose files\)",
        ),
        (
            ["train/cat/1.jpg", "val/cat/1.jpg", "valid/cat/1.jpg"],
            "two val folders: 'val', 'valid'",
        ),
        (
            ["train/cat/1.jpg", "train/dog/1.jpg", "test/cow/1.jpg"],
            r"'cow' is in test \(1 image\) but not in train",
        ),
        (
            ["train/Cat/1.jpg", "train/dog/1.jpg", "test/cat/1.jpg"],
            "Is it 'Cat', written differently",
        ),
    ],
)
def test_a_folder_that_cannot_be_used_is_refused_with_what_to_do(tree, paths, words):
    with pytest.raises(UserError, match=words) as refused:
        read_source(tree(*paths))
    assert refused.value.hint


def test_a_path_that_does_not_exist_is_refused_with_the_nearest_name(photos):
    with pytest.raises(UserError, match=r"does not exist. Did you mean .*/photos"):
        read_source(photos.parent / "fotos")


@pytest.mark.parametrize("name", ["x" * 300, "nowhere/at/all"])
def test_a_path_that_cannot_exist_is_refused(tmp_path, name):
    with pytest.raises(UserError, match="does not exist"):
        read_source(tmp_path / name)


def test_a_pipe_is_no_source(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="neither a folder nor a table"):
        read_source(tmp_path / "pipe")


@pytest.mark.skipif(os.getuid() == 0, reason="nothing is forbidden to root")
def test_a_folder_that_may_not_be_read_is_refused(photos):
    photos.chmod(0)
    with pytest.raises(UserError, match=r"cannot be read. Give yourself the right"):
        read_source(photos)


@pytest.mark.skipif(os.getuid() == 0, reason="nothing is forbidden to root")
def test_a_class_folder_that_may_not_be_read_is_counted_and_remarked(photos):
    (photos / "leaf").chmod(0)
    catalog = read_source(photos)
    assert catalog.ignored == {"folders that cannot be read": 1}
    assert "for example 'leaf' (permission denied)" in catalog.remarks[0]


def test_a_class_may_be_called_test(tree):
    assert read_source(tree("test/1.jpg", "control/1.jpg")).classes == ("control", "test")


# ── split folders ──


@pytest.mark.parametrize(
    "other", ["val", "valid", "validation", "test", "testing", "Test", "holdout"]
)
def test_train_and_one_other_folder_reports_on_that_one_whatever_its_name(tree, other):
    catalog = read_source(tree("train/cat/1.jpg", "train/dog/2.jpg", f"{other}/cat/3.jpg"))
    assert split_of(catalog) == {
        "train/cat/1.jpg": "train",
        "train/dog/2.jpg": "train",
        f"{other}/cat/3.jpg": "test",
    }
    assert (
        catalog.source
        == f"split folders train/, {other}/; {other}/ is the test set, any val is cut from train"
    )


@pytest.mark.parametrize("val", ["val", "valid", "validation"])
def test_with_val_and_test_each_is_what_its_name_says(tree, val):
    catalog = read_source(tree("train/cat/1.jpg", f"{val}/cat/2.jpg", "test/cat/3.jpg"))
    assert split_of(catalog) == {
        "train/cat/1.jpg": "train",
        f"{val}/cat/2.jpg": "val",
        "test/cat/3.jpg": "test",
    }
    assert catalog.source == f"split folders train/, {val}/, test/; each is what its name says"


def test_with_only_train_both_are_cut_from_it(tree):
    catalog = read_source(tree("train/cat/1.jpg", "train/dog/1.jpg"))
    assert set(catalog.given_splits) == {"train"}
    assert catalog.source == "split folders train/; val and test are cut from it"


def test_a_test_folder_without_classes_is_counted_and_the_other_one_is_the_test(tree):
    catalog = read_source(tree("train/cat/1.jpg", "val/cat/2.jpg", "test/3.jpg", "test/4.jpg"))
    assert split_of(catalog) == {"train/cat/1.jpg": "train", "val/cat/2.jpg": "test"}
    assert (
        catalog.source
        == "split folders train/, val/; val/ is the test set, any val is cut from train"
    )
    assert catalog.ignored == {"files in test/, beside the class folders": 2}


def test_other_folders_beside_the_split_folders_are_counted_as_ignored(tree):
    catalog = read_source(
        tree("train/cat/1.jpg", "test/cat/2.jpg", "unlabelled/3.jpg", "models/a/b.onnx")
    )
    assert catalog.ignored == {"files in 'models', 'unlabelled', beside the split folders": 2}


def test_a_folder_beside_train_that_holds_no_class_of_it_is_no_test(tree):
    catalog = read_source(tree("train/cat/1.jpg", "train/dog/1.jpg", "notes/drafts/a.txt"))
    assert catalog.classes == ("cat", "dog")
    assert set(catalog.given_splits) == {"train"}


def test_a_class_that_only_train_has_is_legal(tree):
    catalog = read_source(tree("train/cat/1.jpg", "train/dog/1.jpg", "test/cat/1.jpg"))
    assert catalog.classes == ("cat", "dog")


def test_the_fixture_with_train_and_test_is_read_as_such(split_photos):
    catalog = read_source(split_photos)
    assert catalog.counts(catalog.given_splits == "train").tolist() == [10, 10, 10]
    assert catalog.counts(catalog.given_splits == "test").tolist() == [4, 4, 4]


# ── Tiny ImageNet ──


@pytest.fixture
def tiny(tree):
    root = tree(
        "train/n01/images/a.JPEG",
        "train/n01/n01_boxes.txt",
        "train/n02/images/b.JPEG",
        "train/n03/images/c.JPEG",
        "train/n04/images/d.JPEG",
        "val/images/v0.JPEG",
        "val/images/v1.JPEG",
        "val/images/v2.JPEG",
        "test/images/t0.JPEG",
        "test/images/t1.JPEG",
    )
    (root / "val" / "val_annotations.txt").write_text(
        "v0.JPEG\tn01\t0\t0\t9\t9\nv1.JPEG\tn03\t0\t0\t9\t9\n"
    )
    (root / "words.txt").write_text(
        "n01\tgoldfish, Carassius auratus\nn02\tcrane\nn03\tcrane, wading bird\nn99\tcow\n"
    )
    return root


def test_tiny_imagenet_has_readable_names_made_unique(tiny):
    assert read_source(tiny).classes == ("crane (n02)", "crane (n03)", "goldfish", "n04")


def test_tiny_imagenets_val_is_labelled_by_its_annotations_and_is_the_test_set(tiny):
    catalog = read_source(tiny)
    assert split_of(catalog)["train/n01/images/a.JPEG"] == "train"
    assert split_of(catalog)["val/images/v1.JPEG"] == "test"
    assert labelled(catalog)["val/images/v1.JPEG"] == "crane (n03)"
    assert "Tiny ImageNet" in catalog.source
    assert "val_annotations.txt is the test set, any val is cut from train" in catalog.source


def test_tiny_imagenets_images_without_a_label_are_counted(tiny):
    assert read_source(tiny).ignored == {
        "images without a label in test/": 2,
        "files in val/ without a label": 1,
        "files that stand beside images (.txt)": 2,
    }


def test_tiny_imagenets_boxes_are_no_images(tiny):
    assert len(read_source(tiny)) == 6


def test_tiny_imagenet_without_words_keeps_its_ids(tiny):
    (tiny / "words.txt").unlink()
    assert read_source(tiny).classes == ("n01", "n02", "n03", "n04")


@pytest.mark.parametrize(
    ("line", "words"),
    [("v0.JPEG\n", "line 1: a file name, a tab"), ("v0.JPEG\tn77\n", "line 1: class 'n77' has no")],
)
def test_tiny_imagenets_broken_annotations_are_refused_with_their_line(tiny, line, words):
    (tiny / "val" / "val_annotations.txt").write_text(line)
    with pytest.raises(UserError, match=words):
        read_source(tiny)


# ── junk, links and special files ──


def test_junk_is_never_a_sample_or_a_class_and_is_counted(tree):
    root = tree(
        "cat/1.jpg",
        "dog/1.jpg",
        "cat/._1.jpg",
        "cat/.DS_Store",
        "dog/Thumbs.db",
        "desktop.ini",
        "._x.jpg",
    )
    tree(
        "__MACOSX/a.jpg",
        "cat/.ipynb_checkpoints/a.jpg",
        "@eaDir/a.jpg",
        ".git/a.jpg",
        "dog/lost+found/a.jpg",
    )
    catalog = read_source(root)
    assert catalog.classes == ("cat", "dog")
    assert list(catalog.paths) == ["cat/1.jpg", "dog/1.jpg"]
    assert catalog.ignored == {"junk files": 5, "junk folders": 5}


SIX = [f"{name}/{number}.jpg" for name in ("cat", "dog") for number in (1, 2, 3)]


@pytest.mark.parametrize("target", [".", "..", "../dog", "../cat/in", "loop", "../../.."])
def test_six_images_stay_six_whatever_a_link_among_them_leads_to(tree, target):
    root = tree(*(f"data/{path}" for path in SIX[1:]), "data/cat/in/1.jpg") / "data"
    (root / "cat" / "loop").symlink_to(target, target_is_directory=True)
    paths = {
        path for path in read_source(root).paths if path != "cat/loop"
    }  # a link to itself gets its verdict
    assert paths == {*SIX[1:], "cat/in/1.jpg"}


@pytest.mark.parametrize("target", [".", "cat", "cat/in"])
def test_six_images_stay_six_when_a_class_folder_is_a_link_to_others(tree, target):
    root = tree(*SIX[1:], "cat/in/1.jpg")
    (root / "all").symlink_to(target, target_is_directory=True)
    catalog = read_source(root)
    assert len(catalog) == 6
    assert "not followed: 1, for example 'all'" in catalog.remarks[0]


def test_a_val_folder_that_is_a_link_to_test_is_no_split_of_its_own(tree):
    root = tree("train/cat/1.jpg", "train/dog/1.jpg", "test/cat/2.jpg", "test/dog/2.jpg")
    (root / "val").symlink_to("test", target_is_directory=True)
    catalog = read_source(root)
    assert set(catalog.given_splits) == {"train", "test"}
    assert "test/ is the test set" in catalog.source
    assert catalog.ignored == {"links to a folder visited under its own name": 2}


def test_a_link_to_a_folder_elsewhere_is_followed_and_its_files_noted(tree):
    tree("elsewhere/3.jpg", "data/cat/1.jpg", "data/dog/1.jpg")
    root = tree() / "data"
    (root / "cat" / "more").symlink_to("../../elsewhere", target_is_directory=True)
    catalog = read_source(root)
    assert list(catalog.paths) == ["cat/1.jpg", "cat/more/3.jpg", "dog/1.jpg"]
    assert list(catalog.notes) == ["", "link_outside", ""]


def test_a_link_to_a_file_is_noted_only_when_it_leads_outside(tree):
    tree("elsewhere.jpg", "data/cat/1.jpg", "data/dog/1.jpg")
    root = tree() / "data"
    (root / "cat" / "inside.jpg").symlink_to("1.jpg")
    (root / "cat" / "outside.jpg").symlink_to("../../elsewhere.jpg")
    catalog = read_source(root)
    assert dict(zip(catalog.paths, catalog.notes, strict=True))["cat/outside.jpg"] == "link_outside"
    assert list(catalog.notes).count("link_outside") == 1


def test_a_class_folder_may_be_a_link_to_elsewhere(tree):
    tree("store/cats/1.jpg", "data/dog/1.jpg")
    root = tree() / "data"
    (root / "cat").symlink_to("../store/cats", target_is_directory=True)
    assert labelled(read_source(root)) == {"cat/1.jpg": "cat", "dog/1.jpg": "dog"}


def test_pipes_sockets_and_empty_folders_named_like_images_get_rows(tree):
    root = tree("cat/1.jpg", "dog/1.jpg")
    (root / "cat" / "y.jpg").mkdir()
    os.mkfifo(root / "cat" / "pipe.jpg")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(root / "cat" / "socket.jpg"))
        catalog = read_source(root)
    assert list(catalog.paths) == [
        "cat/1.jpg",
        "cat/pipe.jpg",
        "cat/socket.jpg",
        "cat/y.jpg",
        "dog/1.jpg",
    ]


def test_a_folder_named_like_a_image_that_holds_images_is_a_folder(tree):
    catalog = read_source(tree("cat/album.jpg/1.jpg", "dog/1.jpg"))
    assert list(catalog.paths) == ["cat/album.jpg/1.jpg", "dog/1.jpg"]


# ── the user's data is only read ──


def test_nothing_is_moved_copied_or_changed(photos):
    write_classes(photos / "leaf" / "nested", 1, first_seed=50)
    (photos / "sky" / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    (photos / "brick" / "000.jpg").chmod(0o444)
    before = snapshot(photos)
    catalog = scan(read_source(photos), rules=DecodeRules(max_pixels=10**8))
    make_splits(catalog, SplitOptions(), 0)
    assert snapshot(photos) == before


def test_a_thousand_classes_are_read(tmp_path):
    image = write_image(tmp_path / "one.jpg").read_bytes()
    for number in range(1000):
        (tmp_path / "data" / f"c{number:03}").mkdir(parents=True)
        (tmp_path / "data" / f"c{number:03}" / "1.jpg").write_bytes(image)
    catalog = read_source(tmp_path / "data")
    assert (len(catalog), len(catalog.classes), catalog.source) == (
        1000,
        1000,
        "1,000 class folders",
    )


def test_a_column_to_group_by_is_refused_where_there_is_no_table(photos):
    with pytest.raises(UserError, match="is no table, and so has no column 'patient'"):
        read_source(photos, Reading(group_column="patient"))


def test_a_column_of_weights_is_refused_where_there_is_no_table(photos):
    with pytest.raises(
        UserError, match="no table, and so has no column 'often' of weights"
    ) as refused:
        read_source(photos, Reading(weight_column="often"))
    assert "training.weight_column" in refused.value.hint


def test_without_a_table_every_image_has_the_weight_1(photos):
    assert set(read_source(photos).weights) == {1.0}


# ── names of splits, groups and annotations ──


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("training_set", "test_set"),
        ("training_set/training_set", "test_set/test_set"),
        ("seg_train/seg_train", "seg_test/seg_test"),
        ("TRAIN_DATA", "TEST_DATA"),
        ("train/train", "test/test"),
        ("train/images", "test/images"),
        ("Train2017", "holdout"),
        ("cats_train", "cats_test"),
    ],
)
def test_split_folders_are_known_by_all_usual_names(tree, train, test):
    catalog = read_source(tree(f"{train}/cat/1.jpg", f"{train}/dog/2.jpg", f"{test}/cat/3.jpg"))
    assert catalog.classes == ("cat", "dog")
    assert list(split_of(catalog).values()).count("test") == 1


def test_an_evaluation_set_beside_a_validation_set_is_the_test_set(tree):
    catalog = read_source(
        tree("training/cat/1.jpg", "training/dog/2.jpg", "validation/cat/3.jpg", "evaluation/dog/4")
    )
    assert split_of(catalog)["evaluation/dog/4"] == "test"
    assert split_of(catalog)["validation/cat/3.jpg"] == "val"


def test_splits_inside_the_classes_are_splits(tree):
    catalog = read_source(
        tree("cat/train/1.jpg", "cat/test/2.jpg", "dog/train/3.jpg", "dog/test/4.jpg")
    )
    assert catalog.classes == ("cat", "dog")
    assert split_of(catalog)["dog/test/4.jpg"] == "test"


def test_a_class_called_train_is_a_class_among_others(tree):
    assert read_source(tree("bus/1.jpg", "car/1.jpg", "train/1.jpg")).classes == (
        "bus",
        "car",
        "train",
    )


def test_loose_images_in_split_folders_are_no_classes(tree):
    with pytest.raises(UserError, match="hold no class folders"):
        read_source(tree("train/1.jpg", "test1/2.jpg"))


def test_patients_over_classes_are_groups_that_are_proposed(tree):
    catalog = read_source(
        tree(
            "patient1/ill/1.jpg", "patient1/well/2.jpg", "patient2/ill/3.jpg", "patient2/well/4.jpg"
        )
    )
    assert catalog.classes == ("ill", "well")
    assert "Add --group-by folder:1" in catalog.remarks[0]


def test_patients_inside_classes_are_groups_that_are_proposed(tree):
    catalog = read_source(tree("ill/p1/1.jpg", "ill/p2/2.jpg", "well/p1/3.jpg", "well/p2/4.jpg"))
    assert catalog.classes == ("ill", "well")
    assert "Add --group-by folder:2" in catalog.remarks[0]


def test_folders_that_may_be_classes_at_either_height_are_asked_for(tree):
    folder = tree("lamp/left/1.jpg", "lamp/right/2.jpg", "desk/left/3.jpg", "desk/right/4.jpg")
    with pytest.raises(UserError, match="either can be the classes") as refused:
        read_source(folder)
    assert "--label-by folder:2" in refused.value.hint
    assert read_source(folder, Reading(label_by="folder:1")).classes == ("desk", "lamp")
    assert read_source(folder, Reading(label_by="folder:2")).classes == ("left", "right")


def test_masks_beside_the_images_are_left_out_and_remarked(tree):
    catalog = read_source(
        tree("ill/images/1.png", "ill/masks/1.png", "well/images/2.png", "well/masks/2.png")
    )
    assert list(catalog.paths) == ["ill/images/1.png", "well/images/2.png"]
    assert catalog.ignored == {"files in folders of annotations": 2}
    assert "for example 'ill/masks'" in catalog.remarks[0]


def test_a_class_of_masks_is_a_class(tree):
    assert read_source(tree("faces/1.png", "masks/1.png")).classes == ("faces", "masks")


def test_files_that_stand_beside_images_are_counted_by_their_endings(tree):
    catalog = read_source(
        tree("a/1.jpg", "a/1.xmp", "a/1.jpg.json", "a/1.jpg:Zone.Identifier", "b/1.jpg", "b/x.AAE")
    )
    assert list(catalog.paths) == ["a/1.jpg", "b/1.jpg"]
    assert sum(catalog.ignored.values()) == 4
    assert catalog.ignored["files that stand beside images (.xmp)"] == 1


def test_folders_of_earlier_runs_are_no_classes(tree):
    run = ("recipe.yaml", "environment.json", "model.onnx")
    runs = [f"{runs}/{name}" for runs in ("runs/1-a", "runs/2-a", "best") for name in run]
    catalog = read_source(tree("cat/1.jpg", "dog/1.jpg", *runs))
    assert catalog.classes == ("cat", "dog")
    assert catalog.ignored == {"folders of earlier runs": 2}


def test_a_folder_around_the_data_is_entered(tree):
    catalog = read_source(tree("dataset/cat/1.jpg", "dataset/dog/1.jpg", "__MACOSX/x"))
    assert labelled(catalog) == {"cat/1.jpg": "cat", "dog/1.jpg": "dog"}
    assert catalog.source == "in dataset/: 2 class folders"
    assert catalog.ignored == {"junk folders": 1}


def test_a_label_is_found_in_the_name_of_a_file(tree):
    folder = tree("cat.0.jpg", "cat.1.jpg", "dog.0.jpg", "dog.1.jpg", "notes.jpg")
    catalog = read_source(folder, Reading(label_by=r"name:^([a-z]+)\."))
    assert catalog.classes == ("cat", "dog", "notes")
    with pytest.raises(UserError, match=r"gives none of 5 files in .* a label"):
        read_source(folder, Reading(label_by="name:(zebra)"))


def test_labels_in_names_go_with_split_folders(tree):
    folder = tree("train/cat.0.jpg", "train/dog.1.jpg", "test/cat.2.jpg", "test/7.jpg")
    catalog = read_source(folder, Reading(label_by=r"name:^([a-z]+)\."))
    assert split_of(catalog)["test/cat.2.jpg"] == "test"
    assert sum(catalog.ignored.values()) == 1


def test_words_that_the_names_begin_with_are_proposed_as_labels(tree):
    with pytest.raises(UserError, match=r"begin with cat \(2\), dog \(2\)") as refused:
        read_source(tree("cat.0.jpg", "cat.1.jpg", "dog_7.jpg", "dog_8.jpg"))
    assert "--label-by 'name:^" in refused.value.hint


@pytest.mark.parametrize("wrapper", ["PetImages", "archive/animals", "data/raw/images"])
def test_folders_around_the_data_are_entered_by_their_names(tree, wrapper):
    catalog = read_source(tree(f"{wrapper}/cat/1.jpg", f"{wrapper}/dog/1.jpg"))
    assert labelled(catalog) == {"cat/1.jpg": "cat", "dog/1.jpg": "dog"}


def test_a_folder_of_labelled_images_beside_unlabelled_ones_is_entered(tree):
    catalog = read_source(tree("labeled/cat/1.jpg", "labeled/dog/1.jpg", "unlabeled/2.jpg"))
    assert catalog.classes == ("cat", "dog")


def test_unlabelled_images_are_no_class(tree):
    catalog = read_source(tree("cat/1.jpg", "dog/1.jpg", "unlabelled/2.jpg"))
    assert catalog.classes == ("cat", "dog")
    assert catalog.ignored == {"files in folders without labels": 1}


def test_the_parts_of_one_set_are_no_classes(tree):
    with pytest.raises(UserError, match="look like parts of one set") as refused:
        read_source(tree("images_001/1.jpg", "images_002/2.jpg"))
    assert "--label-by folder" in refused.value.hint


def test_a_table_labels_the_parts_of_one_set(tree):
    folder = tree("images_001/1.jpg", "images_002/2.jpg")
    (folder / "labels.csv").write_text("file,label\n1.jpg,cat\n2.jpg,dog\n")
    assert read_source(folder).classes == ("cat", "dog")


def test_a_label_in_a_name_that_is_no_text_is_escaped_as_folders_are(tree):
    folder = tree("l\udce9af/1.jpg", "sky/2.jpg")
    by_rule = read_source(folder, Reading(label_by="folder"))
    assert by_rule.classes == read_source(folder).classes == ("l\\xe9af", "sky")
