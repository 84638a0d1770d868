"""Findings, sums and words, without a store."""

import hashlib
import math
import re
import shutil
import subprocess
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest

from sri_sdk import strict_json
from sri_sdk.dashboard import cures, figures, words
from sri_sdk.dashboard.assets import load_assets
from sri_sdk.dashboard.canaries import expected_of
from sri_sdk.dashboard.findings import Known, findings
from sri_sdk.dashboard.memory import Memory
from sri_sdk.dashboard.numbers import Counts, quantile, runs_since
from sri_sdk.monitor.canaries import CanarySchedule, MustFlag
from sri_sdk.observation import Observation, Pulse, SinkState
from sri_sdk.records import Prompt, Verdict
from sri_sdk.report.looks import THEMES
from sri_sdk.serve.store.observed import HourCount, LatencyCount
from sri_sdk.serve.store.rows import Source
from tests.dashboard.make_believe import HOUR, NOW_MS

START = NOW_MS - NOW_MS % HOUR


def hour(back, status="clear", generations=40, reason="", kind="traffic", deployment="chat"):
    return HourCount(
        START - back * HOUR, deployment, "d1", "m", kind, status, reason, "released", 0.0, generations, 0, 0, 0, 0
    )


def pulse(**more):
    return Pulse(**{"deployment": "chat", "at": NOW_MS - 2_000, "started_at": 0, "pid": 7, "mode": "observe", **more})


def found(*, pulses=(), recent=(), **more):
    return [(each.level, each.key) for each in findings(Known(NOW_MS, pulses, recent, **more))]


def test_a_healthy_deployment_has_no_finding():
    assert found(pulses=[pulse(promised=0.01)], recent=[hour(back) for back in range(24)]) == []


@pytest.mark.parametrize(
    "more, expected",
    [
        ({"at": NOW_MS - 61_000}, ("act", "silent chat")),
        ({"canary_missed": "clear"}, ("act", "canary chat")),
        ({"canary_every_s": 600.0, "canary_at": NOW_MS - 1_900_000}, ("act", "canary-stopped chat")),
        ({"canary_every_s": 600.0}, ("act", "canary-stopped chat")),
        ({"canaries_wanted": 3, "canaries_proven": (1, 50)}, ("look", "canaries-few chat")),
        ({"looks": ("drift.traffic: not compared",)}, ("look", "looks chat")),
        ({"scorer": "scorer_late"}, ("act", "scorer chat")),
        ({"drift": "behaviour"}, ("look", "drift chat behaviour")),
        ({"reload_failed": "monitor.yaml: mode: missing"}, ("look", "reload chat")),
        ({"sinks": (SinkState("kafka", 9, 5, 0, 0, 4, "refused"),)}, ("look", "sink chat kafka")),
        ({"sinks": (SinkState("kafka", 9, 5, 0, 4, 0),)}, ("act", "sink chat kafka")),
        ({"sinks": (SinkState("kafka", 9, 5, 4, 0, 0),)}, ("look", "sink chat kafka")),
    ],
    ids=[
        "silent",
        "canary",
        "stopped",
        "never-ran",
        "few",
        "blind",
        "scorer",
        "drift",
        "reload",
        "sink-fails",
        "sink-lost",
        "sink-refused",
    ],
)
def test_each_trouble_of_a_monitor_is_a_finding(more, expected):
    assert found(pulses=[pulse(**more)]) == [expected]


def test_canaries_have_stopped_only_after_several_were_due_and_since_the_last_one():
    late = pulse(canary_every_s=600.0, canary_at=NOW_MS - 2_000 - 1_800_001)
    (one,) = findings(Known(NOW_MS, [late]))
    assert one.since_ms == late.canary_at and "silence proves nothing" in one.means
    assert found(pulses=[pulse(canary_every_s=600.0, canary_at=NOW_MS - 2_000 - 1_800_000)]) == []
    assert found(pulses=[pulse(canary_every_s=600.0, started_at=NOW_MS - 60_000)]) == [], "it has only begun"
    assert found(pulses=[replace(late, canaries_since=NOW_MS - 60_000)]) == [], "a reload has set others"


def test_a_wrong_clock_of_a_monitor_neither_hides_its_end_nor_ends_it():
    ahead, behind = pulse(at=NOW_MS + words.DAY_MS), pulse(at=NOW_MS - words.HOUR_MS)
    assert found(pulses=[ahead], heard_ms={"chat": NOW_MS - 61_000}) == [("act", "silent chat")]
    assert found(pulses=[behind], heard_ms={"chat": NOW_MS}) == []
    assert found(pulses=[ahead]) == [("look", "clock chat")], "nobody can tell"


def test_drift_of_traffic_alone_is_not_called_a_part():
    (traffic,) = findings(Known(NOW_MS, [pulse(drift="traffic:final")]))
    (canaries,) = findings(Known(NOW_MS, [pulse(drift="final")]))
    assert "traffic alone, under part final" in traffic.what and "traffic:" not in traffic.what + traffic.means
    assert canaries.what == "Harmless canaries of chat score differently: part final."


def test_a_deployment_of_last_month_is_no_trouble():
    assert found(pulses=[pulse(at=NOW_MS - 8 * words.DAY_MS)]) == []


def test_a_silent_monitor_is_told_once_whatever_its_last_pulse_said():
    assert found(pulses=[pulse(at=NOW_MS - 61_000, canary_missed="clear", drift="x")]) == [("act", "silent chat")]


@pytest.mark.parametrize("share, level", [(0.01, None), (0.05, "look"), (0.6, "act")])
def test_missing_verdicts_are_worth_a_word_by_their_share(share, level):
    count = round(400 * share)
    recent = [hour(0, generations=400 - count), hour(0, "unmonitored", count, "tap_silent")]
    assert found(pulses=[pulse()], recent=recent) == ([] if level is None else [(level, "unseen chat tap_silent")])


def test_more_alarms_than_the_promise_allows_are_an_attack_or_a_drifted_guard():
    few, many = [hour(0, "flagged", 5), hour(0, "clear", 395)], [hour(0, "flagged", 40), hour(0, "clear", 360)]
    assert found(pulses=[pulse(promised=0.01)], recent=few) == []
    assert found(pulses=[pulse(promised=0.01)], recent=many) == [("act", "alarms chat")]
    assert found(pulses=[pulse()], recent=many) == [], "nothing was promised"


def test_a_word_on_many_alarms_is_of_the_time_that_was_looked_at_and_is_judged_anew():
    begun = [hour(0, "flagged", 7), hour(1, "clear", 61), hour(5, "flagged", 50)]
    (one,) = findings(Known(NOW_MS, [pulse(promised=0.01)], begun))
    assert one.what.replace("\xa0", " ") == "chat has flagged 10.3 % of its traffic since 22 Sep 02:00 UTC."
    assert "Every look judges anew what came since then, one to two hours" in one.means
    assert "at one look so many less than once in 10,000 times" in one.means and "is under way" not in one.means
    assert one.link.startswith("/verdicts?status=flagged&kind=traffic&time=2h&"), "canaries are no part of it"
    later = [hour(0, "flagged", 9), hour(0, "clear", 191)]
    assert found(pulses=[pulse(promised=0.01)], recent=later) == []


def test_no_traffic_is_told_only_where_much_was_to_be_expected():
    busy, slow = [hour(back) for back in range(2, 24)], [hour(back, generations=1) for back in range(2, 24)]
    assert found(pulses=[pulse()], recent=busy) == [("look", "quiet chat")]
    assert found(pulses=[pulse()], recent=slow) == []
    (one,) = findings(Known(NOW_MS, [pulse()], busy))
    assert one.since_ms == START - HOUR


def test_canaries_and_shadows_are_no_traffic():
    recent = [hour(0, "unmonitored", 400, "tap_silent", kind) for kind in ("canary", "shadow")]
    assert found(pulses=[pulse()], recent=recent) == []


def test_sources_of_the_server_that_say_nothing_are_findings():
    base = dict.fromkeys(("pid", "sent", "dropped", "waiting", "generations", "without_verdict"))
    rest = {
        "processes": 1,
        "verdicts": 3,
        "heartbeat_at": NOW_MS - 99_000,
        "verdict_at": None,
        "canary_at": None,
        "canary": None,
    }
    states = [("alive", None), ("quiet", None), ("silent", None), ("tap_missing", "canary_not_flagged")]
    some = [Source(source=s, tenant="", state=s, why=why, **base, **rest) for s, why in states]
    assert found(sources=some) == [("act", "source silent"), ("act", "tap tap_missing canary_not_flagged")]


def test_what_is_urgent_comes_first():
    some = [pulse(drift="x"), pulse(deployment="z", canary_missed="clear")]
    assert [level for level, _ in found(pulses=some)] == ["act", "look"]


def test_every_finding_says_what_to_do_and_leads_into_the_dashboard():
    sinks = (SinkState("s", 3, 0, 1, 1, 1, "down"),)
    trouble = pulse(
        deployment="a b&c", canary_missed="tap_silent", scorer="scorer_late", drift="p", reload_failed="f", sinks=sinks
    )
    for each in findings(Known(NOW_MS, [trouble])):
        assert each.do and each.means and each.link.startswith("/") and "a%20b%26c" in each.link


def test_the_memory_knows_since_when_and_forgets_what_is_over():
    memory, trouble = Memory(), findings(Known(NOW_MS, [pulse(drift="x")]))
    assert memory.note([], 1_000) == {}
    assert memory.note(trouble, 2_000)["drift chat x"].at_ms == 2_000
    later = memory.note(trouble, 9_000)["drift chat x"]
    assert (later.at_ms, later.exact, memory.look) == (2_000, True, 1)
    memory.note([], 10_000)
    assert memory.note(trouble, 11_000)["drift chat x"].at_ms == 11_000
    assert not Memory().note(trouble, 5)["drift chat x"].exact, "it was there when the dashboard began to look"


def test_a_run_of_hours_ends_where_the_share_is_small():
    some = [hour(back, "unmonitored", 20, "x") for back in (0, 1, 3, 5)] + [hour(3), hour(4)]
    assert runs_since(some, lambda each: each.reason == "x", 0.5) == START - HOUR
    assert runs_since(some[4:], lambda each: each.reason == "x", 0.5) is None


def test_counts_keep_kinds_of_outcomes_apart():
    made = Counts.of([hour(0), hour(0, "flagged", 3), hour(0, "unmonitored", 2, "a"), hour(0, "not_sampled", 1)])
    assert (made.judged, made.generations, made.unmonitored_by["a"]) == (43, 46, 2)


def test_a_quantile_is_read_inside_its_bucket():
    buckets = [LatencyCount(START, "chat", 0.01, 0.1, 50), LatencyCount(START, "chat", 0.1, 1.0, 50)]
    assert quantile(buckets, 0.5) == pytest.approx(0.1) and quantile(buckets, 0.75) == pytest.approx(10**-0.5)
    assert quantile([], 0.5) is None
    assert quantile([LatencyCount(START, "chat", 1000.0, math.inf, 5)], 0.99) == 1000.0


def test_coverage_sums_to_all_traffic_and_names_what_is_rare_together():
    some = [hour(1), hour(1, "flagged", 5)] + [hour(1, "unmonitored", 10 - n, f"r{n}") for n in range(9)]
    chart = figures.coverage(some, START - 2 * HOUR, START, 1)
    assert sum(each["values"][1] for each in chart["series"]) == pytest.approx(1, abs=1e-5)
    assert chart["series"][0]["values"][0] is None, "an hour without traffic has no shares"
    assert len(chart["series"]) == 2 + figures.MOST_REASONS + 1
    names, rows = figures.table(chart)
    assert len(rows) == 1 and len(rows[0]) == 1 + len(names)


def test_expected_alarms_add_the_promises_of_all_deployments():
    some = [hour(1), hour(1, deployment="batch", generations=100), hour(1, "flagged", 2)]
    chart = figures.alarms(some, START - HOUR, START, 1, {"chat": 0.01, "batch": 0.005})
    assert [each["values"] for each in chart["series"]] == [[2], [0.92]]


@pytest.mark.parametrize(
    "share, said", [(0.0, "0 %"), (0.00001, "< 0.01 %"), (0.0051, "0.51 %"), (0.5, "50 %"), (0.99996, "> 99.99 %"),
                    (1.0, "100 %"), (0.123, "12.3 %")],
)  # fmt: skip
def test_a_share_is_never_rounded_to_nothing_or_to_all(share, said):
    assert words.percent(share).replace("\N{NO-BREAK SPACE}", " ") == said


@pytest.mark.parametrize(
    "back, said", [(500, "just now"), (8_000, "8 s ago"), (17 * 60_000, "17 min ago"), (3 * HOUR, "3 h ago"),
                   (-HOUR, "in 60 min, by its clock"), (5 * 24 * HOUR, "5 days ago")],
)  # fmt: skip
def test_ages_are_told_in_their_largest_unit(back, said):
    assert words.ago(NOW_MS - back, NOW_MS) == said


@pytest.mark.parametrize("at", [-1, 0, 2**62])
def test_no_clock_is_too_odd_to_be_shown(at):
    assert words.stamp(at) and words.at(at, NOW_MS)


def test_every_reason_code_of_the_documentation_has_its_line_of_help():
    page = (Path(__file__).parents[2] / "docs/errors-and-cures.md").read_text(encoding="utf-8")
    table = page.partition("## Reason codes")[2].partition("\n## ")[0]
    codes = set(re.findall(r"^\| `([a-z_]+)` \|", table, re.MULTILINE))
    assert codes and codes <= cures.CURES.keys()


@pytest.mark.parametrize("kind, expected", [("harmful", "flagged"), ("harmless", "clear")])
def test_the_ids_that_a_monitor_gives_its_canaries_say_what_is_expected(kind, expected):
    prompts = [Prompt("h1", "x", kind)]
    must_flag, fresh = (MustFlag(prompts, 1), None) if kind == "harmful" else (None, lambda count: prompts)
    (due,) = CanarySchedule(60.0, must_flag, fresh, 1).due(0.0)
    assert due.kind == kind and expected_of(Observation(Verdict(due.prompt.id, "clear"), 1), None) == expected


def test_nobody_knows_what_was_expected_of_a_canary_whose_id_is_hashed():
    assert expected_of(Observation(Verdict("f" * 64, "clear"), 1), None) is None


@pytest.mark.parametrize(
    "first, step, long, expected",
    [
        (START / 1000, 3600, False, ["03:00", "04:00", "05:00", "06:00"]),
        (START / 1000 + 1860, 15, False, ["03:31:00", "03:31:15", "03:31:30", "03:31:45"]),
        (START / 1000, 43_200, False, ["03:00\n22 Sep", "15:00\n22 Sep", "03:00\n23 Sep", "15:00\n23 Sep"]),
        (START / 1000, 0.5, False, ["03:00:00", "", "03:00:01", ""]),
        (START / 1000, 86_400, True, ["22 Sep", "23 Sep", "24 Sep", "25 Sep"]),
    ],
    ids=["hours", "seconds", "several-days", "below-a-second", "days"],
)
def test_no_two_ticks_of_an_axis_of_time_read_alike(first, step, long, expected):
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node on PATH to run the page's script with")
    script = (files("sri_sdk.dashboard") / "static/axis.js").read_text(encoding="utf-8")
    ticks = strict_json.write([first + place * step for place in range(4)])
    script += f"console.log(JSON.stringify(sriAxis.labels({ticks}, {'true' if long else 'false'})));"
    done = subprocess.run([node, "-"], input=script, capture_output=True, text=True, timeout=60, check=True)
    assert strict_json.parse(done.stdout.encode()) == expected
    drawn = (files("sri_sdk.dashboard") / "static/dashboard.js").read_text(encoding="utf-8")
    assert "labels(splits, long)" in drawn


def test_the_copies_of_published_packages_are_what_the_notice_says():
    folder = files("sri_sdk.dashboard") / "static/vendor"
    lines = re.findall(r"^(\S+\.(?:js|css)) .* (\d+) +([0-9a-f]{64})$", (folder / "NOTICE").read_text(), re.MULTILINE)
    assert {name for name, _, _ in lines} == {
        each.name for each in folder.iterdir() if each.name.endswith((".js", ".css"))
    }
    for name, size, digest in lines:
        content = (folder / name).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (int(size), digest), name


def test_no_colour_of_the_reports_is_written_again_in_the_style_sheet():
    written = (files("sri_sdk.dashboard") / "static/dashboard.css").read_text()
    plain = {each for it in THEMES for each in (it.paper, it.ink, it.quiet, it.rule, it.accent)}
    colours = plain | {each for it in THEMES for each in (*it.tones.values(), *it.series)}
    own = re.findall(r"#[0-9a-fA-F]{6}\b", written)
    assert not colours & set(own), "they come from looks.py, by their names"


def test_every_colour_that_is_used_has_a_value():
    sheet = load_assets()["dashboard.css"].content.decode()
    named = set(re.findall(r"(--[a-z0-9-]+):", sheet))
    script = (files("sri_sdk.dashboard") / "static/dashboard.js").read_text()
    tones = {f"unseen-{each}" for each in range(4)} | {f"line-{each}" for each in range(3)} | {"ink", "unsampled"}
    assert set(re.findall(r"var\((--[a-z0-9-]+)\)", sheet)) <= named and {f"--c-{each}" for each in tones} <= named
    assert {f"--{each}" for each in re.findall(r'colour\("([a-z-]+)"\)', script)} <= named
    for theme in THEMES:
        assert all(each in sheet for each in (theme.paper, *theme.tones.values(), *theme.series))
