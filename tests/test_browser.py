"""Pages in a browser, on a screen and on a phone: nothing missing, nothing cut off, nothing from another server."""

import functools
import http.server
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from kuttax import report

ROOT = Path(__file__).parents[1]
playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: pip install playwright")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: apt-get install chromium"),
]

SCREEN, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The address of the site and of the page of a comparison."""
    folder = tmp_path_factory.mktemp("served")
    build = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(folder / "site")]
    subprocess.run(build, cwd=ROOT, check=True, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"})
    compared = folder / "compared"
    compared.mkdir()
    shutil.copy(ROOT / "experiments" / "learned-mnist" / "records.jsonl", compared)
    report.write(compared)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()


@pytest.mark.parametrize("size", [SCREEN, PHONE], ids=["screen", "phone"])
@pytest.mark.parametrize(
    "path", ["compared/", "site/", "site/getting_started/", "site/results/", "site/many_runs/", "site/gallery/spiral/"]
)
def test_a_page_is_whole(browser, server, path, size):
    page = browser.new_page(viewport=size)
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("response", lambda answer: said.append(f"{answer.status} {answer.url}") if answer.status >= 400 else None)
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{server}/{path}", wait_until="networkidle")
    elsewhere = [url for url in asked if not url.startswith((server, "data:", "blob:"))]
    assert not said and not elsewhere
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= size["width"], "it scrolls sideways"
    broken = "[...document.images].filter(image => !(image.complete && image.naturalWidth)).map(image => image.src)"
    for image in page.query_selector_all("img"):
        image.scroll_into_view_if_needed()  # some are loaded when they come into view
    page.wait_for_load_state("networkidle")
    assert page.evaluate(broken) == []
    page.close()
