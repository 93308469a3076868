"""What is looked at: the shortlist, and where its weights come from."""

from __future__ import annotations

import pytest

from tellapart.errors import UserError
from tellapart.experiments.shortlist import SHORTLIST, entries, needs_hub
from tellapart.options import BackboneOptions
from tellapart.recipe import Recipe


def test_without_names_the_shortlist_and_the_recipes_own_are_looked_at():
    own = BackboneOptions(name="resnet26")
    assert [entry.name for entry in entries(None, own)] == [*SHORTLIST, "resnet26"]
    assert [entry.name for entry in entries(None, BackboneOptions())] == list(SHORTLIST)


def test_an_entry_may_have_a_size_of_its_own():
    (entry,) = entries(["vit_small_patch14_dinov2@224"], BackboneOptions())
    recipe = entry.recipe(Recipe())
    assert (entry.name, recipe.backbone.name) == (
        "vit_small_patch14_dinov2@224",
        "vit_small_patch14_dinov2",
    )
    assert recipe.preprocessing.size_px == 224
    assert entry.settings(BackboneOptions()) == {
        "backbone.name": "vit_small_patch14_dinov2",
        "preprocessing.size_px": 224,
    }


def test_one_network_at_two_sizes_is_two_entries():
    both = entries(["resnet18@160", "resnet18"], BackboneOptions())
    assert [entry.name for entry in both] == ["resnet18@160", "resnet18"]


def test_an_entry_may_have_a_precision_of_its_own():
    (entry,) = entries(["tf_efficientnet_lite2@128:int8=w.pth"], BackboneOptions())
    assert entry.settings(BackboneOptions()) == {
        "backbone.name": "tf_efficientnet_lite2",
        "backbone.precision": "int8",
        "backbone.weights": "w.pth",
        "preprocessing.size_px": 128,
    }


def test_one_network_in_two_precisions_is_two_entries():
    both = entries(["resnet18:int8", "resnet18:fp32"], BackboneOptions())
    assert [entry.name for entry in both] == ["resnet18:int8", "resnet18:fp32"]


def test_a_precision_of_the_recipe_is_reset_for_another_backbone():
    (entry,) = entries(["resnet18"], BackboneOptions())
    assert entry.settings(BackboneOptions(precision="int8"))["backbone.precision"] is None


def test_another_word_than_a_precision_is_refused():
    with pytest.raises(UserError, match=r"'resnet18:int4' has neither int8 nor fp32 after the"):
        entries(["resnet18:int4"], BackboneOptions())


@pytest.mark.parametrize("text", ["resnet18@", "resnet18@large", "resnet18@0"])
def test_a_size_that_is_no_number_is_refused(text: str):
    with pytest.raises(UserError, match="has no number of pixels after @"):
        entries([text], BackboneOptions())


def test_an_entry_may_bring_its_weights():
    (entry,) = entries(["resnet18=w.safetensors", "resnet18=w.safetensors"], BackboneOptions())
    assert entry.settings(BackboneOptions()) == {
        "backbone.name": "resnet18",
        "backbone.weights": "w.safetensors",
    }
    assert entry.settings(entry.options) == entry.settings(BackboneOptions())


def test_an_entry_without_a_name_is_refused():
    with pytest.raises(
        UserError, match=r"'=w\.pth' names no backbone\. Write NAME, and behind it @PIXELS"
    ):
        entries(["=w.pth"], BackboneOptions())
    with pytest.raises(UserError, match="No backbone is named"):
        entries([], BackboneOptions())
    with pytest.raises(
        UserError, match=r"The backbones must be a list, got 'resnet18'\. Write \['resnet18'\]"
    ):
        entries("resnet18", BackboneOptions())


def test_what_is_packaged_or_a_file_needs_no_hub():
    pytest.importorskip("timm")
    assert not needs_hub(BackboneOptions())
    assert not needs_hub(BackboneOptions(name="resnet18", weights="w.pth"))
    assert needs_hub(BackboneOptions(name="resnet18"))
    assert not needs_hub(BackboneOptions(name="seresnet18"))  # the hub has none
