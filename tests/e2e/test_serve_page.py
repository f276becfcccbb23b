"""The server's page in a real Chromium: upload, drop, samples, keyboard, a phone's width, bad files, slow answers.

With RENEW_SCREENSHOTS=1 the pictures of docs/serving.md are made anew.
"""

import base64
import io
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import reprogram
from helpers import ROOT, random_task
from helpers_serving import host, models, running

pytestmark = pytest.mark.judge
CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
EVIL = "<img src=x onerror=\"document.title='hacked'\">"
STORED = ROOT / "results/paper/runs/squares-EfficientNet_Lite0-frame-s0-94d2eb12/program.safetensors"
PICTURES = ROOT / "docs" / "_static"


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright, which make judges installs")
    if not CHROMIUM.exists():
        pytest.skip(f"needs Chromium at {CHROMIUM}, or where CHROMIUM says")
    with playwright.sync_playwright() as one:
        started = one.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu"])
        yield started
        started.close()


@pytest.fixture
def opened(browser):
    """Opens a server's page; in the end, nothing was loaded from elsewhere, and the page complained of nothing."""
    contexts, urls, complaints = [], [], []

    def open_page(run, width=1100, height=900, **options):
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: urls.append((run.url, request.url)))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text) if "olicy" in message.text else None)
        page.goto(run.url)
        page.wait_for_function("() => document.getElementById('host').textContent.indexOf('Asking') < 0")
        return page

    open_page.complaints = complaints
    yield open_page
    for context in contexts:
        context.close()
    assert [url for own, url in urls if not url.startswith((own, "data:"))] == []
    assert complaints == []


def png(values):
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG")
    return buffer.getvalue()


def upload(page, name, content):
    page.set_input_files("#file", {"name": name, "mimeType": "image/png", "buffer": content})


def finished(page):
    page.wait_for_function("() => !document.getElementById('results').hasAttribute('aria-busy')")


PHOTO = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def served():
    built = models()
    task = random_task(shape=(3, 8, 8), num_classes=3)
    task = reprogram.Task(
        name="odd", train=task.train, validation=task.validation, test=task.test, class_names=(EVIL, "b", "c")
    )
    built["odd"] = reprogram.Reprogrammed.build(built["framed"].host, task, seed=5)
    return built


@pytest.fixture(scope="module")
def run(served, tmp_path_factory):
    folder = tmp_path_factory.mktemp("samples")
    for number in range(3):
        (folder / f"sample {number}.png").write_bytes(png(PHOTO[number:, :, 0]))
    with running(served, samples=folder) as run:
        yield run


def test_an_upload_is_shown_with_each_program(opened, run, served):
    page = opened(run)
    upload(page, "photo.png", png(PHOTO))
    page.wait_for_selector("article")
    finished(page)
    assert page.locator("article").count() == len(served) + 1
    shown = run.post("/v1/show", png(PHOTO)).json()["shown"]
    for answer in shown:
        card = page.locator(f'article[data-model="{answer["model"]}"]')
        assert answer["label"] in card.inner_text()
        for item in [*answer["host"], *answer["predictions"]]:
            assert item["label"] in card.inner_text()
            assert f"{100 * item['probability']:.1f} %" in card.inner_text()
        source = card.locator("> img").get_attribute("src")
        picture = np.array(Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))))
        if answer["model"] in served:
            model = served[answer["model"]]
            image = run.desk.answering.decode(run.desk.answering.served[answer["model"]], [png(PHOTO)])
            with torch.no_grad():
                canvas = model.program(model.canvas(image)).dense()[0]
            assert np.array_equal(picture, (canvas * 255).round().byte().permute(1, 2, 0).numpy())
    assert "Answers to photo.png" in page.inner_text("#status") and page.is_hidden("#problem")
    said = page.inner_text("[role=status]")
    assert all(f"{answer['model']} says {answer['label']}" in said for answer in shown), "it is read aloud"
    assert page.inner_text("#clock") == "" and page.get_attribute("#clock", "aria-hidden") == "true"
    assert page.title() == "reprogram serve", "a class name is text and nothing else"
    assert page.evaluate("document.querySelectorAll('article img').length") == len(served) + 1


def test_a_file_can_be_dropped(opened, run, served):
    page = opened(run)
    page.evaluate(
        """(data) => {
            const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
            const transfer = new DataTransfer();
            transfer.items.add(new File([bytes], "dropped.png", { type: "image/png" }));
            for (const kind of ["dragenter", "dragover", "drop"]) {
              document.getElementById("drop").dispatchEvent(
                new DragEvent(kind, { dataTransfer: transfer, bubbles: true, cancelable: true }));
            }
        }""",
        base64.b64encode(png(PHOTO)).decode(),
    )
    page.wait_for_selector("article")
    finished(page)
    assert "dropped.png" in page.inner_text("#status") and page.locator("article").count() == len(served) + 1
    assert page.url.rstrip("/") == run.url


def test_the_keyboard_is_enough(opened, run):
    """Tab comes to the file field and to each sample, all with names; Enter and Space use them; focus can be seen."""
    page = opened(run)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "file"
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Space")
    chooser.value.set_files({"name": "keys.png", "mimeType": "image/png", "buffer": png(PHOTO)})
    page.wait_for_selector("article")
    names = []
    for _ in range(3):
        page.keyboard.press("Tab")
        names.append(page.evaluate("document.activeElement.getAttribute('aria-label')"))
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline not in ("none", "")
    assert [re.search(r"sample \d", name)[0] for name in names] == ["sample 0", "sample 1", "sample 2"]
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.getElementById('status').textContent.indexOf('the sample sample 2') > 0")
    finished(page)
    assert "Answers to the sample sample 2" in page.inner_text("#status")
    assert page.locator("[role=status]").count() == page.locator("[role=alert]").count() == 1


def test_a_bad_file_is_refused_in_words_and_the_next_one_is_answered(opened, run):
    page = opened(run)
    for name, content, words in (
        ("notes.txt", b"hello", "not an image"),
        ("empty.png", b"", "empty"),
        ("cut.png", png(PHOTO)[:200], "damaged"),
        ("photo.heic", b"\0\0\0\x18ftypheic" + b"\0" * 40, "HEIC"),
    ):
        upload(page, name, content)
        page.wait_for_selector("#problem:not([hidden])")
        finished(page)
        text = page.inner_text("#problem")
        assert words in text and text.startswith("Refused") and page.locator("article").count() == 0, text
        assert page.inner_text("#status") == "No answer."
        upload(page, "photo.png", png(PHOTO))
        page.wait_for_selector("article")
        finished(page)
        assert page.is_hidden("#problem")


def test_a_slow_answer_is_waited_for_aloud_and_a_later_question_wins(opened):
    with running(models(wait_s=0.9)) as run:
        page = opened(run)
        upload(page, "slow.png", png(PHOTO))
        page.wait_for_function("() => /^[1-9] s/.test(document.getElementById('clock').textContent)")
        assert page.get_attribute("#results", "aria-busy") == "true"
        upload(page, "later.png", png(PHOTO[:, :30]))
        page.wait_for_selector("article", timeout=30_000)
        finished(page)
        assert "Answers to later.png" in page.inner_text("#status")
        page.wait_for_timeout(1500)
        assert "Answers to later.png" in page.inner_text("#status"), "the first answer doesn't come back"


def test_a_server_that_is_gone_is_said_to_be(opened):
    with running(models()) as run:
        page = opened(run)
    upload(page, "photo.png", png(PHOTO))
    page.wait_for_selector("#problem:not([hidden])")
    assert "can't be reached" in page.inner_text("#problem")


@pytest.mark.parametrize("width", [320, 390])
def test_a_phone_sees_all_of_it(opened, run, served, width):
    page = opened(run, width, 800, has_touch=True, is_mobile=True)
    page.tap(".samples button >> nth=0")
    page.wait_for_selector("article")
    finished(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for box in page.evaluate(
        "[...document.querySelectorAll('article, ul button, #drop, h1')].map((e) => e.getBoundingClientRect().toJSON())"
    ):
        assert box["left"] >= 0 and box["right"] <= width
    for box in page.evaluate(
        "[...document.querySelectorAll('ul button')].map((e) => e.getBoundingClientRect().toJSON())"
    ):
        assert box["height"] >= 44, "a finger hits it"
    assert page.locator("article").count() == len(served) + 1


def test_a_token_is_asked_for_and_kept_in_memory_only(opened, monkeypatch):
    monkeypatch.setenv("MODEL_SERVER_TOKEN", "page-token")
    with running(models()) as run:
        page = opened(run)
        assert page.is_visible("#login") and page.evaluate("document.activeElement.id") == "token"
        page.keyboard.type("wrong")
        page.keyboard.press("Enter")
        page.wait_for_selector("#problem:not([hidden])")
        page.fill("#token", "page-token")
        page.keyboard.press("Enter")
        page.wait_for_selector("#login", state="hidden")
        upload(page, "photo.png", png(PHOTO))
        page.wait_for_selector("article")
        finished(page)
        kept = page.evaluate("[document.cookie, JSON.stringify(localStorage), JSON.stringify(sessionStorage)].join()")
        assert "page-token" not in kept and "page-token" not in page.url


def test_the_policy_lets_no_other_script_run(opened, run):
    page = opened(run)
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<b id=added>x</b>')")
    refused = page.evaluate(
        """() => new Promise((resolve) => {
            const script = document.createElement("script");
            script.textContent = "document.title = 'hacked'";
            document.body.append(script);
            setTimeout(() => resolve(document.title), 100);
        })"""
    )
    assert refused == "reprogram serve" and len(opened.complaints) == 1
    opened.complaints.clear()
    policy = run.client.get("/").headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "*" not in policy


def test_the_pictures_of_the_documentation(opened, tmp_path, lite0):
    """The stored program that counts squares, on the real host, on a wide and on a narrow screen."""
    folder = PICTURES if os.environ.get("RENEW_SCREENSHOTS") else tmp_path
    with running({"squares": reprogram.load(STORED, host=lite0)}) as run:
        for name, width, options in (
            ("serve-page.png", 1000, {}),
            ("serve-phone.png", 390, {"has_touch": True, "is_mobile": True}),
        ):
            page = opened(run, width, 800, color_scheme="light", **options)
            page.click(".samples button >> nth=3")
            page.wait_for_selector("article", timeout=60_000)
            finished(page)
            assert "The task's answer: 4" in page.inner_text("article >> nth=0")
            page.screenshot(path=folder / name, full_page=True)
            with Image.open(folder / name) as picture:
                assert picture.width == width


def test_a_black_box_service_shows_less(opened):
    with running(models(host()), answers="label") as run:
        page = opened(run)
        upload(page, "photo.png", png(PHOTO))
        page.wait_for_selector("article")
        finished(page)
        text = page.inner_text("#results")
        assert "host label" in text and "%" not in text
