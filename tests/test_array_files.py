"""NumPy's and HDF5's files of images and labels are read by the names of their arrays."""

import sys

import h5py
import numpy as np
import pytest

from helpers.archives import make_zip, read_or_refuse
from helpers.images import pixels_of
from tellapart.errors import UserError
from tellapart.sources.source import read_source

IMAGES = np.random.default_rng(0).integers(0, 256, (12, 6, 7, 3), np.uint8)
LABELS = np.arange(12) % 2


def pixels_in(catalog, path):
    return pixels_of(catalog.files.read(path))


def write_h5(path, **arrays):
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file.create_dataset(name, data=values)
    return path


# ── NumPy ──


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_kerass_names_give_a_train_and_a_test_set_with_exactly_the_stored_pixels(tmp_path, save):
    path = tmp_path / "data.npz"
    save(path, x_train=IMAGES, y_train=LABELS, x_test=IMAGES[:4], y_test=LABELS[:4])
    catalog = read_source(path)
    assert list(catalog.given_splits) == ["test"] * 4 + ["train"] * 12
    assert catalog.classes == ("0", "1")
    assert np.array_equal(pixels_in(catalog, "data.npz/x_train/07"), IMAGES[7])


def test_medmnists_names_give_three_splits_and_its_labels_have_a_column(tmp_path):
    arrays = {f"{split}_images": IMAGES[..., 0] for split in ("train", "val", "test")}
    labels = {f"{split}_labels": LABELS[:, None] for split in ("train", "val", "test")}
    np.savez(tmp_path / "pathmnist.npz", **arrays, **labels)
    catalog = read_source(tmp_path)
    assert sorted(set(catalog.given_splits)) == ["test", "train", "val"]
    grey = pixels_in(catalog, "pathmnist.npz/val_images/03")
    assert np.array_equal(grey, np.repeat(IMAGES[3, ..., :1], 3, axis=2))


def test_a_pair_of_npy_files_is_read_from_the_folder_or_by_its_images(tmp_path):
    np.save(tmp_path / "images.npy", IMAGES)
    np.save(tmp_path / "labels.npy", np.array(["cat", "dog"])[LABELS])
    assert read_source(tmp_path).classes == ("cat", "dog")
    assert list(read_source(tmp_path / "images.npy").paths)[-1] == "images.npy/11"


def test_channels_may_come_first_and_labels_may_be_one_hot(tmp_path):
    np.savez(tmp_path / "x.npz", X=IMAGES.transpose(0, 3, 1, 2), y=np.eye(2, dtype=int)[LABELS])
    catalog = read_source(tmp_path / "x.npz")
    assert catalog.labels.tolist() == LABELS.tolist()
    assert np.array_equal(pixels_in(catalog, "x.npz/X/07"), IMAGES[7])


def test_two_arrays_without_names_are_images_and_labels_by_their_shapes(tmp_path):
    np.savez(tmp_path / "x.npz", LABELS, IMAGES)
    assert len(read_source(tmp_path / "x.npz")) == 12


def test_class_names_in_the_file_are_used(tmp_path):
    names = np.array(["cat", "dog"])
    np.savez(tmp_path / "x.npz", images=IMAGES, labels=LABELS, class_names=names)
    assert read_source(tmp_path / "x.npz").classes == ("cat", "dog")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": IMAGES / 255, "y": LABELS}, "holds numbers of type float64"),
        ({"x": IMAGES[..., :2], "y": LABELS}, "has 2 values a pixel"),
        ({"x": IMAGES, "y": LABELS[:5]}, "holds 12 images, but x.npz/y holds 5 labels"),
        ({"x": IMAGES}, "holds no array of labels for x.npz/x"),
        ({"x": IMAGES, "y": np.ones((12, 3), int)}, "3 values an image, which are no single class"),
        ({"weights": IMAGES[0, 0]}, "holds no arrays of images"),
    ],
)
def test_arrays_that_cannot_be_used_are_refused_by_name(tmp_path, arrays, message):
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(UserError, match=message):
        read_source(tmp_path / "x.npz")


def test_pickles_in_an_npz_are_refused_and_not_opened(tmp_path):
    np.savez(tmp_path / "x.npz", images=IMAGES, labels=np.array([print] * 12, object))
    with pytest.raises(UserError, match="holds Python pickles, which can run any program"):
        read_source(tmp_path / "x.npz")


@pytest.mark.parametrize("keep", [20, 90, 400])
def test_a_cut_npy_file_is_refused(tmp_path, keep):
    np.save(tmp_path / "images.npy", IMAGES)
    np.save(tmp_path / "labels.npy", LABELS)
    whole = (tmp_path / "images.npy").read_bytes()
    (tmp_path / "images.npy").write_bytes(whole[:keep])
    assert "images.npy of" in read_or_refuse(tmp_path)


# ── HDF5 ──


def test_a_file_for_each_split_is_read(tmp_path):
    for split in ("train", "test"):
        write_h5(tmp_path / f"{split}.h5", images=IMAGES, labels=LABELS)
    catalog = read_source(tmp_path)
    assert set(catalog.given_splits) == {"train", "test"}
    assert np.array_equal(pixels_in(catalog, "train.h5/images/07"), IMAGES[7])


def test_images_and_labels_may_lie_in_two_files_as_pcam_has_them(tmp_path):
    for split in ("train", "valid", "test"):
        write_h5(tmp_path / f"pcam_split_{split}_x.h5", x=IMAGES)
        write_h5(tmp_path / f"pcam_split_{split}_y.h5", y=LABELS.reshape(-1, 1, 1, 1))
    assert len(read_source(tmp_path)) == 36
    assert len(read_source(tmp_path / "pcam_split_valid_x.h5")) == 12
    assert len(read_source(tmp_path / "pcam_split_valid_y.h5")) == 12


def test_labels_may_be_text_and_arrays_may_lie_in_groups(tmp_path):
    write_h5(tmp_path / "x.h5", **{"train/x": IMAGES, "train/y": [b"cat", b"dog"] * 6})
    assert read_source(tmp_path / "x.h5").classes == ("cat", "dog")


def test_what_leads_out_of_a_file_is_not_followed(tmp_path):
    write_h5(tmp_path / "other.hdf", images=IMAGES, labels=LABELS)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["images"] = h5py.ExternalLink("other.hdf", "images")
        file["labels"] = LABELS
    with pytest.raises(UserError, match="holds no arrays of images"):
        read_source(tmp_path / "x.h5")


def test_without_h5py_the_command_that_installs_it_is_named(tmp_path, monkeypatch):
    path = write_h5(tmp_path / "x.h5", images=IMAGES, labels=LABELS)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(UserError, match=r"pip install 'tellapart\[hdf5\]'"):
        read_source(path)


def test_a_damaged_file_is_refused(tmp_path):
    path = write_h5(tmp_path / "x.h5", images=IMAGES, labels=LABELS)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match="is no HDF5 file that can be read"):
        read_source(path)


# ── kinds that are known, but not read ──

UNREAD = {
    "train-00000-of-00002.tfrecord": (b"", "TensorFlow records"),
    "data.mdb": (bytes(16) + b"\xde\xc0\xef\xbe", "an LMDB database"),
    "photos.rar": (b"Rar!\x1a\x07", "archives of another kind"),
    "labels.xlsx": (make_zip({"[Content_Types].xml": b""}), "Excel or other office documents"),
    "digits.mat": (b"MATLAB 5.0 MAT-file", "MATLAB files"),
    "data.pkl": (b"\x80\x04", "Python pickles"),
    "clip.mp4": (b"", "videos"),
}


@pytest.mark.parametrize("name", UNREAD)
def test_a_known_kind_is_named_alone_and_in_a_folder(tmp_path, name):
    content, what = UNREAD[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=f"{name} holds {what}"):
        read_source(tmp_path / name)
    with pytest.raises(UserError, match=rf"holds {what} \(1 file, for example {name}\)"):
        read_source(tmp_path)


@pytest.mark.parametrize("name", ["data.mdb", "photos.rar", "digits.mat", "data.pkl"])
def test_a_known_kind_is_told_by_its_bytes_under_any_name(tmp_path, name):
    content, what = UNREAD[name]
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(UserError, match=f"holds {what}"):
        read_source(tmp_path / "file")


def test_a_pickle_beside_class_folders_is_passed_over(tmp_path):
    for kind in ("cat", "dog"):
        (tmp_path / kind).mkdir()
        (tmp_path / kind / "1.bmp").write_bytes(b"BM")
    (tmp_path / "notes.pkl").write_bytes(b"\x80\x04")
    assert read_source(tmp_path).classes == ("cat", "dog")
