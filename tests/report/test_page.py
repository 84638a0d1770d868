"""The page: whole, self-contained, and deaf to what prompts and responses ask of it."""

import json
import re
import subprocess
import sys
from dataclasses import replace

import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")

from sri_sdk.errors import MissingExtra
from sri_sdk.report import write_report


@pytest.fixture(scope="module")
def folder(report, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    write_report(report, folder)
    return folder


@pytest.fixture(scope="module")
def nasty_folder(nasty, tmp_path_factory):
    folder = tmp_path_factory.mktemp("nasty")
    write_report(nasty, folder)
    return folder


@pytest.fixture(scope="module")
def page(folder):
    return (folder / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def nasty_page(nasty_folder):
    return (nasty_folder / "report.html").read_text(encoding="utf-8")


def test_a_report_is_four_whole_files_and_nothing_else(folder):
    assert sorted(path.name for path in folder.iterdir()) == [
        "rates.png",
        "report.html",
        "scores.png",
        "trajectories.png",
    ]
    assert (folder / "report.html").read_bytes().rstrip().endswith(b"</html>")
    assert all((folder / f"{name}.png").read_bytes().endswith(b"IEND\xaeB`\x82") for name in ("rates", "scores"))


def test_the_paths_come_back_with_the_page_first(report, tmp_path, monkeypatch):
    from sri_sdk.report import drawing

    monkeypatch.setattr(drawing, "render", lambda *_, **__: b"<svg/>")
    paths = write_report(report, tmp_path / "new" / "folder")
    assert [path.name for path in paths] == ["report.html", "trajectories.png", "scores.png", "rates.png"]
    assert all(path.is_file() for path in paths)


@pytest.mark.parametrize("which", ["page", "nasty_page"])
def test_the_page_asks_for_nothing_outside_itself(which, request, elements):
    found = elements(request.getfixturevalue(which))
    for tag, attrs in found.found:
        for name in ("src", "srcset", "href", "action", "data", "poster"):
            assert attrs.get(name, "#").startswith(("data:image/svg+xml;base64,", "#")), (tag, name)
        assert tag not in {"link", "iframe", "object", "embed", "base", "form", "a"}
        assert not any(name.startswith("on") or name == "style" for name in attrs), (tag, attrs)


def test_text_of_prompts_and_responses_never_becomes_markup(nasty_page, elements):
    found = elements(nasty_page)
    kinds = [attrs.get("type") for attrs in found.all("script")]
    assert kinds == ["application/json", "application/json", None]
    assert len(found.all("img")) == 6, "one per figure and theme"
    assert "{{" in nasty_page and "&lt;script&gt;" in nasty_page and "&lt;img src=x" in nasty_page


def test_the_step_player_holds_every_draft(report, page, elements):
    held = [json.loads(text) for text in elements(page).scripts[:-1]]
    assert [[frame["text"] for frame in frames] for frames in held] == [
        [draft.text for draft in item.drafts] for item in report.trajectories
    ]
    assert held[2][9]["alarm"] and not held[2][8]["alarm"]


def test_only_our_script_and_our_style_may_run(page, elements):
    policy = next(m["content"] for m in elements(page).all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert "unsafe" not in policy and "http" not in policy


def test_both_themes_and_both_widths_are_there(page):
    pictures = re.findall(r'<picture class="on-(light|dark)">\s*<source media="[^"]*max-width[^"]*"', page)
    assert pictures == ["light", "dark"] * 3
    assert "prefers-color-scheme: dark" in page and "@media print" in page


def test_figures_have_words_and_tables_have_headers(page, elements):
    found = elements(page)
    assert all(len(attrs["alt"]) > 20 for attrs in found.all("img"))
    assert all(attrs.get("scope") in {"col", "row"} for attrs in found.all("th"))
    ids = [attrs["id"] for _, attrs in found.found if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert all(attrs["for"] in ids for attrs in found.all("label"))


def test_a_refusal_that_the_guard_saw_is_called_one(report, tmp_path, monkeypatch):
    from sri_sdk.report import drawing

    monkeypatch.setattr(drawing, "render", lambda *_, **__: b"<svg/>")
    refused = report.trajectories[1]
    seen = replace(refused, verdict=replace(refused.verdict, status="flagged", reasons=("score_above_threshold",)))
    path, *_ = write_report(replace(report, trajectories=(seen,)), tmp_path)
    said = "The signal left the harmless range. The model refused, and the guard noticed."
    assert f'<p class="remark">{said}</p>' in path.read_text(encoding="utf-8")


def test_a_card_says_why_what_each_part_found_and_how_it_ended(page):
    assert '<p class="remark">The request reads as harmful; the signal left the harmless range.</p>' in page
    for name, value in (
        ("Part behaviour", "flagged, 4.02 above 1.31"), ("Part asked", "flagged, 6.64 above -4.09"),
        ("Ended", "complying"), ("Ended", "refusing"),
    ):  # fmt: skip
        assert f"<dt>{name}</dt><dd>{value}</dd>" in page


def test_what_was_not_measured_is_a_dash_and_never_nan(nasty_page):
    text = re.sub(r"data:image[^\"]*", "", nasty_page)
    assert "not monitored" in text and "no cases" in text and "Not measured" in text
    assert not re.search(r"\bnan\b|\binf\b|\bNone\b", text)


def test_the_same_report_gives_the_same_page(report, page):
    from sri_sdk.report import fit_figures, fit_page

    assert fit_page.render(report, fit_figures.drawings(report)) == page


def test_a_missing_package_names_the_extra(report, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for name in ("fit_figures", "fit_page", "drawing", "charts", "shell"):
        monkeypatch.delitem(sys.modules, f"sri_sdk.report.{name}", raising=False)
        monkeypatch.delattr(f"sri_sdk.report.{name}", raising=False)
    with pytest.raises(MissingExtra, match=r"sri-sdk\[report\]"):
        write_report(report, tmp_path)
    assert not list(tmp_path.iterdir())


def test_importing_the_package_needs_neither_matplotlib_nor_jinja2():
    code = "import sys, sri_sdk.report; sys.exit(bool({'matplotlib', 'jinja2', 'torch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("which", ["folder", "nasty_folder"])
def test_a_browser_runs_the_player_and_no_one_elses_script(which, request, browse):
    done = browse("--dump-dom", request.getfixturevalue(which) / "report.html")
    assert re.search(r'<html[^>]*data-player="ready"', done.stdout)
    assert not re.search(r"<html[^>]*data-owned", done.stdout)
    assert "Content Security Policy" not in done.stderr and "CONSOLE" not in done.stderr
    assert re.search(r'<div class="controls" data-part="controls">', done.stdout), "the slider is still hidden"
