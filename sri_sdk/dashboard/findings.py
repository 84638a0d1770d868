"""What is wrong, since when, and what to do: everything that an operator should know before anything else.

Pure: from what the store says to a list, the worst first. Nothing here reads a clock or a database.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from sri_sdk.dashboard import cures, words
from sri_sdk.dashboard.numbers import Counts, runs_since
from sri_sdk.metrics.intervals import exact_interval
from sri_sdk.observation import Pulse
from sri_sdk.report.troubles import Trouble, missing, standing, troubles
from sri_sdk.report.words import reason as in_words
from sri_sdk.serve.store.observed import HourCount, Process
from sri_sdk.serve.store.rows import Source

Level = Literal["act", "look"]
"""`act` = alarms may be missed, or verdicts lost, right now; `look` = it can wait for the morning."""

ENOUGH = 20
"""Generations of the last hours below which no share of them is judged."""
MISSED = 15
"""Generations that must be missing, by the pace of the day before, until no traffic at all is worth a word."""
UNSEEN_ACT, UNSEEN_LOOK = 0.5, 0.02
"""Shares of traffic without a verdict."""
RARE = 1e-4
"""Error of the interval of recent alarms: at one look, so rarely is a guard called noisy that keeps its promise."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong."""

    key: str
    """The same as long as it is the same trouble: by it a dashboard remembers since when."""
    level: Level
    what: str
    """One short sentence."""
    means: str
    """What follows from it for the people who rely on the guard."""
    do: tuple[str, ...]
    """What to do, the first thing first."""
    since_ms: int | None = None
    """When it began, where the store says so; None = the dashboard's own memory counts."""
    link: str = ""
    """Where to look on."""
    link_words: str = ""


@dataclass(frozen=True, slots=True)
class Known:
    """What the findings are made of."""

    now_ms: int
    pulses: Sequence[Pulse] = ()
    recent: Sequence[HourCount] = ()
    """Counts per hour of the last day."""
    sources: Sequence[Source] = ()
    """Processes that deliver to `sri serve` and send heartbeats."""
    canary_flagged_ms: Mapping[str, int] = field(default_factory=dict)
    """Deployment -> when a canary was flagged last."""
    judged_ms: Mapping[str, int] = field(default_factory=dict)
    """Deployment -> when traffic was judged last: clear or flagged."""
    broken: Mapping[str, str] = field(default_factory=dict)
    """Deployment -> what the audit says, where its promise is broken."""
    heard_ms: Mapping[str, int] = field(default_factory=dict)
    """Deployment -> when the store took its last pulse, by the store's own clock."""
    processes: Sequence[Process] = ()
    """All that speak for a deployment, also those that have fallen silent beside one that lives."""

    @property
    def lives(self) -> bool:
        """Whether anybody watches now: a monitor, or a source of `sri serve`."""
        return any(each.state in ("alive", "quiet") for each in self.sources) or any(
            standing(each, self.now_ms, self.heard_ms.get(each.deployment)) == "alive" for each in self.pulses
        )


def findings(known: Known) -> list[Finding]:
    """Everything that is wrong, the worst first."""
    found: list[Finding] = []
    for pulse in known.pulses:
        heard = known.heard_ms.get(pulse.deployment)
        found += [_shown(each, pulse, known) for each in troubles(pulse, known.now_ms, heard)]
        if standing(pulse, known.now_ms, heard) == "alive":
            found += _of_traffic(pulse, known)
    found += [_shown(missing(each.pulse, each.heard_at), each.pulse, known) for each in known.processes if each.missing]
    found += [_source(each) for each in known.sources if each.state in ("silent", "tap_missing")]
    return sorted(found, key=lambda each: each.level != "act")


_SAID: Mapping[str, str] = {"sink": "Sinks and spool", "drift": "Scores over time", "replica": "Its processes"}
"""What shows a trouble -> words of the link to it."""


def _shown(it: Trouble, pulse: Pulse, known: Known) -> Finding:
    """A trouble with the place in the dashboard that shows it, and what the store knows of its beginning."""
    name, do, since = pulse.deployment, it.do, it.since_ms
    verdicts, health = f"/verdicts?deployment={_quoted(name)}", f"/health?deployment={_quoted(name)}"
    link, said = (
        health,
        {"sink": "Sinks and spool", "drift": "Scores over time", "replica": "Its processes"}.get(it.about, "Its state"),
    )
    if it.about == "silent":
        link, said = verdicts, "Its last verdicts"
    elif it.about in ("canary", "stopped"):
        link, said = f"/verdicts?kind=canary&deployment={_quoted(name)}", "Its canaries"
        since = known.canary_flagged_ms.get(name) if it.about == "canary" and since is None else since
    elif it.about == "scorer" and pulse.scorer is not None:
        link, said = f"{verdicts}&reason={_quoted(pulse.scorer)}", "These verdicts"
        do = cures.cure(pulse.scorer), *do
        since = known.judged_ms.get(name) if since is None else since
    return Finding(it.key, it.level, it.what, it.means, do, since, link, said)


def _of_traffic(pulse: Pulse, known: Known) -> Iterable[Finding]:
    name = pulse.deployment
    hours = [each for each in known.recent if each.deployment == name and each.kind == "traffic"]
    this_hour = known.now_ms - known.now_ms % words.HOUR_MS
    last = Counts.of(each for each in hours if each.hour_ms >= this_hour - words.HOUR_MS)
    earlier = Counts.of(each for each in hours if each.hour_ms < this_hour - words.HOUR_MS)
    pace = earlier.generations / 23
    if not last.generations and pace * (known.now_ms - this_hour + words.HOUR_MS) / words.HOUR_MS >= MISSED:
        newest = max(each.hour_ms for each in hours) + words.HOUR_MS
        yield Finding(
            f"quiet {name}", "look", f"No traffic reaches {name}.",
            "The monitor lives, but nothing is generated. Either nobody asks, or requests go another way, unwatched.",
            ("Ask who runs the service whether requests still come.", "Send one yourself, and look for its verdict."),
            newest, f"/live?deployment={_quoted(name)}", "What runs now",
        )  # fmt: skip
    seen = last.clear + last.flagged + last.unmonitored
    if seen >= ENOUGH and last.unmonitored / seen >= UNSEEN_LOOK and pulse.scorer is None:
        yield _unseen(name, hours, last, seen)
    if pulse.promised is not None and last.judged >= ENOUGH:
        low, _ = exact_interval(last.flagged, last.judged, RARE)
        if low > pulse.promised:
            at_most, begin = pulse.promised * last.judged, words.hour(this_hour - words.HOUR_MS)
            yield Finding(
                f"alarms {name}", "act",
                f"{name} has flagged {words.percent(last.flagged, last.judged)} of its traffic since {begin}.",
                f"{words.count(last.flagged)} of {words.count(last.judged)}; harmless traffic alone gives at most "
                f"{at_most:.2g} on average, and at one look so many less than once in {words.count(round(1 / RARE))} "
                "times. There was an attack in this time, or the guard no longer fits the model or its traffic. Every "
                "look judges anew what came since then, one to two hours: this goes once enough clear traffic has "
                "followed, or the hour is over. The flagged ones stay under Verdicts and in Alarms below.",
                (
                    "Open the flagged verdicts: one tenant or one moment points to an attack.",
                    "All tenants at once, after a deploy: undo the deploy.",
                    "Label some of them, so that the audit can tell the two apart.",
                ),
                runs_since(hours, lambda each: each.status == "flagged", pulse.promised * 3),
                f"/verdicts?status=flagged&kind=traffic&time=2h&deployment={_quoted(name)}", "Flagged verdicts",
            )  # fmt: skip
    if name in known.broken:
        yield Finding(
            f"promise {name}", "look", f"{name} raises more false alarms than promised.", known.broken[name],
            (
                "See whether the labels are right: the newest first.",
                "If they are, calibrate again on this traffic (docs/when-the-model-changes.md).",
            ),
            None, f"/audit?deployment={_quoted(name)}", "The audit",
        )  # fmt: skip


def _unseen(name: str, hours: Sequence[HourCount], last: Counts, seen: int) -> Finding:
    code = max(last.unmonitored_by, key=lambda each: last.unmonitored_by[each])
    share = last.unmonitored / seen
    return Finding(
        f"unseen {name} {code}", "act" if share >= UNSEEN_ACT else "look",
        f"{words.percent(share)} of the traffic of {name} has no verdict.",
        f"{words.count(last.unmonitored)} of {words.count(seen)} generations; mostly {code}: {in_words(code)}. "
        "Unmonitored is never clear.",
        (cures.cure(code),),
        runs_since(hours, lambda each: each.status == "unmonitored" and each.reason == code, UNSEEN_LOOK / 2),
        f"/verdicts?status=unmonitored&reason={_quoted(code)}&deployment={_quoted(name)}", "These verdicts",
    )  # fmt: skip


def _source(source: Source) -> Finding:
    if source.state == "silent":
        last = max(filter(None, (source.heartbeat_at, source.verdict_at)), default=None)
        return Finding(
            f"source {source.source}", "act", f"Source {source.source} is silent.",
            "Neither a heartbeat nor a verdict comes from it. Traffic may run unwatched.",
            ("See whether its process still runs, and whether it reaches the server.",), last,
            f"/verdicts?deployment={_quoted(source.source)}", "Its last verdicts",
        )  # fmt: skip
    why = {
        "canary_not_flagged": "a prompt that must be flagged was not",
        "generations_without_verdicts": "it generates, and no verdicts come",
    }.get(source.why or "", source.why or "")
    return Finding(
        f"tap {source.source} {source.why}", "act", f"Source {source.source} watches nothing: {why}.",
        "Its generations run unwatched.",
        ("Undo its last deploy.", "See that every path to the model goes through the watch."),
        source.canary_at if source.why == "canary_not_flagged" else None,
        f"/verdicts?deployment={_quoted(source.source)}", "Its last verdicts",
    )  # fmt: skip


def _quoted(text: str) -> str:
    from urllib.parse import quote

    return quote(text, safe="")
