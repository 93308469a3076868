"""The checks of heat maps in words and in a picture, for whoever wants to know whether to trust them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tellapart.explain.explainer import Explainer
from tellapart.explain.overlay import overlay
from tellapart.explain.sanity import PlantedCue, RandomHeads, plant_cue, random_heads
from tellapart.explain.sheet import Panel, small_image
from tellapart.phrases import count_of

CHECKED = 5  # images that are enough to see whether the maps depend on model and image

Shown = tuple[NDArray[np.uint8], int]  # the pixels of an image, and the position of its answer


@dataclass(frozen=True)
class MapChecks:
    """What came of the checks.

    Args:
        lines: a sentence or two on each check.
        panels: of a picture that shows both checks on one image.
        passed: whether the maps changed as they must.
    """

    lines: tuple[str, ...]
    panels: tuple[Panel, ...]
    passed: bool


def check_maps(explainer: Explainer, shown: Sequence[Shown]) -> MapChecks | None:
    """Check the maps of a model on some images.

    Args:
        explainer: of the model.
        shown: the images; `CHECKED` are enough.

    Returns:
        None without images, or where the maps are too coarse to be checked.
    """
    found = [_checked(explainer, shown, pixels, label) for pixels, label in shown]
    whole = [(heads, cue) for heads, cue in found if heads and cue]
    if not whole:
        return None
    place = next(place for place, (heads, cue) in enumerate(found) if heads and cue)
    pixels, label = shown[place]
    panels = _panels(explainer, pixels, label, _other(shown, pixels, label), *whole[0])
    on_heads, varied = _on_heads([heads for heads, _ in whole])
    on_cues, followed = _on_cues([cue for _, cue in whole])
    return MapChecks((on_heads, on_cues), panels, varied and followed)


def _checked(
    explainer: Explainer, shown: Sequence[Shown], pixels: NDArray[np.uint8], label: int
) -> tuple[RandomHeads | None, PlantedCue | None]:
    cue = plant_cue(explainer, pixels, label, _other(shown, pixels, label))
    return random_heads(explainer, pixels, label), cue


def _on_heads(found: Sequence[RandomHeads]) -> tuple[str, bool]:
    size = float(np.mean([heads.correlation for heads in found]))
    passed = sum(heads.passed for heads in found) > len(found) / 2
    verdict = "is another one" if passed else "is nearly the same, so that it explains little"
    return (
        f"With random weights in place of the head's, the map {verdict}. Its correlation with theirs"
        f" is {size:.2f} in the mean over {count_of(len(found), 'image')}, without its sign. 1 would"
        " mean that the map does not depend on what the head has learned.",
        passed,
    )


def _on_cues(found: Sequence[PlantedCue]) -> tuple[str, bool]:
    followed = sum(cue.passed for cue in found)
    inside = float(np.mean([cue.inside for cue in found]))
    area = float(np.mean([cue.area for cue in found]))
    return (
        "The most telling part of each image was put into another image. The map of the class"
        f" followed it in {followed} of {count_of(len(found), 'image')}: {100 * inside:.0f} % of what"
        f" the class gained lies on the {100 * area:.0f} % of the image that the part covers.",
        followed > len(found) / 2,
    )


def _panels(
    explainer: Explainer,
    pixels: NDArray[np.uint8],
    label: int,
    other: NDArray[np.uint8],
    heads: RandomHeads,
    cue: PlantedCue,
) -> tuple[Panel, ...]:
    take, name = explainer.predictor.card.preprocessing, explainer.predictor.classes[label]
    own = explainer.method.maps(pixels, [label])[0]
    first, second = small_image(pixels), small_image(take.resized(other))
    planted = small_image(cue.planted)
    strongest = float(max(np.abs(cue.before).max(), np.abs(cue.after).max()))
    return (
        Panel(first, ("an image",)),
        Panel(overlay(first, own, take), (f"the model's map of {name}",)),
        Panel(overlay(first, heads.example, take), ("the map of a random head",)),
        Panel(second, ("another image",)),
        Panel(overlay(second, cue.before, strongest=strongest), (f"the map of {name} there",)),
        Panel(
            overlay(planted, cue.after, strongest=strongest),
            ("with the most telling part", "of the first image put in"),
        ),
    )


def _other(shown: Sequence[Shown], pixels: NDArray[np.uint8], label: int) -> NDArray[np.uint8]:
    """The first image with another answer; without one the image itself, turned by 180°."""
    for other, answer in shown:
        if answer != label:
            return other
    return np.ascontiguousarray(pixels[::-1, ::-1])
