"""The page in a real browser: what it renders, and that it asks the network for nothing."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from recast.report.document import Report
from tests.report.samples import EVIL, evaluation

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--dump-dom",
)  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> str:
    found = next((path for name in _NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("no Chromium is installed")
    return found


def rendered(browser: str, address: str, profile: Path) -> str:
    command = [browser, *_FLAGS, f"--user-data-dir={profile}", address]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def test_the_browser_shows_every_section(browser: str, tmp_path: Path) -> None:
    page = tmp_path / "r.html"
    page.write_text(Report(evaluation()).html(), encoding="utf-8")
    dom = rendered(browser, page.as_uri(), tmp_path / "profile")
    titles = re.findall(r"<h2>([^<]+)</h2>", dom)
    assert titles == ["Trade-off", "Against the original", "Speed and memory", "Layers", "Findings"]
    assert dom.count("<svg") == len(re.findall(r"<svg", page.read_text()))
    assert "<tbody><tr><td>net.h5</td>" in dom
    assert "<script" not in dom
    assert dom.count("small.tflite") > 3


def test_the_page_asks_for_nothing(browser: str, tmp_path: Path) -> None:
    """Served by ourselves and counted: one request. A page with a picture shows that the trap works."""
    asked: list[str] = []
    html = {"/r": Report(evaluation()).html(), "/trap": "<p>x</p><img src='/picture.png'>"}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200 if self.path in html else 404)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(html.get(self.path, "").encode())

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        base = f"http://127.0.0.1:{server.server_address[1]}"
        dom = rendered(browser, f"{base}/r", tmp_path / "a")
        rendered(browser, f"{base}/trap", tmp_path / "b")
        server.shutdown()
    assert "Trade-off" in dom
    assert EVIL not in dom
    wanted = [p for p in asked if p != "/favicon.ico"]
    assert wanted == ["/r", "/trap", "/picture.png"]
