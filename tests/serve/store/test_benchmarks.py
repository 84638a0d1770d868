"""The benchmarks of the store run, and their page says what was measured."""

import pytest

pytest.importorskip("starlette")

from benchmarks.store import batches, dashboard, tables
from sri_sdk.strict_json import write


def test_the_page_has_the_numbers_that_are_kept():
    page = tables.PAGE.read_text(encoding="utf-8")
    assert tables.written(page) == page, "python -m benchmarks.store.tables writes it anew"
    assert tables.written(page.replace("| alone | ", "| alone | 9")) == page


def test_every_page_of_the_dashboard_is_measured_over_a_store_that_is_made_once(tmp_path):
    file = tmp_path / "3000.db"
    found = dashboard.measured(file, 3_000, 1)
    made = file.stat().st_ino
    paths = {path.partition("?")[0] for path in found["pages"]}
    assert {
        "/",
        "/now",
        "/live",
        "/live/rows",
        "/verdicts",
        "/verdicts/rows",
        "/audit",
        "/audit/promises",
        "/health",
    } <= paths
    assert all(page["median_ms"] > 0 and page["bytes"] > 500 for page in found["pages"].values())
    assert dashboard.measured(file, 3_000, 1)["pages"].keys() == found["pages"].keys() and file.stat().st_ino == made
    write(found)


def test_what_batches_gain_is_a_ratio_with_an_interval(tmp_path, monkeypatch):
    monkeypatch.setattr(batches, "programs", lambda: None)
    found = batches.measured(tmp_path, 3, memory=True)
    gain = found["databases"]["sqlite"]["gain"]
    assert gain["n"] == 3 and 0 < gain["low"] <= gain["median"] <= gain["high"]
    assert found["synced_write_ms"]["median"] > 0 and found["file_systems"]["sqlite"] != "not known"


def test_memory_is_no_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(batches, "programs", lambda: None)
    monkeypatch.setattr(batches, "file_system", lambda place: "tmpfs")
    with pytest.raises(SystemExit, match="says nothing of a disk"):
        batches.measured(tmp_path, 1)
