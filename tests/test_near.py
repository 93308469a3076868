"""Near-duplicates: copies of each kind are found, and what only looks alike never melts into one
cluster.
"""

import io

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from tellapart.catalog import cells, crowds, descriptors, fitting
from tellapart.catalog.near import FLAT_GROUP, near_duplicates
from tellapart.catalog.thumbnails import THUMBNAIL_BYTES, make_thumbnail
from tellapart.catalog.unions import united


def scene(seed, *, width=240, height=180, colour=True):
    """A soft random image: blobs of several sizes."""
    rng = np.random.default_rng(seed)
    layers = np.zeros((height, width, 3))
    for grid, strength in ((3, 60), (8, 40), (20, 25)):
        noise = (
            rng.normal(128, strength, (grid, grid, 3 if colour else 1))
            .clip(0, 255)
            .astype(np.uint8)
        )
        small = Image.fromarray(np.broadcast_to(noise, (grid, grid, 3)).copy())
        layers += np.asarray(small.resize((width, height), Image.Resampling.BICUBIC), float) - 128
    return Image.fromarray((layers + 128).clip(0, 255).astype(np.uint8))


def flat(level, *, width=200, height=200):
    return Image.fromarray(np.full((height, width, 3), level, np.uint8))


def saved(img, quality):
    file = io.BytesIO()
    img.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def scaled(img, factor):
    return img.resize(
        (round(img.width * factor), round(img.height * factor)), Image.Resampling.BICUBIC
    )


def cropped(img, left=0.0, top=0.0, right=0.0, bottom=0.0):
    width, height = img.size
    return img.crop(
        (
            round(left * width),
            round(top * height),
            round((1 - right) * width),
            round((1 - bottom) * height),
        )
    )


def brightened(img, factor):
    return ImageEnhance.Brightness(img).enhance(factor)


def search(images):
    thumbnails = np.frombuffer(
        b"".join(make_thumbnail(np.asarray(img)) for img in images), np.uint8
    )
    sizes = np.array([img.size for img in images], np.int64).reshape(-1, 2)
    return near_duplicates(thumbnails.reshape(-1, THUMBNAIL_BYTES), *sizes.T)


def pairs_of(images):
    """The pairs found among images, as a set of tuples."""
    pairs, uncompared = search(images)
    assert pairs.dtype == np.int64 and pairs.shape == (len(pairs), 2)
    assert not len(uncompared)
    return {(int(i), int(j)) for i, j in pairs}


def clusters_of(pairs, count):
    """The sets of rows that pairs join, of two rows and more."""
    tops = united(count, pairs)
    sets = [set(np.flatnonzero(tops == top).tolist()) for top in np.unique(tops)]
    return [rows for rows in sets if len(rows) > 1]


def crowded_scenes(scenes, copies):
    """Images of some scenes, each many times with other noise; and the rows of each scene."""
    images = []
    for number in range(scenes):
        pixels = np.asarray(scene(number, width=120, height=90), float)
        noise = np.random.default_rng(number).normal(0, 4, (copies, *pixels.shape))
        shots = (pixels + noise).clip(0, 255).astype(np.uint8)
        images += [saved(Image.fromarray(shot), 80) for shot in shots]
    starts = range(0, scenes * copies, copies)
    return images, [set(range(start, start + copies)) for start in starts]


@pytest.fixture(scope="module")
def scenes():
    return [scene(seed) for seed in range(60)]


CHANGES = {
    "saved at quality 40": lambda img: saved(img, 40),
    "saved at quality 95": lambda img: saved(img, 95),
    "half the size": lambda img: scaled(img, 0.5),
    "nearly the same aspect": lambda img: img.resize((200, 148)),
    "5 % of the left": lambda img: cropped(img, left=0.05),
    "5 % of the height": lambda img: cropped(img, top=0.02, bottom=0.03),
    "5 % of every side": lambda img: cropped(img, 0.05, 0.05, 0.05, 0.05),
    "brighter": lambda img: brightened(img, 1.1),
    "darker": lambda img: brightened(img, 0.9),
    "all together": lambda img: saved(
        brightened(scaled(cropped(img, 0.05, 0.03, 0.0, 0.02), 0.5), 1.1), 40
    ),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_copies_are_found_and_nothing_else(scenes, change):
    assert pairs_of([*scenes, *map(change, scenes[:20])]) == {
        (row, len(scenes) + row) for row in range(20)
    }


def test_a_set_of_two_is_enough():
    assert pairs_of([scene(0), saved(scene(0), 50)]) == {(0, 1)}
    assert pairs_of([scene(0), scene(1)]) == set()


def test_five_copies_of_one_image_are_all_joined(scenes):
    copies = [saved(scenes[3], quality) for quality in (40, 55, 70, 85)]
    found = pairs_of([*scenes, *copies])
    assert {row for pair in found for row in pair} == {3, 60, 61, 62, 63}
    assert {row for row, _ in found} >= {3}


@pytest.mark.parametrize("count", [12, 40, 90])
def test_a_crowd_of_copies_of_one_image_is_joined_whole(scenes, count):
    rng = np.random.default_rng(count)
    crowd = [
        brightened(
            scaled(
                cropped(saved(scenes[3], int(rng.integers(40, 95))), *rng.uniform(0, 0.02, 4)), size
            ),
            light,
        )
        for size, light in zip(
            rng.uniform(0.5, 1, count), rng.uniform(0.9, 1.1, count), strict=True
        )
    ]
    pairs = pairs_of([*scenes, *crowd])
    joined = {3}
    for _ in range(len(pairs)):
        joined |= {row for pair in pairs if joined & set(pair) for row in pair}
    assert joined == {3, *range(len(scenes), len(scenes) + count)}


def test_a_uniform_set_does_not_melt():
    """Cells of one kind: the same frame and bars, and a little of their own."""
    frame = np.zeros((120, 120, 3)) + 150
    frame[::30] -= 60
    frame[:, :4] -= 90
    cells = []
    for seed in range(300):
        own = np.asarray(scene(seed, width=120, height=120, colour=False), float) - 128
        cells.append(Image.fromarray((frame + 0.1 * own).clip(0, 255).astype(np.uint8)))
    assert pairs_of(cells) == set()
    assert pairs_of([*cells, saved(cells[7], 90)]) == {(7, 300)}


def test_a_chain_of_small_steps_is_not_one_image():
    """Each is close to the next, as in a film: no two of them are much closer than the others."""
    start, end = (np.asarray(scene(seed), float) for seed in (1, 2))
    steps = [
        Image.fromarray((start + (end - start) * t).astype(np.uint8)) for t in np.linspace(0, 1, 60)
    ]
    assert pairs_of(steps) == set()


def test_other_colours_are_another_image(scenes):
    swapped = [Image.fromarray(np.asarray(img)[:, :, ::-1].copy()) for img in scenes[:20]]
    assert pairs_of([*scenes, *swapped]) == set()


def test_a_red_and_a_blue_drawing_differ():
    drawing = np.asarray(scene(5, colour=False))[:, :, :1] > 128
    red, blue = (
        np.where(drawing, 255, np.array(ink)).astype(np.uint8)
        for ink in ((200, 30, 30), (30, 60, 255))
    )
    assert pairs_of([Image.fromarray(red), Image.fromarray(blue)]) == set()


TURNS = {turn.name.lower().replace("_", " "): turn for turn in Image.Transpose}


@pytest.mark.parametrize("turn", TURNS.values(), ids=TURNS)
def test_mirrored_and_turned_copies_are_found_and_nothing_else(scenes, turn):
    copies = [saved(cropped(img.transpose(turn), 0.03, right=0.02), 60) for img in scenes[:20]]
    assert pairs_of([*scenes, *copies]) == {(row, len(scenes) + row) for row in range(20)}


def test_an_inverted_image_is_another_image(scenes):
    assert pairs_of([*scenes, Image.fromarray(255 - np.asarray(scenes[0]))]) == set()


def test_a_turned_copy_in_other_colours_is_another_image(scenes):
    copy = np.asarray(scenes[0])[::-1, :, ::-1].copy()
    assert pairs_of([*scenes, Image.fromarray(copy)]) == set()


def test_symmetric_images_are_not_copies_of_each_other():
    """Each looks the same mirrored; what they have in common is the symmetry alone."""
    halves = [np.asarray(scene(seed, width=120)) for seed in range(40)]
    rings = [Image.fromarray(np.concatenate([half, half[:, ::-1]], 1)) for half in halves]
    assert pairs_of(rings) == set()
    assert pairs_of([*rings, saved(rings[3], 70)]) == {(3, 40)}


@pytest.mark.parametrize("count", [12, 90])
def test_a_crowd_of_mirrored_and_plain_copies_is_joined_whole(scenes, count):
    mirrored = scenes[3].transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    crowd = [saved((scenes[3], mirrored)[row % 2], 40 + row % 50) for row in range(count)]
    pairs = pairs_of([*scenes, *crowd])
    assert clusters_of(pairs, len(scenes) + count) == [{3, *range(60, 60 + count)}]


def test_each_of_many_scenes_is_one_cluster():
    images, expected = crowded_scenes(scenes=12, copies=70)
    assert clusters_of(pairs_of(images), len(images)) == expected


def test_what_is_too_much_to_compare_is_named(monkeypatch):
    monkeypatch.setattr(crowds, "MOST_CROWDED_FITS", 0)
    images, _ = crowded_scenes(scenes=3, copies=40)
    assert len(search(images).uncompared) > len(images) / 2


def test_another_shape_is_another_image(scenes):
    assert pairs_of([*scenes, scenes[0].resize((240, 240))]) == set()


def test_flat_images_pair_only_in_equal_colour():
    assert pairs_of(
        [flat(255), flat(255, width=180, height=180), flat(240), flat((255, 200, 200))]
    ) == {(0, 1)}


def test_many_flat_images_are_a_kind_of_image_not_one():
    assert len(pairs_of([flat(255) for _ in range(FLAT_GROUP)])) >= FLAT_GROUP - 1
    assert pairs_of([flat(255) for _ in range(FLAT_GROUP + 1)]) == set()


DEGENERATE = {
    "one colour in a frame": lambda pixels: np.pad(pixels * 0 + 120, ((2, 2), (2, 2), (0, 0))),
    "one pixel": lambda pixels: (
        pixels * 0 + np.eye(1, pixels.size, 7000).reshape(pixels.shape) * 255
    ),
    "stripes across": lambda pixels: pixels * 0 + 255 * (np.arange(180)[:, None, None] // 20 % 2),
    "stripes down": lambda pixels: pixels * 0 + 255 * (np.arange(240)[None, :, None] // 20 % 2),
    "a gradient across": lambda pixels: pixels * 0 + np.linspace(0, 255, 240)[None, :, None],
    "a gradient down": lambda pixels: pixels * 0 + np.linspace(0, 255, 180)[:, None, None],
    "two halves": lambda pixels: pixels * 0 + 255 * (np.arange(240)[None, :, None] >= 120),
    "checks of one pixel": lambda pixels: pixels * 0 + 255 * (np.indices((180, 240, 3)).sum(0) % 2),
    "noise": lambda pixels: np.random.default_rng(0).uniform(0, 255, pixels.shape),
}


@pytest.mark.parametrize("draw", DEGENERATE.values(), ids=DEGENERATE)
def test_a_degenerate_image_ends_no_search_and_is_no_copy_of_others(scenes, draw):
    images = [Image.fromarray(draw(np.zeros((180, 240, 3))).astype(np.uint8).copy())]
    assert pairs_of([*scenes, *images]) == set()
    assert pairs_of(images) == pairs_of([*images, scenes[0]]) == set()


def test_degenerate_images_of_every_kind_are_no_copies_of_each_other(scenes):
    drawn = [draw(np.zeros((180, 240, 3))).astype(np.uint8).copy() for draw in DEGENERATE.values()]
    assert pairs_of([*scenes, *map(Image.fromarray, drawn)]) == set()


def test_flat_images_never_pair_with_others(scenes):
    faint = Image.fromarray((200 + np.asarray(scenes[0]) // 64).astype(np.uint8))
    assert pairs_of([*scenes, flat(128), faint]) == set()


@pytest.mark.parametrize("size", [(1, 1), (1, 700), (3000, 2), (2, 2), (31, 33)])
def test_any_shape_has_a_print(size):
    img = scene(9, width=size[0], height=size[1])
    assert len(make_thumbnail(np.asarray(img))) == THUMBNAIL_BYTES
    assert pairs_of([img, scene(8), scene(7)]) == set()


def test_a_print_does_not_change_its_image():
    pixels = np.asarray(scene(1)).copy()
    pixels.setflags(write=False)
    assert make_thumbnail(pixels) == make_thumbnail(pixels)


def test_none_and_one_have_no_pairs():
    assert pairs_of([]) == pairs_of([scene(0)]) == pairs_of([flat(0)]) == set()


def test_equal_prints_are_one_image(scenes):
    assert pairs_of([*scenes, scenes[4]]) == {(4, 60)}


def test_the_order_of_the_rows_does_not_matter(scenes):
    images = [*scenes, *(saved(cropped(img, 0.03), 60) for img in scenes[:20]), flat(9), flat(9)]
    order = np.random.default_rng(0).permutation(len(images))
    found = pairs_of([images[row] for row in order])
    assert {tuple(sorted((int(order[i]), int(order[j])))) for i, j in found} == pairs_of(images)


@pytest.fixture
def in_cells(monkeypatch):
    """Every set is searched in cells, of which there are several."""
    monkeypatch.setattr(fitting, "EXACT_UP_TO", 0)
    monkeypatch.setattr(cells, "CELL", 16)
    monkeypatch.setattr(cells, "PROBES", 3)


def copies_among(scenes):
    return [*scenes, *(saved(scaled(img, 0.6), 60) for img in scenes[:20])]


def test_the_copies_found_in_cells_are_those_of_the_exact_search(scenes, in_cells, monkeypatch):
    found = pairs_of(copies_among(scenes))
    monkeypatch.undo()
    assert found == pairs_of(copies_among(scenes)) == {(row, 60 + row) for row in range(20)}


def test_the_order_of_the_rows_does_not_matter_in_cells(scenes, in_cells):
    images = copies_among(scenes)
    backwards = {(79 - j, 79 - i) for i, j in pairs_of(images[::-1])}
    assert backwards == pairs_of(images)


def test_all_cells_together_give_the_nearest_of_all(monkeypatch):
    points = np.random.default_rng(0).normal(size=(500, 5)).astype(np.float32)
    points = points[np.argsort(points[:, 0])]
    monkeypatch.setattr(cells, "CELL", 50)
    monkeypatch.setattr(cells, "PROBES", 10)
    found, exact = cells.nearest_in_cells(points, 8), descriptors.nearest_later(points, 8)
    assert (np.sort(found, axis=1) == np.sort(exact, axis=1)).all()


def test_a_thousand_points_of_one_place_take_no_harm(monkeypatch):
    monkeypatch.setattr(cells, "CELL", 50)
    found = cells.nearest_in_cells(np.zeros((1000, 5), np.float32), 8)
    assert found.shape == (1000, 8)
    assert (found[:-1].max(axis=1) > np.arange(999)).all()


@pytest.mark.parametrize("exact_up_to", [0, 1000])
def test_the_share_of_the_search_that_is_done_grows_up_to_all(scenes, monkeypatch, exact_up_to):
    monkeypatch.setattr(fitting, "EXACT_UP_TO", exact_up_to)
    thumbnails = np.frombuffer(
        b"".join(make_thumbnail(np.asarray(img)) for img in scenes), np.uint8
    ).reshape(-1, THUMBNAIL_BYTES)
    shares = []
    near_duplicates(thumbnails, np.full(60, 240), np.full(60, 180), tell=shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1
