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
from sri_sdk.observation import Pulse, SinkState
from sri_sdk.report.words import reason as in_words
from sri_sdk.serve.store.observed import HourCount
from sri_sdk.serve.store.rows import Source

Level = Literal["act", "look"]
"""`act` = alarms may be missed, or verdicts lost, right now; `look` = it can wait for the morning."""

SILENT_MS = 30_000
"""Age of a pulse from which its monitor is silent; one comes every few seconds."""
GONE_MS = 7 * words.DAY_MS
"""Age from which a deployment is taken for given up, and no longer called silent."""
LATE = 3
"""Times that canaries must have been due without one, until they have stopped: generations of traffic may be long."""
ENOUGH = 20
"""Generations of the last hours below which no share of them is judged."""
MISSED = 15
"""Generations that must be missing, by the pace of the day before, until no traffic at all is worth a word."""
UNSEEN_ACT, UNSEEN_LOOK = 0.5, 0.02
"""Shares of traffic without a verdict."""
RARE = 1e-4
"""Error of the interval of recent alarms: so rarely is a guard called noisy that keeps its promise."""


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


def findings(known: Known) -> list[Finding]:
    """Everything that is wrong, the worst first."""
    found: list[Finding] = []
    for pulse in known.pulses:
        age = known.now_ms - pulse.at
        if age > GONE_MS:
            continue
        if age > SILENT_MS:
            found.append(_silent(pulse))
            continue
        found += _of_pulse(pulse, known)
        found += _of_traffic(pulse, known)
    found += [_source(each) for each in known.sources if each.state in ("silent", "tap_missing")]
    return sorted(found, key=lambda each: each.level != "act")


def _silent(pulse: Pulse) -> Finding:
    return Finding(
        f"silent {pulse.deployment}", "act", f"Monitor {pulse.deployment} is silent.",
        "No sign of life. Its process has ended, or cannot reach the store. Traffic may run unwatched.",
        (
            f"See whether process {pulse.pid} still runs on its machine, and read the end of its log.",
            "If it runs, look at the way from it to this store: disk, network, database.",
            "If it does not, start sri monitor again. What was acknowledged waits in its spool.",
        ),
        pulse.at, f"/verdicts?deployment={_quoted(pulse.deployment)}", "Its last verdicts",
    )  # fmt: skip


def _of_pulse(pulse: Pulse, known: Known) -> Iterable[Finding]:
    name, where = pulse.deployment, f"/health?deployment={_quoted(pulse.deployment)}"
    if pulse.canary_missed is not None:
        why = "it called it clear" if pulse.canary_missed == "clear" else in_words(pulse.canary_missed)
        yield Finding(
            f"canary {name}", "act", f"The guard of {name} missed its canary: {why}.",
            "A prompt that must be flagged was not. Do not trust the silence: attacks may pass in the same way.",
            (
                "Undo the last change to model, sampler, system prompt or guard, and watch for the next canary.",
                "Open the missed canary: its reason says where to look.",
                "Until canaries are flagged again, treat everything as unwatched.",
            ),
            known.canary_flagged_ms.get(name),
            f"/verdicts?kind=canary&deployment={_quoted(name)}", "Its canaries",
        )  # fmt: skip
    elif (stopped := canary_stopped(pulse)) is not None:
        yield Finding(
            f"canary-stopped {name}", "act", f"No canary of {name} was flagged for {words.span(pulse.at - stopped)}.",
            f"One should be flagged every {words.span(round((pulse.canary_every_s or 0) * 1000))}. Nobody asks whether "
            "the guard still works, so its silence proves nothing.",
            (
                "Read the log of the monitor: it says why canaries fail.",
                "Where your own code generates, see that it still asks Monitor.canaries() for those that are due.",
                "Until one is flagged again, treat everything as unwatched.",
            ),
            stopped, f"/verdicts?kind=canary&deployment={_quoted(name)}", "Its canaries",
        )  # fmt: skip
    if pulse.canaries_proven is not None and 2 * pulse.canaries_proven[0] < (pulse.canaries_wanted or 0):
        proven, tried = pulse.canaries_proven
        yield Finding(
            f"canaries-few {name}", "look",
            f"The guard of {name} flags {words.count(proven)} of {words.count(tried)} prompts that it must flag.",
            f"{words.count(pulse.canaries_wanted or 0)} are to be asked each time. Few that are flagged say little of "
            "a guard that misses the others.",
            (
                "Evaluate the guard on these attacks (sri evaluate): it may be weak on them.",
                "If it is meant for other attacks, name those in canaries.harmful.",
            ),
            None, where, "Its canaries",
        )  # fmt: skip
    if pulse.looks:
        yield Finding(
            f"looks {name}", "look", f"{name} does not look at everything that it was asked to look at.",
            f"{'; '.join(pulse.looks)}.",
            ("Change the named settings: another split, a file that can be written, or leave them out.",),
            None, where, "Its health",
        )  # fmt: skip
    if pulse.scorer is not None:
        yield Finding(
            f"scorer {name}", "act", f"Verdicts of {name} fail: {in_words(pulse.scorer)}.",
            "Generations go on without verdicts, as the policy says for unmonitored ones.",
            (cures.cure(pulse.scorer), "Mode local restarts its scorer by itself; if this stays, read the log."),
            known.judged_ms.get(name), f"/verdicts?deployment={_quoted(name)}&reason={pulse.scorer}", "These verdicts",
        )  # fmt: skip
    for sink in pulse.sinks:
        yield from _sink(name, sink, where)
    if pulse.drift is not None:
        yield Finding(
            f"drift {name} {pulse.drift}", "look", f"Harmless traffic of {name} scores differently: {pulse.drift}.",
            "The model or its traffic changed since calibration. The false-alarm rate is not promised any more, and "
            "attacks may score lower.",
            (
                "Find what changed: weights, sampler, system prompt, a new kind of request.",
                "If the change stays, calibrate again and roll the new guard over (docs/when-the-model-changes.md).",
            ),
            None, where, "Scores over time",
        )  # fmt: skip
    if pulse.reload_failed is not None:
        yield Finding(
            f"reload {name}", "look", f"{name} refused its new settings: {pulse.reload_failed}",
            "It goes on with the old ones.", ("Mend the file, and send SIGHUP again.",), None, where, "Its state",
        )  # fmt: skip


def canary_stopped(pulse: Pulse) -> int | None:
    """Since when no canary was flagged although several were due, in milliseconds; None = it is not so.

    Both times are by the clock of the monitor, so that a wrong clock changes nothing.
    """
    if pulse.canary_every_s is None:
        return None
    begun = pulse.started_at if pulse.canaries_since is None else pulse.canaries_since
    last = max(begun, pulse.canary_at or begun)
    return last if pulse.at - last > LATE * pulse.canary_every_s * 1000 else None


def _sink(name: str, sink: SinkState, where: str) -> Iterable[Finding]:
    if sink.failing is None and not sink.dropped and not sink.rejected:
        return
    waiting, lost, refused = (words.count(each) for each in (sink.waiting, sink.dropped, sink.rejected))
    what, means, do = [], [], []
    if sink.failing is not None:
        what.append(f"fails: {sink.failing}")
        means.append(f"{waiting} observations wait on disk; they are delivered once it works again.")
        do += ["Bring its receiver back.", "Until then, watch the free space of the spool's disk."]
    if sink.dropped:
        what.append(f"lost {lost} observations")
        means.append("The spool was full or could not be written: what this sink shows has gaps.")
        do.append("Make room on the spool's disk, or raise spool.max_bytes. The count begins anew with the process.")
    if sink.rejected:
        what.append(f"refused {refused} for good")
        means.append("What its receiver refuses is given up, and counted.")
        do.append("The monitor's log says why it refused; mend the receiver or the sink's options.")
    yield Finding(
        f"sink {name} {sink.sink}", "act" if sink.dropped else "look",
        f"Sink {sink.sink} of {name} {'; '.join(what)}.", " ".join(means), tuple(do), None, where, "Sinks and spool",
    )  # fmt: skip


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
            at_most = pulse.promised * last.judged
            yield Finding(
                f"alarms {name}", "act", f"{name} flags {words.percent(last.flagged, last.judged)} of its traffic.",
                f"{words.count(last.flagged)} of {words.count(last.judged)} since "
                f"{words.hour(this_hour - words.HOUR_MS)}; harmless traffic alone gives at most {at_most:.2g} "
                "on average. An attack is under way, or the guard drifted.",
                (
                    "Open the flagged verdicts: one tenant or one moment points to an attack.",
                    "All tenants at once, after a deploy: undo the deploy.",
                    "Label some of them, so that the audit can tell the two apart.",
                ),
                runs_since(hours, lambda each: each.status == "flagged", pulse.promised * 3),
                f"/verdicts?status=flagged&deployment={_quoted(name)}", "Flagged verdicts",
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
