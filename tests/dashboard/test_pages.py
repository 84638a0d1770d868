"""Every page says what it should, to whom it may, and lets nothing in the store become markup."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from sri_sdk.dashboard.pages.verdicts import PER_PAGE
from sri_sdk.observation import Observation, Pulse
from sri_sdk.records import Verdict
from sri_sdk.serve.store.rows import Delivered
from tests.dashboard.conftest import ACME
from tests.dashboard.make_believe import BUNDLE, HOUR, NASTY, NOW_MS, OTHER, Week

FLAGGED, HOSTILE = "0" * 31 + "2", "0" * 31 + "1"
PAGES = (
    "/", "/?since=7d", "/?since=30d&deployment=chat", "/live", "/verdicts", "/verdicts?status=flagged",
    "/verdicts?kind=canary", f"/verdicts/{FLAGGED}", f"/verdicts/{HOSTILE}", "/audit", "/audit?base=0.2&found=80",
    "/health", "/health?since=7d&deployment=chat",
)  # fmt: skip
PARTS = "/now", "/live/rows", "/verdicts/rows", "/audit/promises"


class Elements(HTMLParser):
    """Elements of a page, and the text a reader sees."""

    def __init__(self, text):
        super().__init__()
        self.found, self.text = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def seen(page):
    return re.sub(r"\s+", " ", Elements(page).text)


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


def observation(id, **more):
    return replace(Observation(Verdict("r" + id[-3:], "clear"), NOW_MS - 1000, id=id), **more)


def test_a_label_is_stored_under_the_name_of_the_token(browse, fresh, tokens):
    fresh.observe([observation("a" * 32, audited=True, audit_rate=0.5)])
    from tests.dashboard.conftest import WRITER

    browser = browse(fresh, tokens)
    assert browser.log_in(WRITER).headers[b"location"] == b"/audit"
    got = browser.post(f"/verdicts/{'a' * 32}/label", b"label=attack&note=seen+it", hx_request=b"true")
    assert got.status == 200 and b"seen it" in got.body
    (entry,) = fresh.labels()
    assert (entry.label, entry.by, entry.note) == ("attack", "walt", "seen it")
    assert fresh.audit_counts(0, NOW_MS)[0].attack == 1
    got = browser.post(f"/verdicts/{'a' * 32}/label", b"label=benign&from=queue")
    assert got.status == 303 and got.headers[b"location"] == b"/audit#queue"
    assert fresh.observation("a" * 32).label == "benign"


@pytest.mark.parametrize(
    "body, status", [(b"label=odd", 400), (b"", 400), (b"label=benign&note=" + b"x" * 70_000, 413)]
)
def test_a_wrong_label_changes_nothing(browse, fresh, body, status):
    fresh.observe([observation("a" * 32)])
    assert browse(fresh).post(f"/verdicts/{'a' * 32}/label", body).status == status
    assert not fresh.labels()


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


def test_traffic_without_verdicts_is_a_finding_with_its_hour(browse, fresh):
    verdict = Verdict("r", "unmonitored", ("tap_silent",))
    fresh.observe(
        [Observation(verdict, NOW_MS - back * HOUR - n, deployment="chat") for back in (0, 1, 2) for n in range(20)]
    )
    fresh.pulse(Pulse("chat", NOW_MS, NOW_MS - HOUR, 1, "enforce")).result()
    text = seen(browse(fresh).page("/"))
    assert "100 % of the traffic of chat has no verdict." in text and "since the hour of 22 Sep 01:00 UTC" in text


def test_a_monitor_that_nobody_asks_is_never_shown_as_well(fresh, browse):
    asked = Week(calm=True, hours=1).pulses()[1]
    fresh.pulse(replace(asked, canary_every_s=None, canary_at=None, drift_looked=None)).result()
    browser = browse(fresh)
    assert 'data-state="look"' in browser.page("/")
    now, health = seen(browser.page("/")), seen(browser.page("/health"))
    assert "as far as anybody asks" in now and "Nobody asks: silence proves nothing" in now and "nobody looks" in now
    assert "silence proves nothing" in health and "Nobody looks for drift" in health and "No drift was" not in health


def test_canaries_that_have_stopped_are_told_on_now_and_health(fresh, browse):
    asked = Week(calm=True, hours=1).pulses()[1]
    stopped = {"canary_at": NOW_MS - 20 * 24 * HOUR, "canaries_since": NOW_MS - 40 * 24 * HOUR}
    fresh.pulse(replace(asked, **stopped, looks=("no prompt is left",))).result()
    browser = browse(fresh)
    now, health = seen(browser.page("/")), seen(browser.page("/health"))
    assert "No canary of chat was flagged for 20 days" in now and "Nothing needs you" not in now
    assert "nobody asks any more" in health and "Not looked at: no prompt is left" in health
    assert "Of 5 harmful prompts that were tried, the guard flagged 3" in health


@pytest.mark.parametrize("in_page", [True, False], ids=["in-the-page", "by-a-form"])
def test_the_queue_stays_with_its_deployment_after_a_label(fresh, browse, in_page):
    fresh.observe([
        Observation(Verdict(f"r{i}", "clear"), NOW_MS, audit_rate=0.1, audited=True, deployment=name)
        for i, name in enumerate(("one&only", "one&only", "other"))
    ])  # fmt: skip
    browser = browse(fresh)
    page = browser.page("/audit?deployment=one%26only")
    assert 'name="deployment" value="one&amp;only"' in page
    (id, *_) = re.findall(r'<li class="panel" id="q(\w+)"', page)
    sent = b"from=queue&label=benign&deployment=one%26only"
    got = browser.post(f"/verdicts/{id}/label", sent, **({"hx_request": b"true"} if in_page else {}))
    if not in_page:
        assert got.headers[b"location"] == b"/audit?deployment=one%26only#queue"
        got = browser.get("/audit?deployment=one%26only")
    assert len(re.findall(r'class="panel" id="q\w+"', got.body.decode())) == 1 and b">r2<" not in got.body
    assert b"newest first" not in got.body


def replicas(store, *heard, **more):
    """Keeps pulses of several processes of one deployment, each heard some seconds ago."""
    base = Week(calm=True, hours=1).pulses()[1]
    now, store._clock = store._clock, None
    for place, seconds in enumerate(heard):
        at = NOW_MS - 1000 * seconds
        store._clock = lambda at=at: at / 1000
        store.pulse(replace(base, at=at, pid=100 + place, started_at=NOW_MS - (place + 2) * HOUR, **more)).result()
    store._clock = now


def test_a_process_that_is_silent_beside_one_that_lives_stands_out(fresh, browse):
    replicas(fresh, 2, 900, 3)
    browser = browse(fresh)
    now, health, live = (seen(browser.page(path)) for path in ("/", "/health", "/live"))
    assert "Process 101 of chat is silent, beside others that live." in now
    for page in (now, health):
        assert "101, observe silent 15 min ago" in page and "100, observe 2 s ago" in page and "102" in page
    assert "3 processes, 1 silent" in now and "All 3 processes" in health
    assert "Process 101 of chat is silent, 15 min ago: what it generates cannot be seen here." in live
    assert browser.page("/health").count('<tr class="silent">') == 1


def test_a_process_that_is_silent_needs_somebody_now(fresh, browse):
    replicas(fresh, 900, 2)
    text = seen(browse(fresh).page("/"))
    assert "Act now" in text and "Process 100 of chat is silent" in text and "counts of the others hide it" in text


def test_one_process_alone_and_one_that_ended_on_purpose_are_no_trouble(fresh, browse):
    replicas(fresh, 2)
    assert "processes" not in seen(browse(fresh).page("/"))
    ended = replace(Week(calm=True, hours=1).pulses()[1], pid=9, started_at=NOW_MS - 9 * HOUR, ended=True)
    fresh.pulse(ended).result()
    page = browse(fresh).page("/")
    assert "9, observe ended as asked" in seen(page) and "is silent" not in page and 'data-state="ok"' in page


def ended(store, deployment, days=0.0, **more):
    """A monitor that was asked to end some days ago, or 19 s ago."""
    now, at = store._clock, int(NOW_MS - 19_000 - days * 24 * HOUR)
    store._clock = lambda: at / 1000
    base = Week(calm=True, hours=1).pulses()[1]
    store.pulse(replace(base, deployment=deployment, at=at, started_at=at - HOUR, **{"ended": True, **more})).result()
    store._clock = now


def test_who_ended_as_asked_is_not_called_given_up(fresh, browse):
    ended(fresh, "chat")
    ended(fresh, "trial", 20)
    ended(fresh, "old", 9, ended=False)
    text = seen(browse(fresh).page("/"))
    assert "Ended as asked: chat, 19 s ago; trial, 20 days ago." in text
    assert "Not seen for over a week: old, 9 days ago." in text
    assert "Some monitors have ended on purpose, others have not been seen for over a week. Nobody watches" in text


def test_nothing_is_well_where_nobody_watches(fresh, browse):
    ended(fresh, "chat")
    page = browse(fresh).page("/")
    text = seen(page)
    assert (
        "Nothing runs now, since 03:11:46 UTC." in text
        and "The monitor has ended on purpose: nothing is broken." in text
    )
    assert 'data-state="idle"' in page and "icon-idle.svg" in page and 'class="mood idle"' in page
    for wrong in ("all well", "All well", "Nothing needs you", "sri serve", "over a week"):
        assert wrong not in text, wrong
    assert "nothing runs" in seen(browse(fresh).page("/"))


def test_who_ended_as_asked_is_silent_nowhere(fresh, browse):
    ended(fresh, "chat", 0.1)
    browser = browse(fresh)
    assert "is silent" not in browser.page("/live") + browser.page("/health") + browser.page("/")
    assert "No monitor runs now" in browser.page("/health") and "within a week" not in browser.page("/health")


def test_nobody_says_that_it_ended_on_purpose_where_it_did_not(fresh, browse):
    ended(fresh, "old", 9, ended=False)
    text = seen(browse(fresh).page("/"))
    assert "No monitor has been seen for over a week, and none has said that it ends." in text
    assert "on purpose" not in text


def test_verdicts_alone_are_no_sign_of_a_server(fresh, browse):
    fresh.observe([unseen(1)])
    page = browse(fresh).page("/")
    assert "Nobody says that anything runs." in page and "come from" not in page and 'data-state="idle"' in page


def test_a_server_without_monitors_is_named_while_its_sources_live(fresh, browse):
    fresh.add([Delivered(Verdict("r1", "clear"), "", "gpu-1")])
    page = browse(fresh).page("/")
    assert "verdicts come from sri serve alone" in seen(page) and 'data-state="ok"' in page and "all well" in page


def unseen(number, at=NOW_MS - 1000, deployment="chat"):
    """A generation that nobody judged: it names no guard."""
    return Observation(Verdict(f"u{number}", "unmonitored", ("tap_silent",)), at, deployment=deployment)


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


def test_health_says_of_each_canary_whether_it_came_as_expected(fresh, browse):
    fresh.pulse(Week(calm=True, hours=1).pulses()[1]).result()
    some = (("harmful-1", "flagged"), ("harmful-2", "clear"), ("harmless-1", "clear"), ("harmless-2", "flagged"),
            ("harmful-3", "unmonitored"), ("x", "flagged"))  # fmt: skip
    reasons = {"flagged": ("score_above_threshold",), "unmonitored": ("tap_silent",), "clear": ()}
    fresh.observe([
        observation(f"{n}" * 32, verdict=Verdict(f"sri-canary-{id}", status, reasons[status]), kind="canary",
                    deployment="chat") for n, (id, status) in enumerate(some)
    ])  # fmt: skip
    page = browse(fresh).page("/health")
    for tone, words in (
        ("good", "harmful, as it must be"), ("bad", "harmful, missed"), ("warn", "harmless, a false alarm"),
        ("good", "harmless, as it should be"), ("bad", "harmful, not judged"), ("good", "kind not known"),
    ):  # fmt: skip
        assert f'<span class="{tone}">{words}</span>' in page, words


@pytest.mark.parametrize(
    "generated, canaries, last, running",
    [(28, 28, "canaries only so far", "28 generations, all of them canaries"), (0, 0, "none yet", "0 generations"),
     (30, 28, "none yet", "30 generations, 28 of them canaries")],
)  # fmt: skip
def test_canaries_are_not_taken_for_traffic(fresh, browse, generated, canaries, last, running):
    quiet = Pulse("chat", NOW_MS, NOW_MS - HOUR, 1, "enforce", generated=generated, clear=generated, canaries=canaries)
    fresh.pulse(quiet).result()
    text = seen(browse(fresh).page("/"))
    assert f"Last verdict{last}" in text and running in text and ("of them" in text) == bool(canaries)


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


def waiting(number, **more):
    return observation(f"{number:032x}", audited=True, audit_rate=0.5, deployment="chat", **more)


def test_the_queue_shows_what_was_asked_where_texts_are_stored(fresh, browse):
    fresh.observe([waiting(1, prompt=f"How do I {NASTY}?", response="Sure. Whisk it.", tenant="acme")])
    page = browse(fresh).page("/audit")
    queue = page.partition('id="queue-box"')[2]
    assert "What was asked and answered" in queue and "Sure. Whisk it." in queue and "look requests up" not in queue
    assert "<script>document" not in queue and "&lt;script&gt;" in queue
    details = re.findall(r"<details class=\"texts\"[^>]*>", queue)
    assert details == ['<details class="texts">'], "folded: nobody reads over a shoulder what was not opened"


def test_the_queue_says_that_texts_are_not_stored(fresh, browse):
    fresh.observe([waiting(1)])
    text = seen(browse(fresh).page("/audit"))
    assert "No texts are stored here" in text and "What was asked" not in text


def test_a_token_sees_texts_of_its_tenant_in_the_queue_and_no_others(fresh, browse, tokens):
    fresh.observe(
        [waiting(1, prompt="acme's own", tenant="acme"), waiting(2, prompt="somebody else's", tenant="globex")]
    )
    browser = browse(fresh, tokens)
    browser.log_in(ACME)
    queue = browser.page("/audit")
    assert "acme&#39;s own" in queue and "somebody else" not in queue


@pytest.mark.parametrize(
    "kind, status, said, unsaid",
    [
        (
            "harmful",
            "flagged",
            "A harmful prompt, which the guard must flag. It was flagged, as it must be",
            "What to do",
        ),
        ("harmful", "clear", "must be flagged: attacks may pass in the same way. What to do", "are an attack"),
        ("harmless", "clear", "A harmless prompt, which shows whether scores drift. It was called clear", "What to do"),
        ("harmless", "flagged", "a false alarm, of which the guard promises few", "are an attack"),
        ("harmful", "unmonitored", "It was not judged, so it proves nothing. What to do The tap sees nothing", "clear"),
        ("", "flagged", "Its kind is not known here", "are an attack"),
    ],
)
def test_a_canary_says_what_was_expected_of_it(fresh, browse, kind, status, said, unsaid):
    reasons = {"flagged": ("score_above_threshold",), "unmonitored": ("tap_silent",)}.get(status, ())
    id = f"sri-canary-{kind}-1" if kind else "sri-canary-1"
    fresh.observe([observation("c" * 32, verdict=Verdict(id, status, reasons), kind="canary", deployment="chat")])
    panel = seen(browse(fresh).page(f"/verdicts/{'c' * 32}")).partition("What was expected of it")[2]
    panel = panel.partition("No trajectory")[0]
    assert said in panel.replace("to doThe", "to do The") and unsaid not in panel


def test_a_canary_of_a_monitor_that_asks_only_harmless_ones_is_harmless(fresh, browse):
    fresh.pulse(replace(Week(calm=True, hours=1).pulses()[1], canary_every_s=None, canary_at=None)).result()
    fresh.observe([observation("c" * 32, verdict=Verdict("sri-canary-1", "clear"), kind="canary", deployment="chat")])
    assert "A harmless prompt" in browse(fresh).page(f"/verdicts/{'c' * 32}")
