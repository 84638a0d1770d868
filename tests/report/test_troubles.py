"""What is wrong with a monitor, since when, and what fades."""

from dataclasses import replace

import pytest

from sri_sdk.observation import LOSS_MS, RELOAD_CANNOT, Pulse, SinkState
from sri_sdk.report.troubles import troubles

NOW = 1_800_000_000_000
WELL = Pulse("chat", NOW, NOW - 10_000_000, 7, "observe")
LOST = SinkState("sql", 9, 5, 0, 4, 0)


def told(pulse: Pulse):
    return list(troubles(pulse, NOW))


def of_sink(**fields):
    (found,) = told(replace(WELL, sinks=(replace(LOST, **fields),)))
    return found


def test_what_was_lost_fades_and_stays_counted() -> None:
    fresh = of_sink(dropped_since=NOW - LOSS_MS, dropped_at=NOW - 60_000)
    assert (fresh.level, fresh.since_ms) == ("act", NOW - LOSS_MS) and "the last 60 s ago" in fresh.what
    old = of_sink(dropped_since=NOW - 3 * LOSS_MS, dropped_at=NOW - LOSS_MS - 1)
    assert (old.level, old.since_ms) == ("look", NOW - 3 * LOSS_MS)
    assert "lost 4 observations" in old.what and "Nothing more was lost" in old.means


def test_a_loss_of_an_older_release_and_one_of_a_clock_that_was_set_back_are_not_history() -> None:
    assert of_sink().level == "act" and of_sink().since_ms is None
    assert of_sink(dropped_since=NOW + 10, dropped_at=NOW + LOSS_MS).level == "act"


def test_an_old_loss_hides_no_failure_that_has_just_begun() -> None:
    found = of_sink(
        dropped_since=NOW - 9 * LOSS_MS, dropped_at=NOW - 8 * LOSS_MS, failing="down", failing_since=NOW - 5_000
    )
    assert (found.level, found.since_ms) == ("look", NOW - 5_000)


@pytest.mark.parametrize(
    ("about", "fields"),
    [
        ("canary", {"canary_missed": "clear", "canary_missed_since": NOW - 5}),
        ("drift", {"drift": "sri", "drift_since": NOW - 5}),
        ("drift", {"drift": "traffic:sri", "drift_since": NOW - 5}),
        ("scorer", {"scorer": "scorer_late", "scorer_since": NOW - 5}),
        ("reload", {"reload_failed": "no such file", "reload_failed_since": NOW - 5}),
        ("looks", {"looks": ("canaries: none left",), "looks_since": NOW - 5}),
        ("sink", {"sinks": (replace(LOST, dropped=0, failing="down", failing_since=NOW - 5),)}),
        ("sink", {"sinks": (replace(LOST, dropped=0, rejected=4, rejected_since=NOW - 5, rejected_at=NOW),)}),
    ],
)
def test_each_trouble_says_since_when_it_has_been_there(about, fields) -> None:
    (found,) = told(replace(WELL, **fields))
    assert (found.about, found.since_ms) == (about, NOW - 5)


@pytest.mark.parametrize(
    ("scoring", "said", "not_said"),
    [("local", "restarts its scorer", "sri serve"), ("remote", "sri serve", "restarts"), ("", "sri serve", "nothing")],
)
def test_advice_on_a_scorer_is_about_where_it_is(scoring, said, not_said) -> None:
    (found,) = told(replace(WELL, scorer="scorer_unavailable", scoring=scoring))
    assert said in " ".join(found.do) and not_said not in " ".join(found.do)


@pytest.mark.parametrize(
    ("refused", "said", "not_said"),
    [
        (
            f"monitor.yaml: requests: {RELOAD_CANNOT} name, requests. Restart the monitor.",
            "Restart the monitor",
            "Mend",
        ),
        ("monitor.yaml: mode: found 'nonsense'", "Mend the file", "Restart the monitor"),
    ],
    ids=["fixed", "wrong"],
)
def test_advice_on_a_reload_follows_why_it_was_refused(refused, said, not_said) -> None:
    (found,) = told(replace(WELL, reload_failed=refused))
    assert said in " ".join(found.do) and not_said not in " ".join(found.do)
