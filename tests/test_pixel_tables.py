"""Tables whose cells are pixels are read as images."""

import numpy as np
import pytest

from helpers.images import pixels_of
from tellapart.errors import UserError
from tellapart.sources.source import read_source

IMAGES = np.random.default_rng(0).integers(0, 256, (12, 8, 8), np.uint8)
PIXELS = [f"pixel{number}" for number in range(64)]


def write_csv(path, rows, header=None):
    lines = [",".join(map(str, row)) for row in rows]
    path.write_text("\n".join(([",".join(header)] if header else []) + lines) + "\n")
    return path


def rows_of(images=IMAGES, labelled=True):
    return [
        [*([number % 2] if labelled else []), *image.reshape(-1)]
        for number, image in enumerate(images)
    ]


def grey(catalog, path):
    return pixels_of(catalog.files.read(path))[..., 0]


def test_a_column_a_pixel_is_an_image_a_row(tmp_path):
    write_csv(tmp_path / "fashion_train.csv", rows_of(), ["label", *PIXELS])
    write_csv(tmp_path / "fashion_test.csv", rows_of(IMAGES[:4]), ["label", *PIXELS])
    catalog = read_source(tmp_path)
    assert list(catalog.given_splits) == ["test"] * 4 + ["train"] * 12
    assert catalog.classes == ("0", "1")
    assert np.array_equal(grey(catalog, "fashion_train.csv/07"), IMAGES[7])


@pytest.mark.parametrize(
    "header", [None, ["label", *(f"{n // 8 + 1}x{n % 8 + 1}" for n in range(64))]]
)
def test_mnists_forms_are_read_with_and_without_a_header(tmp_path, header):
    catalog = read_source(write_csv(tmp_path / "mnist.csv", rows_of(), header))
    assert len(catalog) == 12
    assert np.array_equal(grey(catalog, "mnist.csv/11"), IMAGES[11])


def test_all_pixels_may_lie_in_one_cell_beside_a_column_of_splits(tmp_path):
    usage = ["Training"] * 8 + ["PublicTest"] * 2 + ["PrivateTest"] * 2
    rows = [
        [number % 2, " ".join(map(str, image.reshape(-1))), usage[number]]
        for number, image in enumerate(IMAGES)
    ]
    catalog = read_source(write_csv(tmp_path / "fer.csv", rows, ["emotion", "pixels", "Usage"]))
    assert list(catalog.given_splits) == ["train"] * 8 + ["val"] * 2 + ["test"] * 2
    assert np.array_equal(grey(catalog, "fer.csv/03"), IMAGES[3])


def test_a_test_set_without_labels_is_left_out_and_counted(tmp_path):
    write_csv(tmp_path / "train.csv", rows_of(), ["label", *PIXELS])
    write_csv(tmp_path / "test.csv", rows_of(labelled=False), PIXELS)
    catalog = read_source(tmp_path)
    assert (len(catalog), catalog.ignored) == (12, {"images without a label in test": 12})


def test_cells_that_are_no_grey_values_are_refused(tmp_path):
    rows = rows_of()
    rows[5][9] = 256
    with pytest.raises(UserError, match="not only whole numbers from 0 to 255"):
        read_source(write_csv(tmp_path / "x.csv", rows, ["label", *PIXELS]))


def test_a_table_of_few_numbers_is_no_table_of_pixels(tmp_path):
    path = write_csv(tmp_path / "x.csv", [[1, 2, 3]], ["label", "x1", "x2"])
    with pytest.raises(UserError, match="no column for path"):
        read_source(path)
