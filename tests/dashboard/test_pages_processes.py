"""What pages say of processes: who is silent, who ended as asked, and that nobody watches."""

from dataclasses import replace

from sri_sdk.observation import Observation, Pulse
from sri_sdk.records import Verdict
from sri_sdk.serve.store.rows import Delivered
from tests.dashboard.looks import seen, unseen
from tests.dashboard.make_believe import HOUR, NOW_MS, Week


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
