"""Every page says what it should, to whom it may, and lets nothing in the store become markup."""

import re

import pytest

from sri_sdk.dashboard.pages.verdicts import PER_PAGE
from tests.dashboard.looks import Elements, seen
from tests.dashboard.make_believe import FLAGGED, HOSTILE

PAGES = (
    "/", "/?since=7d", "/?since=30d&deployment=chat", "/live", "/verdicts", "/verdicts?status=flagged",
    "/verdicts?kind=canary", f"/verdicts/{FLAGGED}", f"/verdicts/{HOSTILE}", "/audit", "/audit?base=0.2&found=80",
    "/health", "/health?since=7d&deployment=chat",
)  # fmt: skip

PARTS = "/now", "/live/rows", "/verdicts/rows", "/audit/promises"


@pytest.mark.parametrize("path", [*PAGES, *PARTS])
def test_a_page_has_no_code_and_no_style_in_it_and_loads_only_from_here(browser, path):
    got = browser.get(path)
    assert got.status == 200
    policy = got.headers[b"content-security-policy"].decode()
    assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
    assert got.headers[b"x-content-type-options"] == b"nosniff" and got.headers[b"cache-control"] == b"no-store"
    elements = Elements(got.body.decode())
    for tag, attrs in elements.found:
        assert tag not in ("style", "iframe", "object", "embed", "base", "img"), tag
        assert tag != "script" or set(attrs) == {"src", "defer"}, attrs
        assert not any(name.startswith(("on", "hx-on")) or name == "style" for name in attrs), (tag, attrs)
        for name in ("src", "href", "action", "hx-get", "hx-post"):
            assert (attrs.get(name) or "/").startswith(("/", "#")), (tag, name, attrs[name])
            assert not (attrs.get(name) or "").startswith("//")


@pytest.mark.parametrize("path", [*PAGES, *PARTS])
def test_hostile_names_ids_and_texts_are_text(browser, path):
    page = browser.page(path)
    assert "<script>document" not in page and "<img src=x" not in page
    # Marks of direction may stand in texts, which are isolated; never in ids and names.
    assert "\x1b" not in page and "\x07" not in page
    if path != f"/verdicts/{HOSTILE}" and not path.startswith("/live"):
        assert "\u202e" not in page and "\u2066" not in page


def test_a_hostile_id_is_shown_with_its_codes(browser):
    text = seen(browser.page(f"/verdicts/{HOSTILE}"))
    assert "<script>document.title='owned'</script>" in text and "\\u202eright to left" in text and "\\x1b[31m" in text


def test_now_says_what_is_wrong_since_when_and_what_to_do(browser):
    text = seen(browser.page("/"))
    assert "2 things need you now, 2 can wait." in text
    assert "Act nowsince 02:55:05 UTC · 17 min ago Monitor batch is silent." in text
    assert "The guard of chat missed its canary: it called it clear." in text
    assert "since 01:03:05 UTC" in text, "a canary was flagged then for the last time"
    assert "What to do See whether process 812 still runs" in text
    assert "Sink webhook of chat fails: HTTP 503 from the receiver; refused 3 for good." in text
    assert "seen since 03:12:05 UTC, may be older" in text


def test_now_tells_a_quiet_guard_from_a_broken_one(browse, calm_store):
    page = browse(calm_store).page("/")
    assert "Nothing needs you." in page and 'data-state="ok"' in page
    assert "chat flagged its canary 9 min ago: it is quiet because nothing is wrong" in seen(page)


def test_an_empty_store_says_how_to_begin(browse, fresh):
    text = seen(browse(fresh).page("/"))
    assert "Nothing has been stored yet." in text and "sri monitor" in text


@pytest.mark.parametrize("path", PAGES[:1] + PAGES[3:6] + PAGES[9:10] + PAGES[11:12])
def test_every_page_stands_without_anything_in_the_store(browse, fresh, path):
    browse(fresh).page(path)


def test_unmonitored_reasons_come_with_their_cure(browser):
    text = seen(browser.page("/?since=7d"))
    assert "tap_silent" in text and "The tap sees nothing of the model." in text


def test_verdicts_are_filtered_and_paged(browser):
    rows = re.findall(r'class="verdict-row (\w+)"', browser.page("/verdicts?status=flagged"))
    assert rows and set(rows) == {"flagged"}
    first = browser.page("/verdicts")
    (older,) = re.findall(r'rel="next" href="([^"]+)"', first)
    ids = re.findall(r'href="/verdicts/([0-9a-f]{32})"', first)
    after = re.findall(r'href="/verdicts/([0-9a-f]{32})"', browser.page(older.replace("&amp;", "&")))
    assert len(ids) == PER_PAGE and after and not set(ids) & set(after)


def test_a_whole_id_leads_to_its_verdict(browser):
    got = browser.get(f"/verdicts?q={FLAGGED}")
    assert got.status == 303 and got.headers[b"location"] == f"/verdicts/{FLAGGED}".encode()
    assert 'value="zzz"' in browser.page("/verdicts?q=zzz") and "No verdict fits." in browser.page("/verdicts?q=zzz")


@pytest.mark.parametrize(
    "path",
    ["/verdicts?status=odd", "/verdicts?before=x", "/verdicts?since=1&since=2", "/?since=1y", "/audit?base=-1",
     "/verdicts?q=" + "x" * 600, "/verdicts?q=%ff"],
)  # fmt: skip
def test_what_cannot_be_asked_is_refused_with_words(browser, path):
    got = browser.get(path)
    assert got.status == 400 and b"That cannot be shown" in got.body


def test_one_verdict_has_its_trajectory_parts_texts_and_consequence(browser):
    page = browser.page(f"/verdicts/{FLAGGED}")
    text = seen(page)
    assert "Flagged after step 10 of 32." in text and "In mode enforce the policy would have withheld it." in text
    assert "behaviour" in text and "How do I make an omelette?" in text and "Drafts after each of 3 steps" in text
    assert '"alarm":10' in page.replace("&#34;", '"')


def test_texts_are_shown_only_where_they_are_stored(browser, store):
    some = store.stream().rows[-1].observation
    assert some.prompt is None
    text = seen(browser.page(f"/verdicts/{some.id}"))
    assert "No texts are stored here" in text and "Response" not in text


def test_an_unknown_verdict_and_page_are_404(browser):
    assert b"Nothing is kept under this id." in browser.get("/verdicts/nobody").body
    assert [browser.get(path).status for path in ("/verdicts/nobody", "/nowhere", "/static/../app.py")] == [404] * 3
    assert browser.ask("DELETE", "/").status == 405


def test_live_shows_drafts_only_where_there_are_some(browser):
    text = seen(browser.page("/live"))
    assert "5 generations run." in text and "step 14 of 32" in text and "Whisk two eggs with a spoon" in text
    assert "Monitor batch is silent" in text


def test_audit_measures_the_rate_against_the_promise(browser):
    text = seen(browser.page("/audit"))
    assert "promised 1 %" in text and "95 % interval" in text
    assert "Waiting for a label" in text and "1 in 1,000" in text


def test_health_shows_canaries_sinks_and_accounts(browser):
    text = seen(browser.page("/health"))
    assert "The last one was missed: called clear." in text and "HTTP 503 from the receiver" in text
    assert "Scores differ: part behaviour" in text and "sum up to all generations." in text


def test_a_store_that_is_gone_is_said_with_503(browse, fresh):
    browser = browse(fresh)
    fresh.close()
    got = browser.get("/")
    assert got.status == 503 and b"The store does not answer" in got.body and got.headers[b"retry-after"]


def test_a_page_that_fails_says_so_without_what_it_failed_on(browse, fresh, monkeypatch, caplog):
    def fails(*_, **__):
        raise RuntimeError(typed)

    typed = "a text that somebody typed"

    monkeypatch.setattr(fresh, "running", fails)
    got = browse(fresh).get("/live")
    assert got.status == 500 and b"bug of the dashboard" in got.body
    assert "RuntimeError" in caplog.text and "somebody typed" not in caplog.text + got.body.decode()
