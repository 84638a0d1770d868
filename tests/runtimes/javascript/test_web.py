"""The page: built from packages of npm, and opened in a real browser."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(900)

BROWSERS = "chromium", "chromium-browser", "google-chrome", "chrome"


@pytest.fixture(scope="module")
def built(packages: Callable[[str], Path]) -> Path:
    """The folder of the package, with the page in `dist`."""
    folder = packages("web")
    subprocess.run(["node", "build.mjs"], cwd=folder, check=True, capture_output=True, timeout=120)
    return folder


def test_the_page_in_a_browser(built: Path, parted: Path, demanding: Path) -> None:
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip("no chromium or chrome on PATH to open the page with")
    files = sorted(str(file) for file in (built / "test").glob("*.test.js"))
    # One browser after the other: each takes its core.
    command = ["node", "--test", "--test-concurrency=1", *files]
    environment = {**os.environ, "SRI_BROWSER": browser, "SRI_PARTED": str(parted), "SRI_DEMANDING": str(demanding)}
    done = subprocess.run(command, cwd=built, env=environment, capture_output=True, text=True)
    failed = [line for line in done.stdout.splitlines() if line.lstrip().startswith("not ok")]
    assert done.returncode == 0, "\n".join([*failed, done.stdout[-4000:], done.stderr])
    assert "# skipped 0" in done.stdout


def test_the_page_names_no_other_server(built: Path) -> None:
    own = [built / "dist/index.html", built / "dist/page.css", *(built / "dist/page").iterdir()]
    text = "".join(file.read_text(encoding="utf-8") for file in own)
    assert not re.findall(r"\b(?:https?|wss?):|//[a-z]+\.[a-z]", text)
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', text)
    assert policy.startswith("default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; connect-src")
    # Of inline code and styles there is none to allow.
    assert not re.findall(r"<script(?! type=\"module\" src=)|<style| style=| on[a-z]+=", own[0].read_text())


def test_the_page_holds_what_it_needs_and_nothing_of_node(built: Path) -> None:
    shipped = {str(file.relative_to(built / "dist")) for file in (built / "dist").rglob("*") if file.is_file()}
    needed = {"index.html", "page.css", "page/app.js", "sri-guard/browser.js", "ort/ort.mjs", "ort/ort.wasm"}
    assert needed <= shipped
    for name in shipped:
        if name.startswith(("sri-guard/", "page/")):
            text = (built / "dist" / name).read_text(encoding="utf-8")
            for wanted in re.findall(r'^(?:import|export) [^;]*?from "([^"]+)"', text, re.MULTILINE | re.DOTALL):
                target = (built / "dist" / name).parent / wanted
                assert target.resolve().is_file(), f"{name} imports {wanted}"
