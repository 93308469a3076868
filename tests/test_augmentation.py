"""Augmentation: every change is an image's own, by its key; exact where it can be, and as
torchvision has it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as reference

from tellapart.images import geometry
from tellapart.images.augmentation import augment, mix
from tellapart.images.chance import around
from tellapart.images.sampling import image_keys, sample_keys
from tellapart.models.backbones import one_thread
from tellapart.options import AugmentationOptions

FILL = (0.25, 0.5, 0.75)
EVERY_WAY = {
    "crop": {"crop_area": 0.2},
    "shift": {"shift_px": 5},
    "flips": {"flip": 0.5, "flip_vertical": 0.5, "quarter_turn": 0.7},
    "rotate": {"rotate": 0.6},
    "rotate filled": {"rotate": 0.6, "border": "fill", "crop_area": 0.5},
    "colours": {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.2},
    "trivial": {"policy": "trivial"},
    "rand": {"policy": "rand"},
    "dropout": {"dropout": 0.7, "dropout_holes": 2, "dropout_px": 6},
    "erase": {"erase": 0.7},
}
EVERY_WAY["everything"] = {key: value for way in EVERY_WAY.values() for key, value in way.items()}


def batch_of(count: int, side: int = 24) -> torch.Tensor:
    """(count, 3, side, side) uint8: smooth images, so that an interpolation can be compared."""
    generator = torch.Generator().manual_seed(3)
    coarse = torch.rand(count, 3, 4, 4, generator=generator)
    smooth = torch.nn.functional.interpolate(
        coarse, (side, side), mode="bicubic", align_corners=False
    )
    return (smooth.clamp(0, 1) * 255).round().to(torch.uint8)


def keys_of(count: int, epoch: int = 1) -> np.ndarray:
    return sample_keys(image_keys(0, (f"{number}.png" for number in range(count))), epoch)


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """One thread; what a test sets is put back."""
    with one_thread():
        yield


@pytest.fixture(params=EVERY_WAY)
def options(request: pytest.FixtureRequest) -> AugmentationOptions:
    return AugmentationOptions(**EVERY_WAY[request.param])


def test_alone_a_image_becomes_what_it_becomes_in_a_batch(options):
    images, keys = batch_of(12), keys_of(12)
    alone = [
        augment(images[row : row + 1], keys[row : row + 1], options, FILL) for row in range(12)
    ]
    assert torch.equal(torch.cat(alone), augment(images, keys, options, FILL))


def test_the_order_of_a_batch_changes_nothing(options):
    images, keys = batch_of(12), keys_of(12)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    shuffled = augment(images[order], keys[order.numpy()], options, FILL)
    assert torch.equal(shuffled, augment(images, keys, options, FILL)[order])


def test_neither_threads_nor_memory_format_change_a_bit(options):
    images, keys = batch_of(4, side=256), keys_of(4)
    torch.set_num_threads(2)
    last = images.contiguous(memory_format=torch.channels_last)
    alone = [augment(last[row : row + 1], keys[row : row + 1], options, FILL) for row in range(4)]
    torch.set_num_threads(1)
    assert torch.equal(torch.cat(alone), augment(images, keys, options, FILL))


def test_the_state_of_the_global_generator_is_neither_read_nor_moved(options):
    images, keys = batch_of(6), keys_of(6)
    torch.manual_seed(1)
    first = augment(images, keys, options, FILL)
    untouched = torch.get_rng_state()
    torch.manual_seed(1)
    assert torch.equal(untouched, torch.get_rng_state())
    torch.manual_seed(2)
    assert torch.equal(first, augment(images, keys, options, FILL))


def test_another_epoch_is_another_change(options):
    images = batch_of(12)
    first, second = (augment(images, keys_of(12, epoch), options, FILL) for epoch in (1, 2))
    assert (first != second).flatten(1).any(dim=1).sum() >= 6


def test_one_image_with_one_key_is_the_same_twice_and_with_two_keys_is_not(options):
    images, keys = batch_of(1).expand(16, -1, -1, -1), keys_of(16)
    assert len(augment(images, keys, options, FILL).flatten(1).unique(dim=0)) >= 4
    assert (
        len(augment(images, np.repeat(keys[:1], 16), options, FILL).flatten(1).unique(dim=0)) == 1
    )


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_type_range_and_memory_format_are_kept_and_the_input_is_not_changed(options, layout):
    images = batch_of(8).contiguous(memory_format=layout)
    before = images.clone()
    seen = augment(images, keys_of(8), options, FILL)
    assert seen.dtype == torch.float32
    assert seen.is_contiguous(memory_format=layout)
    assert 0 <= seen.min() <= seen.max() <= 1
    assert torch.equal(images, before)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_without_augmentation_pixels_are_divided_by_255_and_no_more(layout):
    images = batch_of(3).contiguous(memory_format=layout)
    assert torch.equal(
        augment(images, keys_of(3), AugmentationOptions(), FILL), images.float() / 255
    )


def test_flips_and_quarter_turns_move_pixels_and_change_none():
    image, options = (
        batch_of(1),
        AugmentationOptions(flip=0.5, flip_vertical=0.5, quarter_turn=0.75),
    )
    seen = augment(image.expand(200, -1, -1, -1), keys_of(200), options, FILL)
    whole = image[0].float() / 255
    eight = torch.stack(
        [one.rot90(turns, (1, 2)) for one in (whole, whole.flip(2)) for turns in range(4)]
    )
    counts = (seen[:, None] == eight).flatten(2).all(dim=2).sum(dim=0)
    assert counts.sum() == 200
    assert counts.min() >= 10  # of 25 that are expected


def test_flips_happen_as_often_as_asked():
    images = batch_of(1).expand(400, -1, -1, -1)
    seen = augment(images, keys_of(400), AugmentationOptions(flip=0.3), FILL)
    assert 90 <= (seen != images.float() / 255).flatten(1).any(dim=1).sum() <= 150


@pytest.mark.parametrize("most", [1, 4, 100])
def test_a_shift_shows_the_mirror_image_beyond_the_border(most):
    image = batch_of(1, side=8)
    seen = augment(
        image.expand(64, -1, -1, -1), keys_of(64), AugmentationOptions(shift_px=most), FILL
    )
    reach = min(most, 8)
    padded = np.pad(
        image[0].numpy(), ((0, 0), (reach, reach), (reach, reach)), mode="symmetric"
    ) / np.float32(255)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 8, 8))[0].reshape(-1, 3, 8, 8)
    assert all((windows == one.numpy()).all(axis=(1, 2, 3)).any() for one in seen)


def test_only_the_images_that_are_rotated_are_interpolated():
    images = batch_of(40)
    changed = (
        augment(images, keys_of(40), AugmentationOptions(rotate=0.5), FILL) != images.float() / 255
    )
    assert 10 <= changed.flatten(1).any(dim=1).sum() <= 30


def test_a_rotation_is_torchvisions_with_the_mean_colour_outside():
    images, keys = batch_of(6, side=32), keys_of(6)
    options = AugmentationOptions(rotate=1, rotate_degrees=30, border="fill")
    seen = augment(images, keys, options, FILL)
    for one, image, angle in zip(seen, images, around(keys, "angle", 0, 30), strict=True):
        rotated = reference.rotate(
            image.float() / 255, angle, reference.InterpolationMode.BILINEAR, fill=list(FILL)
        )
        assert (one - rotated).abs().mean() < 0.01  # at its edge it does not blend with the fill
        assert torch.allclose(one[:, 8:24, 8:24], rotated[:, 8:24, 8:24], atol=1e-4)


def test_a_reflected_rotation_shows_no_colour_that_the_image_has_not():
    white = torch.full((8, 3, 16, 16), 255, dtype=torch.uint8)
    options = AugmentationOptions(rotate=1, crop_area=0.3)
    assert torch.allclose(augment(white, keys_of(8), options, (0, 0, 0)), torch.ones(()), atol=1e-6)


def test_a_crop_is_torchvisions_resized_crop():
    images, keys = batch_of(6, side=64), keys_of(6)
    seen = augment(images, keys, AugmentationOptions(crop_area=0.2), FILL)
    halves, centres = geometry.crops(keys, 0.2)
    for one, image, half, centre in zip(seen, images, halves, centres, strict=True):
        (left, top), (width, height) = (
            (32 * (1 + centre - half)).round().astype(int),
            (64 * half).round().astype(int),
        )
        cut = reference.resized_crop(
            image.float() / 255, top, left, height, width, [64, 64], antialias=True
        )
        assert (one - cut).abs().mean() < 0.02  # its box is rounded to whole pixels


def test_crops_keep_the_asked_area_and_shape_and_lie_inside():
    halves, centres = geometry.crops(keys_of(2000), 0.3)
    areas, ratios = halves.prod(axis=1), halves[:, 0] / halves[:, 1]
    assert areas.min() >= 0.3 - 1e-9
    assert areas.max() <= 1
    assert 0.5 < areas.mean() < 0.68
    assert ratios.min() >= 0.75 - 1e-9
    assert ratios.max() <= 4 / 3 + 1e-9
    assert (np.abs(centres) + halves <= 1 + 1e-9).all()


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation", "hue"])
def test_colours_change_by_torchvisions_formulas(name):
    images, keys = batch_of(8), keys_of(8)
    seen = augment(images, keys, AugmentationOptions(**{name: 0.4}), FILL)
    factors = around(keys, name, 0 if name == "hue" else 1, 0.4)
    change = getattr(reference, f"adjust_{name}")
    wanted = [
        change(one.float() / 255, factor)
        for one, factor in zip(images, factors.tolist(), strict=True)
    ]
    assert torch.allclose(seen, torch.stack(wanted), atol=1e-6)


def test_policies_keep_whole_levels():
    seen = augment(batch_of(16), keys_of(16), AugmentationOptions(policy="trivial"), FILL) * 255
    assert torch.allclose(seen, seen.round(), atol=1e-4)


def test_a_hole_is_black_square_and_inside():
    white = torch.full((60, 3, 20, 20), 255, dtype=torch.uint8)
    seen = augment(white, keys_of(60), AugmentationOptions(dropout=0.5, dropout_px=6), FILL)
    black = (seen == 0).all(dim=1).sum(dim=(1, 2))
    assert set(black.tolist()) == {0, 36}
    assert 18 <= (black > 0).sum() <= 42


def test_a_hole_larger_than_the_image_is_the_image():
    assert not augment(
        batch_of(2), keys_of(2), AugmentationOptions(dropout=1, dropout_px=64), FILL
    ).any()


def test_an_erased_rectangle_is_noise_of_the_asked_size():
    images = torch.full((100, 3, 40, 40), 128, dtype=torch.uint8)
    seen = augment(images, keys_of(100), AugmentationOptions(erase=1), FILL)
    changed = (seen != 128 / 255).all(dim=1)
    shares = changed.flatten(1).float().mean(dim=1)
    assert 0.015 <= shares.min() <= shares.max() <= 0.35
    filled = [int(one.any(dim=0).sum() * one.any(dim=1).sum()) == int(one.sum()) for one in changed]
    assert all(filled)
    assert seen[changed[:, None].expand_as(seen)].std() > 0.25  # uniform noise: 0.289


def test_nothing_to_mix_gives_back_the_same_tensors():
    images, targets = torch.rand(3, 3, 8, 8), torch.eye(3)
    assert all(
        a is b
        for a, b in zip(
            mix(images, targets, keys_of(3), AugmentationOptions()), (images, targets), strict=True
        )
    )


def test_mixup_blends_images_and_targets_by_one_share():
    images, targets = torch.rand(4, 3, 8, 8), torch.eye(4)
    mixed, blended = mix(images, targets, keys_of(4), AugmentationOptions(mixup=1))
    own = float(blended[0, 0])
    assert 0 < own < 1
    assert torch.allclose(mixed, own * images + (1 - own) * images.roll(1, 0), atol=1e-6)
    assert torch.allclose(blended, own * targets + (1 - own) * targets.roll(1, 0), atol=1e-6)


def test_cutmix_weighs_targets_by_the_area_that_is_pasted():
    images, targets = torch.arange(3.0)[:, None, None, None].expand(3, 3, 32, 32), torch.eye(3)
    for epoch in range(1, 20):
        mixed, blended = mix(images, targets, keys_of(3, epoch), AugmentationOptions(cutmix=1))
        own = (mixed == images).float().mean(dim=(1, 2, 3))
        assert torch.allclose(blended.diagonal(), own, atol=1e-6)
        assert torch.allclose(blended.sum(dim=1), torch.ones(3))


def test_with_both_each_batch_is_blended_or_cut():
    images, targets = torch.arange(2.0)[:, None, None, None].expand(2, 3, 32, 32), torch.eye(2)
    both = AugmentationOptions(mixup=1, cutmix=1)
    cut = [
        set(mix(images, targets, keys_of(2, epoch), both)[0].unique().tolist()) == {0.0, 1.0}
        for epoch in range(1, 101)
    ]
    assert 30 <= sum(cut) <= 70


def test_mixing_is_decided_by_the_first_key_alone():
    images, targets, options = torch.rand(4, 3, 8, 8), torch.eye(4), AugmentationOptions(mixup=0.4)
    keys = keys_of(4)
    others = np.concatenate([keys[:1], keys_of(4, epoch=2)[1:]])
    assert torch.equal(
        mix(images, targets, keys, options)[0], mix(images, targets, others, options)[0]
    )
    assert not torch.equal(
        mix(images, targets, keys, options)[0], mix(images, targets, keys[::-1], options)[0]
    )
