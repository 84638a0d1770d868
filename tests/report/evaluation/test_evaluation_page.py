"""The page of an evaluation: whole, self-contained, and deaf to what its records ask of it."""

import json
import re

import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")

from sri_sdk.report import drawing, evaluation_page
from sri_sdk.report.evaluation_figures import drawings


@pytest.fixture
def rendered(monkeypatch):
    """Renders a page whose pictures are empty: they have tests of their own."""
    monkeypatch.setattr(drawing, "render", lambda *_, **__: b"<svg/>")
    return lambda evaluation: evaluation_page.render(evaluation, drawings(evaluation))


def text_of(page):
    return re.sub(r"<[^>]*>", " ", re.sub(r"<(script|style)[^>]*>.*?</\1>", "", page, flags=re.S))


@pytest.mark.parametrize("which", ["evaluation", "huge", "bare", "hostile"])
def test_the_page_asks_for_nothing_outside_itself(which, request, rendered, elements):
    found = elements(rendered(request.getfixturevalue(which)))
    ids = [attrs["id"] for _, attrs in found.found if "id" in attrs]
    assert len(ids) == len(set(ids))
    for tag, attrs in found.found:
        for name in ("src", "srcset", "href", "action", "data", "poster"):
            assert attrs.get(name, "#").startswith(("data:image/svg+xml;base64,", "#")), (tag, name)
        assert tag not in {"link", "iframe", "object", "embed", "base", "form"}
        assert not any(name.startswith("on") or name == "style" for name in attrs), (tag, attrs)
    assert all(attrs["href"].removeprefix("#") in ids for attrs in found.all("a"))


def test_text_of_records_never_becomes_markup(rendered, hostile, elements):
    page = rendered(hostile)
    kinds = [attrs.get("type") for attrs in elements(page).all("script")]
    assert kinds == ["application/json", "application/json", None]
    assert len(elements(page).all("img")) == 2 * len(drawings(hostile)), "one per figure and theme"
    assert "{{ 7*7 }}" in page and "&lt;script&gt;" in page and "<img src=x" not in page


def test_only_our_script_and_our_style_may_run(rendered, evaluation, elements):
    found = elements(rendered(evaluation)).all("meta")
    policy = next(m["content"] for m in found if m.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert "unsafe" not in policy and "http" not in policy


@pytest.mark.parametrize("which", ["bare", "hostile"])
def test_what_was_not_measured_is_said_and_never_nan(which, request, rendered):
    text = text_of(rendered(request.getfixturevalue(which)))
    assert not re.search(r"\b(nan|inf|None|NaN)\b", text)
    assert "no cases" in text


def test_parts_without_a_number_are_named_as_missing(rendered, bare):
    text = text_of(rendered(bare))
    assert "Not in this report" in text
    assert "Guards side by side: no guard was compared." in text
    assert "Attacks, and what remains of them: no attack was run." in text


def test_every_number_of_the_figures_stands_in_a_table(rendered, evaluation):
    text = text_of(rendered(evaluation)).replace("\xa0", " ")
    for model in evaluation.models:
        for rate in (
            *(attack.success for attack in model.attacks if attack.success.n),
            *model.recovery.values(),
            *model.internal_recovery.values(),
            *(guard.removed for guard in model.guards),
            *(rate for guard in model.guards for rate in guard.harmless_sets.values()),
        ):
            assert f"{100 * rate.low:.1f} to {100 * rate.high:.1f}; {rate.k:,} of {rate.n:,}" in text
        for separation in model.separations:
            assert f"{separation.auroc.value:.3f}" in text
    assert "needs 3,000 harmless generations, found 2,000" in text, "why a rate is not reported"
    assert "no prompt is common to both" in text and "15 min 12 s" in text


def test_a_quick_look_says_so_above_the_finding(rendered, quick, evaluation):
    page = rendered(quick)
    assert page.index("Quick look: at most 40 prompts per group.") < page.index('<p class="finding"')
    assert "Quick look" not in rendered(evaluation)


def test_the_player_holds_every_draft_and_the_alarm(rendered, evaluation, elements):
    held = [json.loads(text) for text in elements(rendered(evaluation)).scripts[:-1]]
    assert [[frame["text"] for frame in frames] for frames in held] == [list(e.drafts) for e in evaluation.examples]
    assert held[1][9]["alarm"] and not held[1][8]["alarm"] and not held[0][31]["alarm"]


def test_the_same_evaluation_gives_the_same_page(rendered, evaluation):
    assert rendered(evaluation) == rendered(evaluation)


def test_figures_have_words_and_tables_have_headers(rendered, evaluation, elements):
    found = elements(rendered(evaluation))
    assert all(len(attrs["alt"]) > 20 for attrs in found.all("img"))
    assert all(attrs.get("scope") in {"col", "row"} for attrs in found.all("th"))
    assert len(found.all("details")) == len(found.all("summary")) > 8
