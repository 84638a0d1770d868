"""Pages of one guard and of a time: what they take in, and what they refuse."""

import re

import pytest

from sri_sdk.observation import Observation, Pulse
from sri_sdk.records import Verdict
from tests.dashboard.conftest import ACME
from tests.dashboard.looks import observation, seen, unseen
from tests.dashboard.make_believe import BUNDLE, FLAGGED, HOUR, NOW_MS, OTHER


@pytest.fixture
def silent_tap(fresh):
    """The guard `a` judged one generation of `chat`, and has seen nothing of the others; `code` runs another guard."""
    guards = ((Verdict(f"r{name}", "clear", bundle=name * 64), name) for name in "ab")
    fresh.observe([Observation(v, NOW_MS - HOUR, deployment="chat" if n == "a" else "code") for v, n in guards])
    fresh.observe([unseen(number) for number in range(7)] + [unseen(99, deployment="code")])
    fresh.pulse(Pulse("chat", NOW_MS, NOW_MS - HOUR, 1, "enforce", bundle="a" * 64, promised=0.01)).result()
    return fresh


def test_a_filter_by_guard_does_not_hide_what_it_did_not_see(silent_tap, browse):
    browser = browse(silent_tap)
    now = seen(browser.page(f"/?bundle={'a' * 64}"))
    assert "Not monitored787.5 % of all" in now.replace("\xa0", " ")
    assert "7 of the generations name no guard" in now
    page = browser.page(f"/verdicts?bundle={'a' * 64}")
    assert (
        "Not in this list: 7 generations that name no guard" in seen(page) and len(re.findall(r'id="v\w+"', page)) == 1
    )
    (link,) = re.findall(r'since 23 Aug.*?href="([^"]+)"', page, re.DOTALL)
    there = browser.page(link.replace("&amp;", "&"))
    assert len(re.findall(r'id="v\w+"', there)) == 7 and "Not in this list" not in there
    assert "8; no rate speaks" not in seen(browser.page("/audit")) and "7; no rate speaks" in seen(
        browser.page("/audit")
    )


def test_who_asks_for_flagged_verdicts_of_a_guard_is_not_told_of_unmonitored_ones(silent_tap, browse):
    assert "Not in this list" not in browse(silent_tap).page(f"/verdicts?bundle={'a' * 64}&status=flagged")


def test_a_time_of_minutes_is_honoured_to_the_minute_where_rows_are_read(fresh, browse):
    fresh.observe([unseen(number, NOW_MS - number * 60_000) for number in (3, 9, 14, 40)])
    browser = browse(fresh)
    counts = {
        time: len(re.findall(r'id="v\w+"', browser.page(f"/verdicts?time={time}"))) for time in ("10m", "15m", "1h")
    }
    assert counts == {"10m": 2, "15m": 3, "1h": 4}


def test_pages_of_counts_say_from_when_on_they_count(fresh, browse):
    """12 minutes past the hour: what is counted by hours begins earlier than it was asked for."""
    fresh.observe([unseen(1, NOW_MS - 100 * 60_000), unseen(2, NOW_MS - 130 * 60_000)])
    browser = browse(fresh)
    now = seen(browser.page("/?since=90m"))
    assert "last 90 minutes" in now and "Counted by whole hours: from 22 Sep 01:00 UTC until now." in now
    assert "Generations2traffic" in now, "both are of the hours that are shown"
    assert "Counted by whole days: from 15 Sep 00:00 UTC until now." in seen(browser.page("/?since=7d"))
    assert "Counted by whole hours: from 21 Sep 03:00 UTC until now." in seen(browser.page("/audit?since=24h"))


@pytest.mark.parametrize(
    "path", ["/?since=0m", "/health?since=1y", "/audit?since=401d", "/verdicts?time=5", "/?since=-1h"]
)
def test_a_time_that_is_none_is_refused_with_what_is_allowed(browser, path):
    got = browser.get(path)
    assert got.status == 400 and b"90m, 24h, 7d, up to 400d" in got.body


@pytest.mark.parametrize(
    "path, said",
    [
        ("/health?since=1y", "since: '1y' is not a time"),
        ("/verdicts?status=odd", "status: 'odd' is not a word that is known here; allowed: clear, flagged"),
        ("/verdicts?before=x", "before: 'x' is not a number"),
        ("/audit?base=-1", "base: '-1' is not a share"),
        ("/?since=" + "9" * 300, "since: '" + "9" * 40 + "...' is not a time"),
        ("/?since=%3Cb%3E", "since: '<b>' is not a time"),
        ("/?guard=4f0a1c9e6b7d", "'guard': not a parameter of this page; allowed: bundle, deployment, since."),
        ("/live?since=1h", "'since': not a parameter of this page; allowed: deployment."),
        ("/now?x=1", "'x': not a parameter of this page; allowed: none."),
        (f"/verdicts/{FLAGGED}?x=1", "'x': not a parameter of this page"),
        ("/health?bundle=4f0a", "'bundle': not a parameter of this page; allowed: deployment, since."),
        ("/audit?x=", "'x': not a parameter of this page; allowed: base, deployment, found, since."),
        ("/verdicts?since=1h&time=2h", "since and time: both are given"),
    ],
)
def test_a_refusal_says_what_was_found_and_what_is_allowed(browser, path, said):
    got = browser.get(path)
    assert got.status == 400 and said in seen(got.body.decode()) and b"<b>&" not in got.body


@pytest.mark.parametrize("page", ["/verdicts", "/", "/audit", "/health"])
def test_a_time_goes_by_both_of_its_names(browser, page):
    by_time, by_since = browser.page(f"{page}?time=90m"), browser.page(f"{page}?since=90m")
    assert by_time == by_since != browser.page(page)


@pytest.mark.parametrize("page", ["/?", "/verdicts?", "/verdicts?status=flagged&"])
def test_a_guard_is_found_by_how_its_digest_begins(browser, page):
    short, whole = (browser.page(f"{page}bundle={each}") for each in (BUNDLE[:12], BUNDLE))
    assert short == whole and f'value="{BUNDLE}" selected' in short


def test_a_guard_that_has_judged_nothing_yet_is_known_by_its_monitor(fresh, browse):
    fresh.pulse(Pulse("chat", NOW_MS, NOW_MS - HOUR, 1, "enforce", bundle="sha256:" + "a" * 64)).result()
    assert "Generations" in browse(fresh).page("/?bundle=aaaaaaaaaaaa")


def test_no_guard_and_several_are_refused_with_those_that_are_known(browser, browse, fresh, tokens):
    got = browser.get("/?bundle=zzzz")
    said = seen(got.body.decode())
    assert got.status == 400 and "bundle: 'zzzz' is how no guard begins" in said
    assert BUNDLE[:12] in said and OTHER[:12] in said
    fresh.observe([observation(n * 32, verdict=Verdict(n, "clear", bundle=f"ab{n}" + "0" * 61)) for n in "12"])
    got = browse(fresh).get("/verdicts?bundle=ab")
    said = seen(got.body.decode())
    assert got.status == 400 and "'ab' is how several guards begin" in said and "ab1000000000, ab2000000000" in said
    tenant = browse(fresh, tokens)
    tenant.log_in(ACME)
    said = tenant.get("/verdicts?bundle=zz").body.decode()
    assert "no guard begins" in said and "ab1" not in said, "guards of others are not told"


@pytest.mark.parametrize("path", ["/", "/health", "/audit"])
def test_a_time_that_is_not_offered_is_shown_and_lit(browser, path):
    assert re.findall(r'aria-current="true">([^<]+)<', browser.page(f"{path}?since=90m")) == ["90m"]
    assert re.findall(r'aria-current="true">([^<]+)<', browser.page(f"{path}?since=7d")) == ["7d"]
    assert ">90m<" not in browser.page(path)


def test_health_says_of_which_time_its_scores_are(browser):
    assert "Scores over time are of the last 90 minutes, and so are" in seen(browser.page("/health?since=90m"))


def test_a_month_is_counted_by_days_and_a_week_by_six_hours(fresh, browse, monkeypatch):
    """A month of single hours would be a hundred thousand counts."""
    asked = []
    hours = fresh.hours
    monkeypatch.setattr(fresh, "hours", lambda *a, **more: asked.append(more.get("together", 1)) or hours(*a, **more))
    fresh.observe([unseen(1)])
    browser = browse(fresh)
    for since, together in (("24h", 1), ("7d", 6), ("30d", 24)):
        asked.clear()
        browser.page(f"/?since={since}")
        assert together in asked, since
