"""IDX files and CIFAR's binary files: each record becomes a BMP file with exactly the stored
pixels.
"""

import gzip
import struct
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.archives import make_archive, read_or_refuse
from tellapart.catalog import files
from tellapart.catalog.scan import scan
from tellapart.catalog.splits import make_splits
from tellapart.decoders.rules import DecodeRules
from tellapart.decoding import decode
from tellapart.errors import UserError
from tellapart.options import SplitOptions
from tellapart.sources.containers import arrays
from tellapart.sources.containers.arrays import to_bmp
from tellapart.sources.source import read_source

RNG = np.random.default_rng(0)


def idx(array):
    """An array of bytes as an IDX file."""
    return (
        struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
        + array.astype(np.uint8).tobytes()
    )


def pixels(*shape):
    return RNG.integers(0, 256, shape, np.uint8)


GREY = pixels(30, 9, 7)
TEN = np.arange(30) % 3


def idx_files(images=GREY, labels=TEN, part="train-"):
    return {
        f"{part}images-idx3-ubyte": idx(images),
        f"{part}labels-idx1-ubyte": idx(np.asarray(labels)),
    }


def cifar(labels, *, fine=False):
    """Records as CIFAR has them, and their pixels (N, 32, 32, 3)."""
    stored = pixels(len(labels), 32, 32, 3)
    heads = [bytes([label // 5, label]) if fine else bytes([label]) for label in labels]
    rows = zip(heads, stored, strict=True)
    return b"".join(head + image.transpose(2, 0, 1).tobytes() for head, image in rows), stored


@pytest.fixture
def folder(tmp_path):
    """A function that writes files from their names and contents; returns the folder."""

    def write(*groups):
        for name, data in {name: data for group in groups for name, data in group.items()}.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_bytes(data)
        return tmp_path

    return write


def read_pixels(catalog):
    """(N, H, W, 3) of all rows, as the decode contract sees them."""
    return np.stack([decode(catalog.files.read(path)).pixels for path in catalog.paths])


# ── one record, one BMP file ──


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (9, 1), (28, 28), (5, 6), (3, 31)])
def test_a_bmp_has_exactly_the_pixels(size, channels):
    stored = pixels(*size, channels)
    decoded = decode(to_bmp(stored), name="00017")
    notes = () if max(size) > 1 else ("low_contrast",)
    assert (decoded.status, decoded.notes, decoded.format) == ("ok", notes, "BMP")
    assert np.array_equal(decoded.pixels, np.broadcast_to(stored, (*size, 3)))


def test_a_bmp_is_a_whole_file_of_its_length():
    data = to_bmp(pixels(5, 6, 3))
    assert struct.unpack_from("<I", data, 2)[0] == len(data)


# ── IDX ──


@pytest.mark.parametrize("packed", [False, True])
def test_an_idx_folder_has_its_images_labels_and_splits(folder, packed):
    contents = idx_files() | idx_files(pixels(12, 9, 7), TEN[:12], "t10k-")
    if packed:
        contents = {f"{name}.gz": gzip.compress(data) for name, data in contents.items()}
    catalog = read_source(folder(contents))
    rule = "test is the test set, any val is cut from train"
    assert catalog.source == f"IDX arrays: train 30, test 12; {rule}"
    assert catalog.classes == ("0", "1", "2")
    train = catalog.rows(catalog.given_splits == "train")
    assert train.paths[17] == f"train-images-idx3-ubyte{'.gz' * packed}/17"
    assert train.labels.tolist() == TEN.tolist()
    assert np.array_equal(read_pixels(train)[..., 0], GREY)


def test_colour_images_of_four_dimensions_are_read(folder):
    stored = pixels(30, 5, 6, 3)
    catalog = read_source(folder(idx_files(stored)))
    assert np.array_equal(read_pixels(catalog), stored)


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        ("train-images.idx3-ubyte", "train-labels.idx1-ubyte"),
        ("emnist-letters-train-images-idx3-ubyte", "emnist-letters-train-labels-idx1-ubyte"),
        ("images-idx3-ubyte", "labels-idx1-ubyte"),
    ],
)
def test_other_spellings_of_the_names_are_known(folder, images, labels):
    catalog = read_source(folder({images: idx(GREY), labels: idx(TEN)}))
    assert catalog.source == "IDX arrays: 30 images; val and test are cut from them"
    assert set(catalog.given_splits) == {""}


def test_one_file_of_images_is_read_with_the_labels_beside_it(folder):
    root = folder(idx_files(), idx_files(part="t10k-"))
    catalog = read_source(root / "t10k-images-idx3-ubyte")
    assert {path.split("/")[0] for path in catalog.paths} == {"t10k-images-idx3-ubyte"}
    assert "val and test are cut from them" in catalog.source


def test_train_val_and_test_are_each_what_their_names_say(folder):
    catalog = read_source(folder(idx_files(), idx_files(part="val-"), idx_files(part="test-")))
    assert set(catalog.given_splits) == {"train", "val", "test"}
    assert catalog.source.endswith("each is what its name says")


def test_of_a_file_that_is_there_packed_and_unpacked_one_is_used(folder):
    packed = {f"{name}.gz": gzip.compress(data) for name, data in idx_files().items()}
    catalog = read_source(folder(idx_files(), packed))
    assert {path.split("/")[0] for path in catalog.paths} == {"train-images-idx3-ubyte"}
    assert catalog.ignored == {"files beside the arrays": 2}


@pytest.mark.parametrize("name", ["classes.txt", "labels.txt"])
def test_class_names_may_lie_beside(folder, name):
    catalog = read_source(folder(idx_files(), {name: "shirt\nshoe\nbag é\n".encode()}))
    assert catalog.classes == ("shirt", "shoe", "bag é")


def test_classes_without_names_are_in_the_order_of_their_numbers(folder):
    catalog = read_source(folder(idx_files(labels=np.arange(30))))
    assert catalog.classes == tuple(str(number) for number in range(30))
    assert catalog.labels.tolist() == list(range(30))


def bad(**changes):
    return idx_files() | changes


BROKEN = {
    "no labels": (
        {"train-images-idx3-ubyte": idx(GREY)},
        "but not its labels. Put train-labels-idx1-ubyte beside it",
    ),
    "too few labels": (idx_files(labels=TEN[:20]), "holds 30 images, but .* holds 20 labels"),
    "cut": (
        bad(**{"train-images-idx3-ubyte": idx(GREY)[:-1]}),
        "is cut short: 1,905 bytes, where its header means",
    ),
    "cut header": (bad(**{"train-images-idx3-ubyte": idx(GREY)[:9]}), "is cut short"),
    "too long": (bad(**{"train-images-idx3-ubyte": idx(GREY) + b"x"}), "is longer than it says"),
    "wrong magic": (
        bad(**{"train-images-idx3-ubyte": b"<html>" + bytes(99)}),
        "is no IDX file, whatever its name says",
    ),
    "empty": (bad(**{"train-images-idx3-ubyte": b""}), "is no IDX file"),
    "float": (bad(**{"train-images-idx3-ubyte": b"\0\0\x0d\3" + idx(GREY)[4:]}), "not of 8 bits"),
    "labels as images": (
        bad(**{"train-images-idx3-ubyte": idx(TEN)}),
        "has 1 dimensions, which images do not have",
    ),
    "images as labels": (
        bad(**{"train-labels-idx1-ubyte": idx(GREY)}),
        "has 3 dimensions, which labels do not",
    ),
    "two values a pixel": (idx_files(pixels(30, 2, 2, 2)), "has 2 values a pixel"),
    "no images": (idx_files(GREY[:0], TEN[:0]), "holds no images"),
    "no pixels": (idx_files(GREY[:, :0]), "holds no images"),
    "a huge count": (
        bad(**{"train-images-idx3-ubyte": struct.pack(">4I", 0x803, 2**31, 28, 28) + bytes(99)}),
        "beyond the limits",
    ),
    "cut gzip": (
        {f"{name}.gz": gzip.compress(data)[:-9] for name, data in idx_files().items()},
        "is cut short. Copy or download it again",
    ),
    "too few names": (
        bad(**{"classes.txt": b"a\nb\n"}),
        "has 2 class names, but images with label 2, counted from 0",
    ),
    "a name twice": (bad(**{"classes.txt": b"a\nb\na\n"}), "names 'a' twice"),
    "several sets": (
        idx_files(part="letters-") | idx_files(part="digits-"),
        "several sets of arrays: 'digits', 'letters'",
    ),
    "two train sets": (
        idx_files(part="a-train-") | idx_files(part="b-train-"),
        "several sets of arrays",
    ),
    "pickled CIFAR": (
        {"data_batch_1": b"\x80\x02x", "batches.meta": b"\x80\x02x"},
        "CIFAR as Python pickles.*binary",
    ),
    "pickled CIFAR-100": (
        {"train": b"\x80\x02x", "test": b"\x80\x02x", "meta": b"\x80\x02x"},
        "as Python pickles",
    ),
    "pickled CIFAR within": (
        {"cifar-10-batches-py/data_batch_1": b"\x80\x02x"},
        "ython pickles.*cifar-10-binary",
    ),
    "CIFAR cut": (
        {"data_batch_1.bin": bytes(3073 * 2 - 1)},
        "is cut short: its 6,145 bytes are not records of 3,073",
    ),
    "CIFAR empty": ({"data_batch_1.bin": b""}, "is cut short"),
    "CIFAR with odd labels": (
        {"data_batch_1.bin": b"\x0a" * 3073},
        "labels that CIFAR does not have",
    ),
    "CIFAR without train": ({"test_batch.bin": bytes(3073)}, "nothing to train on"),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("what", BROKEN)
def test_arrays_that_cannot_be_used_are_refused_with_what_to_do(folder, tmp_path, what, packed):
    contents, words = BROKEN[what]
    source = folder(contents)
    if packed:
        (source := tmp_path.with_suffix(".zip")).write_bytes(
            make_archive("zip", {f"x/{n}": d for n, d in contents.items()})
        )
    with pytest.raises(UserError, match=words) as refused:
        read_source(source)
    assert refused.value.hint
    assert "\n" not in str(refused.value)


def test_an_idx_file_of_labels_is_refused_with_what_to_give(folder):
    with pytest.raises(UserError, match=r"its name is not that of a file of images\. Name it like"):
        read_source(folder(idx_files()) / "train-labels-idx1-ubyte")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("x.npy", "Python pickles"),
        ("x.npz", "Python pickles"),
        ("x.h5", "Python pickles"),
        ("x.tfrecord", "TensorFlow records"),
        ("x.pkl", "Python pickles"),
        ("x.pickle", "Python pickles"),
        ("x.pt", "Python pickles"),
        ("data_batch_1", "holds Python pickles, which can run any program when they are opened"),
        ("x.7z", "Unpack it and give the folder"),
    ],
)
def test_files_of_other_kinds_are_refused_by_name_or_first_bytes_with_the_way_out(
    folder, name, words
):
    with pytest.raises(UserError, match=words):
        read_source(folder({name: b"\x80\x04\x95" + bytes(20)}) / name)


# ── CIFAR ──


def test_cifar_10_is_read_with_names_and_splits(folder):
    first, stored = cifar([0, 1, 9])
    second, _ = cifar([1, 1])
    test, _ = cifar([9, 0])
    names = "\n".join(f"name{number}" for number in range(10)).encode()
    parts = {
        "data_batch_1.bin": first,
        "data_batch_2.bin": second,
        "test_batch.bin": test,
        "batches.meta.txt": names,
    }
    catalog = read_source(folder(parts, {"readme.html": b""}))
    assert (
        catalog.source
        == "CIFAR-10 binary files: train 5, test 2; test is the test set, any val is cut from train"
    )
    assert catalog.classes == ("name0", "name1", "name9")
    assert list(catalog.paths[:4]) == [f"data_batch_1.bin/{number}" for number in range(3)] + [
        "data_batch_2.bin/0"
    ]
    assert catalog.labels.tolist() == [0, 1, 2, 1, 1, 2, 0]
    assert np.array_equal(read_pixels(catalog)[:3], stored)


@pytest.mark.parametrize("named", [True, False])
def test_cifar_100_is_read_with_its_fine_labels(folder, named):
    data, stored = cifar([0, 42, 99], fine=True)
    names = (
        {"fine_label_names.txt": "\n".join(f"n{i}" for i in range(100)).encode()} if named else {}
    )
    catalog = read_source(folder({"train.bin": data, "test.bin": data}, names))
    assert catalog.classes == (("n0", "n42", "n99") if named else ("0", "42", "99"))
    assert "CIFAR-100 binary files with their fine labels: train 3, test 3" in catalog.source
    assert np.array_equal(read_pixels(catalog)[:3], stored)


def test_a_model_called_train_bin_beside_class_folders_is_no_cifar(folder):
    assert read_source(folder({"cat/1.jpg": b"", "dog/1.jpg": b"", "train.bin": b"x"})).classes == (
        "cat",
        "dog",
    )


# ── in archives ──


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_cifar_is_read_from_an_archive_as_downloaded(folder, kind):
    data, stored = cifar([0, 1, 9])
    members = {
        "cifar-10-batches-bin/data_batch_1.bin": data,
        "cifar-10-batches-bin/test_batch.bin": data,
    }
    catalog = read_source(folder({"x": make_archive(kind, members)}) / "x")
    assert catalog.source.startswith(
        f"a {kind} archive (in cifar-10-batches-bin/) of CIFAR-10 binary files: train 3"
    )
    assert np.array_equal(read_pixels(catalog), np.concatenate([stored, stored]))


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_packed_idx_files_are_read_from_an_archive(folder, kind):
    members = {f"raw/{name}.gz": gzip.compress(data) for name, data in idx_files().items()}
    catalog = read_source(folder({"x": make_archive(kind, members)}) / "x")
    assert np.array_equal(read_pixels(catalog)[..., 0], GREY)


# ── as files ──


def test_the_records_are_scanned_and_divided_like_images(folder):
    catalog = scan(
        read_source(folder(idx_files(), idx_files(pixels(12, 9, 7), TEN[:12], "t10k-"))),
        rules=DecodeRules(max_pixels=10**6),
    )
    assert catalog.status_counts == {"ok": 42}
    assert set(catalog.notes) == {""}
    assert (make_splits(catalog, SplitOptions(), 0) == "test").sum() == 12


@pytest.mark.parametrize(
    "path",
    [
        "train-images-idx3-ubyte",
        "train-images-idx3-ubyte/30",
        "train-images-idx3-ubyte/-1",
        "x/0",
        "",
        "/",
    ],
)
def test_a_record_that_is_not_there_is_missing(folder, path):
    catalog = read_source(folder(idx_files()))
    assert catalog.files.read(path).status == "missing"


def test_a_file_that_becomes_shorter_is_truncated(folder):
    root = folder(idx_files())
    catalog = read_source(root)
    (root / "train-images-idx3-ubyte").write_bytes(b"")
    assert catalog.files.read(catalog.paths[0]).status == "truncated"


def test_the_stamp_is_that_of_the_file_of_images(folder):
    root = folder(idx_files())
    catalog = read_source(root)
    assert catalog.files.stamp(catalog.paths[3]) == files.file_stamp(
        str(root / "train-images-idx3-ubyte")
    )
    assert catalog.files.place == str(root)
    assert catalog.files.stamp("x/0") == ("", 0.0)


def test_more_records_than_the_limit_are_refused(folder, monkeypatch):
    monkeypatch.setattr(arrays, "MAX_RECORDS", 29)
    with pytest.raises(UserError, match="At most 29 of"):
        read_source(folder(idx_files()))


def test_twenty_thousand_records_are_read_in_seconds(folder):
    catalog = read_source(
        folder(idx_files(np.zeros((20_000, 28, 28), np.uint8), np.arange(20_000) % 10))
    )
    begun = time.monotonic()
    assert len({len(catalog.files.read(path)) for path in catalog.paths}) == 1
    assert time.monotonic() - begun < 10


SAMPLES = [
    idx_files(),
    {f"{name}.gz": gzip.compress(data) for name, data in idx_files().items()},
    {"data_batch_1.bin": cifar([1, 2])[0], "test_batch.bin": cifar([1])[0]},
]


@pytest.mark.parametrize("sample", SAMPLES, ids=["idx", "gz", "cifar"])
@given(data=st.data())
def test_flipped_and_cut_arrays_never_raise_anything_but_a_user_error(sample, data):
    with tempfile.TemporaryDirectory() as name:
        for file, content in sample.items():
            changed = bytearray(content)
            for at in data.draw(st.lists(st.integers(0, min(len(changed), 40) - 1), max_size=4)):
                changed[at] = data.draw(st.integers(0, 255))
            Path(name, file).write_bytes(
                changed[: data.draw(st.integers(0, len(changed)) | st.just(len(changed)))]
            )
        assert "\n" not in read_or_refuse(Path(name))
