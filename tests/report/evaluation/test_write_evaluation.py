"""The files of an evaluation's report, and the page in a real browser: light, dark, narrow and on paper."""

import json
import re
import sys
from html import escape

import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")

from sri_sdk.errors import MissingExtra
from sri_sdk.report import drawing, write_evaluation
from sri_sdk.report.evaluation_figures import FIGURES

# Without its encoding said, a browser guesses it from the first bytes that it happened to read.
PROBE = """<!doctype html><meta charset="utf-8"><body>
<iframe id="page" style="border:0;width:%dpx;height:900px" srcdoc="%s"></iframe><script>
addEventListener("load", () => {
  const view = document.getElementById("page").contentWindow, root = view.document.documentElement;
  const made = document.documentElement.dataset;
  made.paper = view.getComputedStyle(view.document.querySelector("figure")).backgroundColor;
  made.shown = [...view.document.images].filter((image) => image.offsetWidth).length;
  made.broken = [...view.document.images].filter((image) => image.offsetWidth && !image.naturalWidth).length;
  made.beyond = root.scrollWidth - root.clientWidth;
  made.player = root.dataset.player;
});
</script></body>"""
"""A page that opens ours in a frame of a given width, and says how it came out."""


@pytest.fixture(scope="module")
def folder(quick, tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluation")
    write_evaluation(quick, folder)
    return folder


@pytest.fixture(scope="module")
def page(folder):
    return (folder / "report.html").read_text(encoding="utf-8")


@pytest.fixture
def undrawn(monkeypatch):
    monkeypatch.setattr(drawing, "render", lambda *_, **__: b"<svg/>")


def measured(browse, path, page, width, *flags):
    path.write_text(PROBE % (width, escape(page)), encoding="utf-8")
    done = browse("--dump-dom", "--window-size=1400,1000", "--hide-scrollbars", *flags, path)
    assert "Content Security Policy" not in done.stderr and "CONSOLE" not in done.stderr
    return dict(re.findall(r'data-(\w+)="([^"]*)"', re.search(r"<html[^>]*>", done.stdout)[0]))


def test_a_report_is_the_page_the_numbers_and_every_picture(folder):
    names = {"report.html", "results.json", "tables.md", *(f"{name}.png" for name in FIGURES)}
    assert {path.name for path in folder.iterdir()} == names
    assert (folder / "report.html").read_bytes().rstrip().endswith(b"</html>")
    assert all((folder / f"{name}.png").read_bytes().endswith(b"IEND\xaeB`\x82") for name in FIGURES)


def test_the_numbers_are_valid_json_with_counts_and_shares(folder, quick):
    held = json.loads((folder / "results.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    removed = held["models"][0]["guards"][0]["removed"]
    assert (removed["k"], removed["n"]) == (432, 696) and removed["value"] == pytest.approx(432 / 696)
    assert held["limit"] == 40 and len(held["examples"][0]["drafts"]) == 32
    assert held["title"] == quick.title


def test_hostile_records_are_valid_json_too(hostile, tmp_path, undrawn):
    write_evaluation(hostile, tmp_path)
    held = json.loads((tmp_path / "results.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    assert held["alpha"] is None and held["examples"][1]["threshold"] is None


def test_an_older_picture_does_not_stay_beside_a_new_page(evaluation, bare, tmp_path, undrawn):
    write_evaluation(evaluation, tmp_path)
    (tmp_path / "notes.png").write_bytes(b"mine")
    paths = write_evaluation(bare, tmp_path)
    assert [path.name for path in paths] == ["report.html", "results.json", "tables.md"]
    assert {path.name for path in tmp_path.iterdir()} == {"report.html", "results.json", "tables.md", "notes.png"}


def test_nothing_is_replaced_when_a_picture_fails(evaluation, tmp_path, undrawn, monkeypatch):
    write_evaluation(evaluation, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.setattr(drawing, "render", lambda _, theme, form, **__: b"" if form == "svg" else 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_evaluation(evaluation, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_missing_package_names_the_extra(evaluation, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for name in ("evaluation_figures", "evaluation_page", "drawing", "charts", "shell"):
        monkeypatch.delitem(sys.modules, f"sri_sdk.report.{name}", raising=False)
        monkeypatch.delattr(f"sri_sdk.report.{name}", raising=False)
    with pytest.raises(MissingExtra, match=r"sri-sdk\[report\]"):
        write_evaluation(evaluation, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (390, "light")])
def test_a_browser_shows_every_picture_and_nothing_beyond_the_edge(width, scheme, page, browse, tmp_path):
    # 0 = the browser prefers dark, 1 = light.
    preferred = f"--blink-settings=preferredColorScheme={int(scheme == 'light')}"
    found = measured(browse, tmp_path / "probe.html", page, width, preferred)
    assert found["player"] == "ready"
    assert (found["shown"], found["broken"], found["beyond"]) == (str(len(FIGURES)), "0", "0")
    assert found["paper"] == {"light": "rgb(255, 255, 255)", "dark": "rgb(23, 28, 36)"}[scheme]


def test_hostile_records_run_no_script_and_break_no_layout(hostile, browse, tmp_path, undrawn):
    write_evaluation(hostile, tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    found = measured(browse, tmp_path / "probe.html", page, 390)
    assert found["player"] == "ready" and found["beyond"] == "0"
    done = browse("--dump-dom", tmp_path / "out" / "report.html")
    assert not re.search(r"<html[^>]*data-owned", done.stdout)


def test_paper_holds_what_is_folded_on_the_screen(evaluation, browse, tmp_path, undrawn):
    write_evaluation(evaluation, tmp_path)
    whole = (tmp_path / "report.html").read_text(encoding="utf-8")
    (tmp_path / "short.html").write_text(re.sub(r"<details>.*?</details>", "", whole, flags=re.S), encoding="utf-8")

    def pages(name):
        pdf = tmp_path / f"{name}.pdf"
        browse(f"--print-to-pdf={pdf}", "--no-pdf-header-footer", tmp_path / f"{name}.html")
        return len(re.findall(rb"/Type\s*/Page\b", pdf.read_bytes()))

    assert pages("report") > pages("short") + 2 > 4
