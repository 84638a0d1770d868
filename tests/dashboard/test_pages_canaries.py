"""What pages say of canaries, and that they are not taken for traffic."""

from dataclasses import replace

import pytest

from sri_sdk.observation import Pulse
from sri_sdk.records import Verdict
from tests.dashboard.looks import observation, seen
from tests.dashboard.make_believe import HOUR, NOW_MS, Week


def test_canaries_that_have_stopped_are_told_on_now_and_health(fresh, browse):
    asked = Week(calm=True, hours=1).pulses()[1]
    stopped = {"canary_at": NOW_MS - 20 * 24 * HOUR, "canaries_since": NOW_MS - 40 * 24 * HOUR}
    fresh.pulse(replace(asked, **stopped, looks=("no prompt is left",))).result()
    browser = browse(fresh)
    now, health = seen(browser.page("/")), seen(browser.page("/health"))
    assert "No canary of chat was flagged for 20 days" in now and "Nothing needs you" not in now
    assert "nobody asks any more" in health and "Not looked at: no prompt is left" in health
    assert "Of 5 harmful prompts that were tried, the guard flagged 3" in health


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
