"""What is looked at: the shortlist, and where its weights come from."""

from __future__ import annotations

import pytest

from tellapart.errors import UserError
from tellapart.experiments.shortlist import SHORTLIST, entries, needs_hub
from tellapart.options import BackboneOptions


def test_without_names_the_shortlist_and_the_recipes_own_are_looked_at():
    own = BackboneOptions(name="resnet26")
    assert [one.name for one in entries(None, own)] == [*SHORTLIST, "resnet26"]
    assert [one.name for one in entries(None, BackboneOptions())] == list(SHORTLIST)


def test_an_entry_may_bring_its_weights():
    (entry,) = entries(["resnet18=w.safetensors", "resnet18=w.safetensors"], BackboneOptions())
    assert entry.settings(BackboneOptions()) == {
        "backbone.name": "resnet18",
        "backbone.weights": "w.safetensors",
    }
    assert entry.settings(entry.options) == entry.settings(BackboneOptions())


def test_an_entry_without_a_name_is_refused():
    with pytest.raises(UserError, match=r"'=w\.pth' names no backbone\. Write NAME, or NAME=FILE"):
        entries(["=w.pth"], BackboneOptions())
    with pytest.raises(UserError, match="No backbone is named"):
        entries([], BackboneOptions())
    with pytest.raises(
        UserError, match=r"The backbones must be a list, got 'resnet18'\. Write \['resnet18'\]"
    ):
        entries("resnet18", BackboneOptions())


def test_what_is_packaged_or_a_file_needs_no_hub():
    assert not needs_hub(BackboneOptions())
    assert not needs_hub(BackboneOptions(name="resnet18", weights="w.pth"))
    assert needs_hub(BackboneOptions(name="resnet18"))
    assert not needs_hub(BackboneOptions(name="seresnet18"))  # the hub has none
