"""A template, the style and the script become one HTML document that loads nothing."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from tellapart.errors import needs_extra
from tellapart.phrases import count_of, in_groups
from tellapart.report.parts import wording

if TYPE_CHECKING:
    from jinja2 import Template


def render_document(template: str, **values: object) -> str:
    """The filled-in template. Every text in `values` becomes text in the page, never markup.

    Raises:
        UserError: if jinja2 is not installed.
    """
    css, js = _read("page.css"), _read("page.js")
    return _template(template).render(css=css, js=js, policy=_policy(css, js), **values)


def _policy(css: str, js: str) -> str:
    """The content security policy. Only the two inlined blocks may style or run; nothing loads."""
    style, script = (
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (css, js)
    )
    return (
        f"default-src 'none'; img-src data:; style-src 'sha256-{style}'; script-src"
        f" 'sha256-{script}'; base-uri 'none'; form-action 'none'"
    )


def _read(name: str) -> str:
    return resources.files("tellapart.report").joinpath("parts", name).read_text("utf-8")


@cache
def _template(name: str) -> Template:
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError:
        raise needs_extra("jinja2", "train") from None
    environment = Environment(
        loader=PackageLoader("tellapart.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        percent=wording.percent,
        interval=wording.interval,
        number=wording.number,
        decimal=wording.decimal,
        count_of=count_of,
        in_groups=in_groups,
    )
    return environment.get_template(name)


def _finalize(value: object) -> object:
    """Write out the hidden characters of every text that is not markup already."""
    return (
        wording.visible(value)
        if isinstance(value, str) and not hasattr(value, "__html__")
        else value
    )
