"""The site of `make docs` as mkdocs checks it, in a second: without the Python names, and nothing is written."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("mkdocs", reason="the extra `docs` is not installed")

from mkdocs.config import load_config
from mkdocs.structure.files import Files, get_files
from mkdocs.structure.nav import get_navigation

ROOT = Path(__file__).parents[1]
OF_THE_REFERENCE = "the doc 'docs/api.md' does not contain an anchor '#sri_sdk."
"""These headings are made of docstrings, which is what takes the time of `make docs`."""


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> Callable[..., list[str]]:
    """warnings(without=PAGE): what would stop `make docs`, if the site lacked that page."""

    def found(without: str | None = None) -> list[str]:
        config = load_config(str(ROOT / "mkdocs.yml"), plugins=[])
        config.plugins.on_config(config)
        files = config.plugins.on_files(get_files(config), config=config)
        files = Files([file for file in files if file.src_uri != without])
        get_navigation(files, config)
        pages = [file.page for file in files.documentation_pages() if file.page is not None]
        for page in pages:
            page.read_source(config)
            page.render(config, files)
        for page in pages:
            page.validate_anchor_links(files=files, log_level=config.validation.links.anchors)
        said = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
        caplog.clear()
        return [each for each in said if OF_THE_REFERENCE not in each]

    return found


def test_every_link_of_the_site_leads_to_a_page_of_the_site(warnings: Callable[..., list[str]]) -> None:
    assert warnings() == [], "a file that pages link to, and that is no page: add it to PAGES in docs/site_pages.py"


def test_a_link_to_a_file_that_is_no_page_of_the_site_is_found(warnings: Callable[..., list[str]]) -> None:
    missing = "benchmarks/monitor_drift.md"
    assert (ROOT / missing).is_file()
    assert [each for each in warnings(without=missing) if "docs/" in each and f"'../{missing}'" in each]
