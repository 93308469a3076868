"""Tables with a row for each box: its image, its sides and its class.

filename,width,height,class,xmin,ymin,xmax,ymax     as TensorFlow's tools and Roboflow write them
ImageID,LabelName,XMin,XMax,YMin,YMax               Open Images, in shares of the image
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence

from tellapart.catalog.files import Tree
from tellapart.errors import UserError
from tellapart.sources.exports.annotations import (
    SHARES,
    Annotated,
    Box,
    Export,
    Images,
    box,
    number,
    size_of,
    split_of_folders,
)
from tellapart.sources.tables.column_names import (
    LABEL_NAMES,
    PATH_NAMES,
    WEAK_LABEL_NAMES,
    WEAK_PATH_NAMES,
    plain,
)
from tellapart.sources.tables.sheets import Sheet, read_sheet

_HEAD_BYTES = 2**12
_MOST_BYTES = 2**28
_SIDES = (
    ("xmin", "x1", "left"),
    ("ymin", "y1", "top"),
    ("xmax", "x2", "right"),
    ("ymax", "y2", "bottom"),
)


def is_box_table(tree: Tree, path: str) -> bool:
    """Whether the first line of a CSV names the four sides of a box."""
    if not path.lower().endswith(".csv"):
        return False
    try:
        head = tree.open(path).read(0, _HEAD_BYTES)
    except OSError:
        return False
    line = head.decode("utf-8-sig", "replace").partition("\n")[0].lower()
    return all(any(name in line for name in names) for names in _SIDES)


def read_box_tables(tree: Tree, files: Sequence[str], images: Images) -> Export | None:
    """The tables of boxes among some files. None means that there are none.

    Args:
        tree: where they are.
        files: the paths of all its files.
        images: all images of the tree.
    """
    annotated: list[Annotated] = []
    missing: list[str] = []
    odd = 0
    for path in files:
        if not is_box_table(tree, path) or tree.open(path).size > _MOST_BYTES:
            continue
        try:
            sheet = read_sheet(tree, path, path)
        except UserError:
            continue
        columns = _columns(sheet)
        if columns is None:
            continue
        there, gone, unusable = _images_of(sheet, columns, path, images)
        annotated += there
        missing += gone
        odd += unusable
    return Export("a table of boxes", annotated, missing, odd) if annotated or missing else None


def _columns(sheet: Sheet) -> list[str] | None:
    """The columns of path, label and the four sides, or None where one of them is missing."""
    wanted: list[tuple[Collection[str], Collection[str]]] = [
        (PATH_NAMES, WEAK_PATH_NAMES),
        (LABEL_NAMES, WEAK_LABEL_NAMES),
        *((names, ()) for names in _SIDES),
    ]
    found = []
    for names, weak in wanted:
        strong = [name for name in sheet.names if plain(name) in names]
        usual = strong or [name for name in sheet.names if plain(name) in weak]
        if not usual:
            return None
        found.append(usual[0])
    return found


def _images_of(
    sheet: Sheet, columns: Sequence[str], path: str, images: Images
) -> tuple[list[Annotated], list[str], int]:
    cells = [sheet.cells(name) for name in columns]
    sizes = _sizes(sheet)
    in_shares = all((number(cell) or 0) <= 1 for column in cells[2:] for cell in column)
    boxes: dict[str, list[Box]] = defaultdict(list)
    size_by_name: dict[str, tuple[float, float] | None] = {}
    odd = 0
    for row, (called, label, *sides) in enumerate(zip(*cells, strict=True)):
        name = str(called or "").strip()
        size_by_name.setdefault(name, SHARES if in_shares else sizes[row])
        if drawn := box(label, *sides):
            boxes[name].append(drawn)
        else:
            odd += 1
    folder = path.rpartition("/")[0]
    annotated, missing = [], []
    for name, size in size_by_name.items():
        image = images.find(name, folder) or images.find_stem(name, folder) if name else ""
        if image:
            split = split_of_folders(image)
            annotated.append(Annotated(image, tuple(boxes[name]), (), size, split))
        else:
            missing.append(name)
    return annotated, missing, odd


def _sizes(sheet: Sheet) -> list[tuple[float, float] | None]:
    """The size of the image of each row, where columns say it."""
    named = {plain(name): name for name in sheet.names}
    if not {"width", "height"} <= named.keys():
        return [None] * sheet.count
    pairs = zip(sheet.cells(named["width"]), sheet.cells(named["height"]), strict=True)
    return [size_of(*pair) for pair in pairs]
