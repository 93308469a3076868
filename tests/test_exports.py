"""Exports of annotation tools are recognised: labels of images are read, boxes are explained, and
with --crops each box is an image.
"""

import numpy as np
import pytest
from PIL import Image

from helpers import odd_images as odd
from helpers.archives import make_zip
from helpers.exports import (
    BOXES,
    HEIGHT,
    WIDTH,
    coco,
    cut,
    label_studio,
    labelme,
    photograph,
    voc,
    write_json,
    write_photographs,
    write_voc,
    write_yolo,
)
from helpers.images import pixels_of
from tellapart.catalog.files import Folder
from tellapart.catalog.scan import scan
from tellapart.decoders.rules import DecodeRules
from tellapart.decoding import decode
from tellapart.errors import UserError
from tellapart.pipeline.data import reading_of
from tellapart.recipe import Recipe
from tellapart.recipe_files import load_recipe
from tellapart.sources.exports import export as exports
from tellapart.sources.exports.annotations import Box
from tellapart.sources.exports.crops import Crop, CropFiles
from tellapart.sources.exports.voc import parse_safely
from tellapart.sources.reading import Reading
from tellapart.sources.source import read_source

CROPS = Reading(crops=True)


def write_coco(folder):
    write_photographs(folder / "images")
    write_json(folder / "annotations.json", coco())
    return folder


def write_label_studio(folder):
    write_photographs(folder)
    write_json(folder / "project.json", label_studio())
    return folder


def write_labelme(folder):
    write_photographs(folder)
    for name in BOXES:
        write_json((folder / name).with_suffix(".json"), labelme(name))
    return folder


def write_box_table(folder):
    write_photographs(folder)
    rows = [
        f"{name},{WIDTH},{HEIGHT},{label},{','.join(map(str, sides))}"
        for name, boxes in BOXES.items()
        for label, sides in boxes
    ]
    header = "filename,width,height,class,xmin,ymin,xmax,ymax"
    (folder / "_annotations.csv").write_text("\n".join([header, *rows]))
    return folder


TOOLS = {
    "a table of boxes": write_box_table,
    "a COCO export": write_coco,
    "a YOLO detection set": write_yolo,
    "Pascal VOC annotations": write_voc,
    "a Label Studio export": write_label_studio,
    "LabelMe annotations": write_labelme,
}


@pytest.mark.parametrize("kind", TOOLS)
def test_a_set_of_boxes_is_refused_with_what_it_is_and_the_way_out(tmp_path, kind):
    folder = TOOLS[kind](tmp_path / "set")
    with pytest.raises(UserError) as caught:
        read_source(folder)
    assert f"holds {kind}: 3 boxes of 2 classes ('cat', 'dog') on 2 images" in caught.value.message
    assert f"tellapart train {folder} --crops" in caught.value.hint


@pytest.mark.parametrize("kind", TOOLS)
def test_with_crops_each_box_is_an_image_of_exactly_its_pixels(tmp_path, kind):
    catalog = scan(read_source(TOOLS[kind](tmp_path / "set"), CROPS))
    assert catalog.status_counts == {"ok": 3}
    assert [path.rpartition("/")[2] for path in catalog.paths] == ["a.png#0", "a.png#1", "b.png#0"]
    assert [catalog.classes[label] for label in catalog.labels] == ["cat", "dog", "dog"]
    found = [pixels_of(catalog.files.read(path)) for path in catalog.paths]
    drawn = [cut(name, sides) for name, boxes in BOXES.items() for _, sides in boxes]
    assert all(np.array_equal(*pair) for pair in zip(found, drawn, strict=True))


@pytest.mark.parametrize("kind", TOOLS)
def test_the_boxes_of_one_photograph_are_a_group(tmp_path, kind):
    groups = read_source(TOOLS[kind](tmp_path / "set"), CROPS).groups
    assert groups[0] == groups[1] != groups[2]


def test_splits_of_an_export_are_kept(tmp_path):
    for split in ("train", "valid"):
        write_yolo(tmp_path, split)
    catalog = read_source(tmp_path, CROPS)
    assert list(catalog.given_splits) == ["train"] * 3 + ["test"] * 3


def test_coco_files_name_their_splits_as_coco_itself_does(tmp_path):
    for split in ("train", "val"):
        write_photographs(tmp_path / f"{split}2017")
        write_json(tmp_path / "annotations" / f"instances_{split}2017.json", coco())
    catalog = read_source(tmp_path, CROPS)
    assert catalog.paths[0] == "train2017/a.png#0"
    assert list(catalog.given_splits) == ["train"] * 3 + ["test"] * 3


def test_vocs_lists_name_the_splits(tmp_path):
    write_voc(tmp_path)
    lists = tmp_path / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("a\n")
    (lists / "val.txt").write_text("b\n")
    assert list(read_source(tmp_path, CROPS).given_splits) == ["train", "train", "test"]


def test_an_export_in_an_archive_is_read_too(tmp_path):
    folder = write_coco(tmp_path / "set")
    members = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
    (tmp_path / "set.zip").write_bytes(make_zip(members))
    assert len(read_source(tmp_path / "set.zip", CROPS)) == 3


def test_the_command_for_crops_can_be_pasted_where_the_folder_has_a_space(tmp_path):
    folder = write_coco(tmp_path / "my photos")
    with pytest.raises(UserError) as caught:
        read_source(folder)
    assert f"tellapart train '{folder}' --crops" in caught.value.hint


def test_crops_without_any_boxes_are_refused(tmp_path):
    for label, name in (("x", "a.png"), ("y", "b.png")):
        write_photographs(tmp_path / label, [name])
    with pytest.raises(UserError, match="holds no boxes that --crops could cut out"):
        read_source(tmp_path, CROPS)


def test_with_crops_boxes_win_over_class_folders(tmp_path):
    for label, name in (("x", "a.png"), ("y", "b.png")):
        write_photographs(tmp_path / label, [name])
        (tmp_path / label / name).with_suffix(".xml").write_text(voc(name))
    assert read_source(tmp_path, CROPS).classes == ("cat", "dog")


def test_open_images_tables_are_in_shares_and_name_images_without_their_ending(tmp_path):
    write_photographs(tmp_path / "train")
    header = "ImageID,LabelName,Confidence,XMin,XMax,YMin,YMax"
    rows = ["a,cat,1,0.1,0.5,0.2,0.8", "b,dog,1,0,1,0,1"]
    (tmp_path / "boxes.csv").write_text("\n".join([header, *rows]))
    catalog = read_source(tmp_path / "boxes.csv", CROPS)
    assert np.array_equal(
        pixels_of(catalog.files.read("train/a.png#0")), photograph("a.png")[6:24, 4:20]
    )


# ── labels of whole images ──


def test_cocos_annotations_without_boxes_are_labels_of_images(tmp_path):
    write_photographs(tmp_path)
    content = coco()
    content["annotations"] = [
        {"id": 1, "image_id": number, "category_id": number + 1} for number in (0, 1)
    ]
    write_json(tmp_path / "labels.json", content)
    catalog = read_source(tmp_path)
    assert list(catalog.paths) == ["a.png", "b.png"]
    assert catalog.classes == ("cat", "dog")


@pytest.mark.parametrize("short", [False, True])
def test_label_studios_choices_are_labels_of_images(tmp_path, short):
    write_photographs(tmp_path)
    tasks = {"a.png": "cat", "b.png": "dog"}
    long = [
        {
            "data": {"image": f"/data/local-files/?d=photos/{name}"},
            "annotations": [
                {"was_cancelled": True, "result": []},
                {"result": [{"type": "choices", "value": {"choices": [label]}}]},
            ],
        }
        for name, label in tasks.items()
    ]
    brief = [{"image": name, "choice": label, "annotation_id": 1} for name, label in tasks.items()]
    path = write_json(tmp_path / "project.json", brief if short else long)
    assert read_source(tmp_path).classes == ("cat", "dog")
    assert list(read_source(path).labels) == [0, 1]


def test_images_that_the_export_names_and_are_not_there_are_told(tmp_path):
    folder = write_coco(tmp_path)
    (folder / "images" / "b.png").unlink()
    remarks = read_source(folder, CROPS).remarks
    assert any(
        "1 image that the export names are not there, for example 'b.png'" in text
        for text in remarks
    )


def test_an_export_without_its_images_is_refused_by_name(tmp_path):
    path = write_json(tmp_path / "project.json", label_studio())
    with pytest.raises(UserError, match=r"2 images that it names are not there"):
        read_source(path)


def test_class_folders_win_over_boxes_beside_them(tmp_path):
    for label, name in (("x", "a.png"), ("y", "b.png")):
        write_photographs(tmp_path / label, [name])
        (tmp_path / label / name).with_suffix(".xml").write_text(voc(name))
    assert read_source(tmp_path).classes == ("x", "y")


def test_companions_of_photographs_are_not_taken_for_exports(tmp_path, monkeypatch):
    monkeypatch.setattr(exports, "MANY_JSON", 1)
    monkeypatch.setattr(exports, "SAMPLE", 1)
    folder = write_coco(tmp_path)
    for number in range(4):
        write_json(tmp_path / "images" / "deep" / f"{number}.json", {"title": "a.png"})
    assert len(read_source(folder, CROPS)) == 3


# ── boxes as they come ──


def test_what_is_no_box_is_counted(tmp_path):
    write_photographs(tmp_path)
    content = coco()
    for number, sides in enumerate([[0, 0, 0, 5], [1, 2], ["x", 0, 5, 5], [0, 0, 1e99, 5], None]):
        odd = {"id": 90 + number, "image_id": 0, "category_id": 1, "bbox": sides}
        content["annotations"].append(odd)
    content["annotations"].append({**content["annotations"][0], "iscrowd": 1})
    write_json(tmp_path / "x.json", content)
    catalog = read_source(tmp_path, CROPS)
    assert len(catalog) == 3
    assert catalog.ignored["annotations that are no boxes of one class"] == 5


def test_the_sides_of_a_box_may_be_numbers_in_quotes(tmp_path):
    write_photographs(tmp_path)
    content = coco()
    content["annotations"][0]["bbox"] = ["2", "3", "10", "10"]
    write_json(tmp_path / "x.json", content)
    files = read_source(tmp_path, CROPS).files
    assert np.array_equal(pixels_of(files.read("a.png#0")), cut("a.png", (2, 3, 12, 13)))


def test_boxes_are_cut_at_the_edge_and_tiny_ones_left_out(tmp_path):
    write_photographs(tmp_path)
    boxes = {"a.png": [("cat", (-9, -9, 10, 8)), ("dog", (38, 0, 99, 20)), ("dog", (0, 0, 9, 9))]}
    write_json(tmp_path / "x.json", coco({**boxes, "b.png": [("cat", (0, 0, 9, 9))]}))
    catalog = read_source(tmp_path, CROPS)
    assert np.array_equal(pixels_of(catalog.files.read("a.png#0")), cut("a.png", (0, 0, 10, 8)))
    assert catalog.ignored == {"boxes with less than 4 pixels a side on their image": 1}


def turned_set(folder, size):
    """A photograph that EXIF turns by a quarter, with one box of its upper left corner."""
    folder.mkdir()
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(photograph("a.png")).save(folder / "a.png", exif=exif)
    content = coco({"a.png": [("cat", (0, 0, 10, 20))]})
    content["images"][0] |= dict(zip(("width", "height"), size, strict=True))
    write_json(folder / "x.json", content)
    content["categories"] = content["categories"][:1]
    return read_source(folder, CROPS).files


def test_boxes_are_of_the_upright_image_or_of_the_stored_one_where_its_size_is_stated(tmp_path):
    upright = np.rot90(photograph("a.png"), -1)
    of_upright = turned_set(tmp_path / "upright", (HEIGHT, WIDTH)).read("a.png#0")
    of_stored = turned_set(tmp_path / "stored", (WIDTH, HEIGHT)).read("a.png#0")
    assert np.array_equal(pixels_of(of_upright), upright[:20, :10])
    assert np.array_equal(pixels_of(of_stored), np.rot90(photograph("a.png")[:20, :10], -1))


def test_boxes_drawn_on_a_larger_copy_are_scaled_and_those_of_another_shape_refused(tmp_path):
    write_photographs(tmp_path)
    content = coco()
    for entry, size in zip(content["images"], [(2 * WIDTH, 2 * HEIGHT), (70, 70)], strict=True):
        entry["width"], entry["height"] = size
    write_json(tmp_path / "x.json", content)
    files = read_source(tmp_path, CROPS).files
    assert np.array_equal(pixels_of(files.read("a.png#1")), photograph("a.png")[2:13, 10:18])
    assert files.read("b.png#0").status == "corrupt"


def test_boxes_are_cut_by_the_rules_of_the_decode_contract(tmp_path):
    write_photographs(tmp_path)
    (tmp_path / "a.png").write_bytes(odd.in_wide_colours(photograph("a.png")))
    write_json(tmp_path / "x.json", coco())
    ignoring = Reading(crops=True, rules=DecodeRules(colour="ignore"))
    assert np.array_equal(
        pixels_of(read_source(tmp_path, ignoring).files.read("a.png#0")),
        decode((tmp_path / "a.png").read_bytes(), rules=ignoring.rules).pixels[3:13, 2:12],
    )
    converted = decode((tmp_path / "a.png").read_bytes()).pixels[3:13, 2:12]
    assert np.array_equal(pixels_of(read_source(tmp_path, CROPS).files.read("a.png#0")), converted)


def test_a_recipe_says_by_which_rules_boxes_are_cut():
    recipe = load_recipe(Recipe(), {"decoding.colour": "ignore", "decoding.max_pixels": 5000})
    rules = reading_of(recipe).rules
    assert (rules.colour, rules.max_pixels) == ("ignore", 5000)


def test_boxes_without_a_size_fit_a_jpeg_that_is_decoded_at_a_reduced_scale(tmp_path):
    pixels = np.zeros((64, 96, 3), np.uint8)
    pixels[16:48, 32:64] = 255
    Image.fromarray(pixels).save(tmp_path / "a.jpg", quality=95)
    crop = Crop("a.jpg", Box("cat", 32, 16, 64, 48), None)
    files = CropFiles(Folder(tmp_path), {"a.jpg#0": crop}, DecodeRules(max_pixels=2000))
    found = pixels_of(files.read("a.jpg#0"))
    assert found.shape == (16, 16, 3)
    assert found.min() > 200


def test_the_boxes_of_a_broken_image_get_its_verdict(tmp_path):
    folder = write_coco(tmp_path)
    (folder / "images" / "a.png").write_bytes(b"%PDF-1.7")
    catalog = scan(read_source(folder, CROPS))
    assert catalog.statuses.tolist() == ["not_an_image", "not_an_image", "ok"]


def test_another_box_has_another_stamp(tmp_path):
    before = read_source(write_coco(tmp_path), CROPS).files.stamp("images/b.png#0")
    write_json(tmp_path / "annotations.json", coco({**BOXES, "b.png": [("dog", (1, 1, 9, 20))]}))
    assert read_source(tmp_path, CROPS).files.stamp("images/b.png#0") != before


# ── nothing of it does harm ──

BOMB = '<!DOCTYPE x [<!ENTITY a "aaaaaaaa"><!ENTITY b "&a;&a;">]>'


@pytest.mark.parametrize("before", [BOMB, '<!DOCTYPE x SYSTEM "file:///etc/passwd">'])
def test_xml_with_a_document_type_is_not_read(before):
    assert parse_safely(voc("a.png", before).encode()) is None
    assert parse_safely(voc("a.png").encode()) is not None


@pytest.mark.parametrize(
    "content",
    [
        {"images": 1, "annotations": [], "categories": []},
        {"images": [1], "annotations": [{"bbox": {}}], "categories": [{}]},
        {"images": [{"file_name": 7}], "annotations": [{"image_id": []}], "categories": []},
        [{"data": {"image": 5}, "annotations": [{"result": [{"value": {"width": "x"}}]}]}],
        [{"data": {}, "annotations": 3}, 4],
        {"shapes": [{"points": [[1]]}, 3], "imagePath": None},
        {"version": [], "shapes": 3, "imagePath": "a.png", "flags": []},
        {
            "images": [{"id": [1], "file_name": "a.png"}],
            "annotations": [],
            "categories": [{"id": []}],
        },
        [{"data": {"image": "http://[a.png"}, "annotations": []}],
    ],
)
def test_json_of_any_content_gives_an_error_of_one_line(tmp_path, content):
    write_photographs(tmp_path)
    write_json(tmp_path / "x.json", content)
    with pytest.raises(UserError):
        read_source(tmp_path, CROPS)


def test_a_yaml_file_runs_nothing(tmp_path):
    write_yolo(tmp_path)
    canary = tmp_path / "canary"
    (tmp_path / "data.yaml").write_text(f"names: !!python/object/apply:os.mkdir [{canary}]\n")
    assert read_source(tmp_path, CROPS).classes == ("0", "1")
    assert not canary.exists()


@pytest.mark.parametrize(
    "text",
    [
        "names: {2000000000: cat}\n",
        "a: &a [x, x]\nb: &b [*a, *a]\nnames: [*b, cat]\n",
    ],
)
def test_a_yaml_file_fills_no_memory(tmp_path, text):
    write_yolo(tmp_path)
    (tmp_path / "data.yaml").write_text(text)
    assert read_source(tmp_path, CROPS).classes == ("0", "1")


def test_a_circle_of_endless_size_is_no_box(tmp_path):
    write_labelme(tmp_path)
    content = labelme("a.png")
    endless = {"label": "cat", "points": [[10**400, 1], [2, 2]], "shape_type": "circle"}
    content["shapes"].append(endless)
    write_json(tmp_path / "a.json", content)
    catalog = read_source(tmp_path, CROPS)
    assert len(catalog) == 3
    assert catalog.ignored["annotations that are no boxes of one class"] == 1
