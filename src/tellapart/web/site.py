"""The files of a page that classifies images in the browser."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from tellapart.decoders.rules import OLD_CONTRACT
from tellapart.errors import UserError, reason_of
from tellapart.modelfile.card import ModelCard
from tellapart.modelfile.predictor import Predictor
from tellapart.web.runtime import LICENCE
from tellapart.writing import write_whole

PAGE = "index.html"
MODEL, ABOUT, MANIFEST, WORKER = "model.onnx", "model.json", "manifest.webmanifest", "sw.js"
SHARED = ("app.js", "words.js", "style.css", "icon.svg")  # as the server has them
OWN = ("client.js", "answer.js", "decode.js", LICENCE)

# No address but this folder's. WebAssembly is compiled, which script-src has to allow.
POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self';"
    " img-src 'self' blob: data:; media-src blob:; connect-src 'self'; manifest-src 'self';"
    " worker-src 'self'; base-uri 'none'; form-action 'none'"
)
_CHARSET = '<meta charset="utf-8">'
_HEAD = (
    f'{_CHARSET}\n<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
    f'<link rel="manifest" href="{MANIFEST}">'
)
_NOSCRIPT = "<noscript>", "</noscript>"


def site_files(predictor: Predictor, name: str, runtime: Mapping[str, bytes]) -> dict[str, bytes]:
    """Path → content of each file of the page. The page itself comes last.

    Args:
        predictor: of the model file.
        name: what the page is called.
        runtime: the files of ONNX Runtime Web.
    """
    package = resources.files("tellapart")
    page = package / "server" / "page"
    files = {f"page/{file}": (page / file).read_bytes() for file in SHARED}
    files |= {f"page/{file}": (package / "web" / file).read_bytes() for file in OWN}
    files |= {f"page/{file}": content for file, content in runtime.items()}
    files[MODEL] = predictor.graph
    files[ABOUT] = _json(about(predictor, name))
    files[MANIFEST] = _json(manifest(name))
    files[PAGE] = page_of((page / PAGE).read_text(encoding="utf-8")).encode()
    worker = (package / "web" / WORKER).read_text(encoding="utf-8")
    last = files.pop(PAGE)
    return {**files, WORKER: worker_of(worker, {**files, PAGE: last}).encode(), PAGE: last}


def about(predictor: Predictor, name: str) -> dict[str, Any]:
    """What the page has to know of the model: the metadata that its decisions need."""
    card: ModelCard = predictor.card
    return {
        "name": name,
        "digest": hashlib.sha256(predictor.graph).hexdigest(),
        "classes": list(card.classes),
        "rule": card.rule.as_json(),
        "detects_unfamiliar": card.detects_unfamiliar,
        "preprocessing": card.preprocessing.as_json(),
        "decoding": {
            "max_pixels": card.decoding.max_pixels,
            "colour": card.decoding.colour,
            "black_ground": card.decoding.contract > OLD_CONTRACT,
        },
        "backbone": card.backbone,
        "precision": card.precision,
        "licences": dict(card.licences),
    }


def manifest(name: str) -> dict[str, Any]:
    """What a phone has to know to put the page on its home screen."""
    return {
        "name": name,
        "short_name": name,
        "start_url": "./",
        "scope": "./",
        "display": "standalone",
        "background_color": "#16181c",
        "theme_color": "#0b57a4",
        "icons": [{"src": "page/icon.svg", "sizes": "any", "type": "image/svg+xml"}],
    }


def page_of(served: str) -> str:
    """The page of the server, as a page without one: with its policy, manifest and excuse."""
    assert served.count(_CHARSET) == 1 and 'href="/' not in served
    before, _, rest = served.partition(_NOSCRIPT[0])
    after = rest.partition(_NOSCRIPT[1])[2]
    excuse = "This page needs JavaScript: it runs the model in your browser."
    return f"{before}{_NOSCRIPT[0]}{excuse}{_NOSCRIPT[1]}{after}".replace(_CHARSET, _HEAD)


def worker_of(text: str, files: Mapping[str, bytes]) -> str:
    """The service worker that keeps these files. Other contents give another name of its cache."""
    total = hashlib.sha256(text.encode())
    for path, content in files.items():
        total.update(f"{path}\0{hashlib.sha256(content).hexdigest()}\n".encode())
    # "./" and not index.html: many hosts redirect from the one to the other, and a redirected file
    # cannot open a page offline.
    kept = ["./", *(path for path in files if path not in (PAGE, f"page/{LICENCE}"))]
    return text.replace("FILES_OF_THE_EXPORT", json.dumps(kept)).replace(
        "DIGEST_OF_THE_EXPORT", total.hexdigest()[:16]
    )


def write_site(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write the page into a folder: an empty one, a new one, or that of an earlier export, which
    may have been stopped halfway.

    Raises:
        UserError: the folder holds something else, or cannot be written to.
        Refused: the disk is full.
    """
    try:
        names = [path.name for path in folder.iterdir()] if folder.exists() else []
        there = {name for name in names if not name.endswith(".part")}
    except OSError as error:
        raise UserError(
            f"{folder} cannot be used ({reason_of(error)}).", "Name a folder for the page."
        ) from None
    begun = PAGE not in there and there <= {path.partition("/")[0] for path in files}
    if not begun and not {ABOUT, WORKER} <= there:
        raise UserError(
            f"{folder} holds other files.", "Name a new folder, or one of an earlier export."
        )
    for path, content in files.items():
        write_whole(folder / path, content)


def _json(values: Mapping[str, Any]) -> bytes:
    return json.dumps(values, ensure_ascii=False, indent=1, allow_nan=False).encode() + b"\n"
