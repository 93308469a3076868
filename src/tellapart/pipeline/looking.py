"""The first step of every verb that takes data: each file looked at, and its copies found."""

from __future__ import annotations

from pathlib import Path

from tellapart.cache import ScanMemory, cache_folder
from tellapart.catalog.duplicates import link_copies
from tellapart.catalog.groups import group
from tellapart.catalog.inspect import ScanHook
from tellapart.catalog.scan import scan
from tellapart.catalog.table import Catalog
from tellapart.progress import Console
from tellapart.recipe import Recipe


def name_of(source: Path) -> str:
    """What a source is called where nobody says: its own name, without an ending."""
    return source.name.split(".")[0] or source.stem if source.is_file() else source.resolve().name


def memory_for(catalog: Catalog, recipe: Recipe) -> ScanMemory:
    """What is remembered of a source; to be closed, as what a `with` statement takes."""
    return ScanMemory(cache_folder(), catalog.files.place, recipe.decoding.max_pixels)


def look_through(
    catalog: Catalog,
    recipe: Recipe,
    memory: ScanMemory,
    console: Console,
    hook: ScanHook | None = None,
) -> Catalog:
    """The catalog scanned, with near-duplicates linked and groups named."""
    with console.track("Reading images", len(catalog)) as advance:
        catalog = scan(
            catalog,
            max_pixels=recipe.decoding.max_pixels,
            hook=hook,
            memory=memory,
            advance=advance,
        )
    return group(link_copies(catalog, memory), recipe.split.group_by)
