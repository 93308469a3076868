"""The page without a server: what is exported, and in Chromium the same answers as in Python."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import tarfile

import numpy as np
import pytest

import tellapart
from helpers import odd_images as odd
from helpers.commands import run_command
from helpers.hosting import RUNTIME, hosted
from helpers.images import pixels_of, write_classes, write_image
from tellapart.errors import UserError
from tellapart.web.runtime import runtime_files
from tellapart.web.site import site_files, worker_of, write_site

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
NODE = shutil.which("node")
needs_runtime = pytest.mark.skipif(
    not RUNTIME.exists(), reason="npm pack onnxruntime-web was not run; see CONTRIBUTING.md"
)
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
TOLERANCE = 0.02  # of a probability: browsers decode JPEGs by other roundings


@pytest.fixture(scope="module")
def run(tmp_path_factory, own_cache):
    photos = write_classes(tmp_path_factory.mktemp("web") / "photos", 12)
    return tellapart.train(photos, out=photos.parent / "runs", quiet=True)


@pytest.fixture(scope="module")
def files(run):
    """The files of a page, with a runtime that is none."""
    return site_files(run.predictor(), "photos", {"ort.js": b"//", "ort.wasm": b"\0asm"})


@pytest.fixture(scope="module")
def site(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("host") / "page"
    tellapart.export_web(run.path, folder, runtime=RUNTIME, quiet=True)
    return folder


@pytest.fixture(scope="module")
def page(site):
    """The page in Chromium. Nothing may fail in it, or reach another host."""
    sync_api = pytest.importorskip("playwright.sync_api")
    with hosted(site) as home, sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        opened = browser.new_context().new_page()
        faults, asked = [], []
        opened.on("pageerror", lambda error: faults.append(str(error)))
        opened.on("request", lambda request: asked.append(request.url))
        opened.on(
            "console", lambda told: faults.append(told.text) if told.type == "error" else None
        )
        opened.goto(home)
        sync_api.expect(opened).to_have_title(re.compile("^photos "))
        yield opened
        assert faults == []
        assert [url for url in asked if not url.startswith((home, "blob:", "data:"))] == []
        browser.close()


def asked(page, data):
    """What the page answers to the bytes of a file."""
    return page.evaluate(
        """async (text) => {
          const client = await import(new URL("page/client.js", location.href).href);
          return client.classify("photos", new File([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))], "image"));
        }""",
        base64.b64encode(data).decode(),
    )


def decoded(page, data):
    """(H, W, 3) the pixels that the page takes from the bytes of a file."""
    found = page.evaluate(
        """async (text) => {
          const { decode } = await import(new URL("page/decode.js", location.href).href);
          const rules = { max_pixels: 1e6, colour: "srgb", black_ground: true };
          const image = await decode(new File([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))], "image"), rules);
          return { ...image, pixels: Array.from(image.pixels) };
        }""",
        base64.b64encode(data).decode(),
    )
    return np.reshape(found["pixels"], (found["height"], found["width"], 3))


def photo(name, tmp_path, **options):
    return write_image(tmp_path / name, 5, colour=(110, 150, 230), pattern="rings", **options)


def sky(folder):
    """Pixels (48, 64, 3) of an image like those of the class sky."""
    return pixels_of(photo("sky.png", folder).read_bytes()).astype(np.uint8)


IMAGES = {
    "a JPEG": lambda folder: photo("1.jpg", folder).read_bytes(),
    "a wide JPEG": lambda folder: photo("2.jpg", folder, size=(640, 210)).read_bytes(),
    "a tall PNG": lambda folder: photo("3.png", folder, size=(120, 500)).read_bytes(),
    "a large JPEG": lambda folder: photo("4.jpg", folder, size=(900, 700)).read_bytes(),
    "a WebP": lambda folder: photo("5.webp", folder, size=(300, 200)).read_bytes(),
    "a GIF": lambda folder: photo("6.gif", folder, size=(300, 200)).read_bytes(),
    "a BMP": lambda folder: photo("7.bmp", folder, size=(90, 200)).read_bytes(),
    "a turned JPEG": lambda folder: odd.oriented("JPEG", 6),
    "a mirrored PNG": lambda folder: odd.oriented("PNG", 2),
    "a grey JPEG": lambda folder: odd.in_mode("L", "JPEG"),
    "a palette": lambda folder: odd.in_mode("P", "PNG"),
    "an animation": lambda folder: odd.animated("GIF"),
    "a transparent PNG": lambda folder: odd.transparent("RGBA png"),
    "a white icon": lambda folder: odd.white_icon(),
    "wide colours": lambda folder: odd.in_wide_colours(sky(folder)),
    "wide colours in a JPEG": lambda folder: odd.in_wide_colours(sky(folder), "JPEG"),
}
REFUSED = {
    "empty": b"",
    "not_an_image": b"hello, I am a letter",
    "truncated": odd.cut(odd.encoded(odd.scene(), "JPEG"), 60),
    "corrupt": odd.encoded(odd.scene()).replace(b"IDAT", b"IDAX"),
    "unsupported": odd.cmyk_jpeg(),
}


# ── what is exported ──


def test_the_page_is_the_servers_page_with_a_policy_and_no_other_host(files):
    text = files["index.html"].decode()
    assert "default-src 'none'" in text and "'wasm-unsafe-eval'" in text
    assert "server" not in text and "http" not in text.replace("http-equiv", "")
    assert re.findall('(?:src|href)="([^"#]*)"', text) == [
        "manifest.webmanifest",
        "page/icon.svg",
        "page/style.css",
        "page/app.js",
    ]


def test_every_file_that_the_page_names_is_there(files):
    named = set(re.findall('(?:src|href)="([^"#]+)"', files["index.html"].decode()))
    imported = re.findall(r'from "\./([\w.]+)"', b"".join(files.values()).decode("utf-8", "ignore"))
    assert named | {f"page/{name}" for name in imported} <= files.keys()


def test_the_service_worker_keeps_all_files_and_is_new_when_one_changes(files):
    worker = files["sw.js"].decode()
    kept = json.loads(re.search(r"FILES = (\[.*?\]);", worker)[1])
    assert set(kept) == {*files, "./"} - {"index.html", "sw.js", "page/onnxruntime-licence.txt"}
    text = 'const KEPT = "DIGEST_OF_THE_EXPORT"'
    assert worker_of(text, {"a": b"1"}) != worker_of(text, {"a": b"2"})


def test_the_model_is_described_as_its_metadata_has_it(run, files):
    about, card = json.loads(files["model.json"]), run.predictor().card
    assert about["classes"] == list(card.classes)
    assert about["rule"]["threshold"] == card.rule.threshold
    assert about["licences"] == card.licences
    assert files["model.onnx"] == run.model.read_bytes()


def test_the_licence_of_the_runtime_goes_with_it(files):
    assert b"Copyright (c) Microsoft Corporation" in files["page/onnxruntime-licence.txt"]


def test_an_export_replaces_its_own_folder_and_no_other(files, tmp_path):
    write_site(tmp_path / "page", files)
    write_site(tmp_path / "page", files)
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "dear.txt").write_text("hello")
    with pytest.raises(UserError, match="holds other files"):
        write_site(tmp_path / "letters", files)


def test_an_export_that_was_stopped_halfway_is_done_again(files, tmp_path):
    write_site(tmp_path, {"page/app.js": files["page/app.js"], "model.onnx": b"half"})
    (tmp_path / ".model.json.x.part").write_bytes(b"")
    write_site(tmp_path, files)
    assert (tmp_path / "model.onnx").read_bytes() == files["model.onnx"]


def test_the_page_of_somebody_else_is_not_overwritten(files, tmp_path):
    (tmp_path / "index.html").write_text("my page")
    with pytest.raises(UserError, match="holds other files"):
        write_site(tmp_path, files)


def test_without_the_runtime_the_command_that_fetches_it_is_told(run, tmp_path, monkeypatch):
    monkeypatch.setenv("TELLAPART_CACHE", str(tmp_path / "cache"))
    ended = run_command("export", run.path, "--web", tmp_path / "page")
    assert ended.code == 2 and "npm pack onnxruntime-web@" in ended.err
    assert not (tmp_path / "page").exists()


def test_another_archive_is_refused(tmp_path):
    with tarfile.open(tmp_path / "other.tgz", "w:gz"):
        pass
    with pytest.raises(UserError, match=r"has not the ort\.js"):
        runtime_files(tmp_path / "other.tgz")
    with pytest.raises(UserError, match="does not exist"):
        runtime_files(tmp_path / "gone.tgz")


@needs_runtime
def test_the_runtime_is_kept_in_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TELLAPART_CACHE", str(tmp_path / "cache"))
    assert runtime_files(RUNTIME) == runtime_files()


@needs_runtime
def test_the_command_says_where_the_page_is(run, tmp_path):
    words = ("--web", tmp_path / "page", "--runtime", RUNTIME, "--name", "Three things")
    ended = run_command("export", run.path, *words)
    assert ended.code == 0 and f"page      {tmp_path / 'page'}" in ended.out
    assert json.loads((tmp_path / "page" / "model.json").read_text())["name"] == "Three things"


# ── the rule in JavaScript ──


@pytest.mark.skipif(NODE is None, reason="Node.js is not installed")
def test_the_rule_in_javascript_decides_as_the_one_in_python(files, tmp_path):
    (tmp_path / "answer.mjs").write_bytes(files["page/answer.js"])
    rng = np.random.default_rng(0)
    probs = rng.dirichlet(np.ones(3), 300).astype(np.float32)
    far = rng.uniform(0, 1.2, 300).astype(np.float32)
    rules = [
        tellapart_rule(0.5),
        tellapart_rule(None),
        tellapart_rule(0.4, weights=(1.0, 3.0, 0.5)),
        tellapart_rule(None, costs=((4.0, 2.0, 9.0), (1.0, 1.0, 0.5))),
    ]
    (tmp_path / "asked.json").write_text(
        json.dumps(
            {
                "rules": [rule.as_json() for rule in rules],
                "probs": probs.tolist(),
                "far": far.tolist(),
            }
        )
    )
    code = """
      import { readFileSync } from "node:fs";
      import { answerOf } from "./answer.mjs";
      const { rules, probs, far } = JSON.parse(readFileSync("asked.json"));
      const decided = rules.map((rule) => probs.map((row, place) => {
        const model = { classes: [0, 1, 2], rule, detects_unfamiliar: true };
        const { answer, decision } = answerOf(model, new Float32Array(row), far[place]);
        return [answer, decision];
      }));
      console.log(JSON.stringify(decided));
    """
    (tmp_path / "run.mjs").write_text(code)
    ended = subprocess.run([NODE, "run.mjs"], cwd=tmp_path, capture_output=True, check=True)
    wanted = [
        [
            list(pair)
            for pair in zip(
                rule.answers(probs).tolist(), rule.decide(probs, far).tolist(), strict=True
            )
        ]
        for rule in rules
    ]
    assert json.loads(ended.stdout) == wanted


def tellapart_rule(threshold, weights=(), costs=None):
    from tellapart.evaluation.rule import AnswerRule, Costs

    return AnswerRule(threshold, weights, costs and Costs(*costs))


# ── in Chromium ──


@needs_runtime
@needs_browser
@pytest.mark.parametrize("name", IMAGES)
def test_the_browser_answers_as_python_does(page, run, tmp_path, name):
    data = IMAGES[name](tmp_path)
    found, wanted = asked(page, data), run.predictor().predict(data)
    assert (found["status"], found["answer"]) == (wanted.status, wanted.answer)
    assert found["decision"] == wanted.decision
    assert found["probabilities"] == pytest.approx(wanted.probabilities, abs=TOLERANCE)
    assert found["unfamiliarity"] == pytest.approx(wanted.unfamiliarity, abs=0.1)


@needs_runtime
@needs_browser
@pytest.mark.parametrize("name", sorted(IMAGES.keys() - {"a large JPEG"}))
def test_the_browser_takes_the_pixels_that_python_takes(page, tmp_path, name):
    data = IMAGES[name](tmp_path)
    assert np.abs(decoded(page, data) - pixels_of(data)).max() <= 1


@needs_runtime
@needs_browser
@pytest.mark.parametrize("status", REFUSED)
def test_a_file_that_cannot_be_used_gets_its_status(page, status):
    found = asked(page, REFUSED[status])
    assert found["status"] == status and found["detail"]


@needs_runtime
@needs_browser
def test_an_image_beyond_the_limit_is_refused_before_it_is_decoded(page):
    assert asked(page, odd.bit_bomb())["status"] == "too_large"


@needs_runtime
@needs_browser
def test_the_page_shows_the_answer_with_its_map(page, tmp_path):
    from playwright.sync_api import expect

    page.set_input_files("#files", str(photo("sky.jpg", tmp_path)))
    expect(page.locator("#rows")).to_contain_text("sky.jpg")
    assert page.locator("#bars li").count() == 3
    page.check("#show-heat")
    assert page.is_visible("#heat")
    assert "never leave this device" in page.inner_text("#privacy")
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    violations = axe.Axe().run(page).response["violations"]
    assert [entry["id"] for entry in violations if entry["impact"] in ("serious", "critical")] == []


@needs_runtime
@needs_browser
def test_after_the_first_visit_it_works_offline(page, tmp_path):
    from playwright.sync_api import expect

    page.evaluate("async () => (await navigator.serviceWorker.ready).scope")
    page.context.set_offline(True)
    page.reload()
    page.set_input_files("#files", str(photo("sky.jpg", tmp_path)))
    expect(page.locator("#rows")).to_contain_text("sky.jpg")
    assert page.inner_text("#decision") in ("sky", "I am not sure. Perhaps sky.")
    page.context.set_offline(False)
