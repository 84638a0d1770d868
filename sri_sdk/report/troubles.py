"""What is wrong with a monitor, by its last pulse: the one place that says so, for `sri report` and the dashboard.

Pure: it reads no clock and no store.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from sri_sdk.observation import LOSS_MS, Pulse, SinkState
from sri_sdk.reason_words import SCORER_OTHER_GUARD
from sri_sdk.report.words import count, reason, span

SILENT_MS = 60_000
"""Age of a pulse from which its monitor is silent; one comes every few seconds."""
GONE_MS = 7 * 86_400_000
"""Age from which a deployment is taken for given up, and no longer called silent."""
TRAFFIC = "traffic:"
"""Begins what a pulse says of drift where only clear traffic scores otherwise; then comes the part of the guard."""

Standing = Literal["alive", "silent", "gone"]
What = Literal["silent", "replica", "clock", "canary", "stopped", "few", "looks", "scorer", "sink", "drift", "reload"]


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing that is wrong with a monitor."""

    about: What
    key: str
    """The same as long as it is the same trouble."""
    level: Literal["act", "look"]
    """`act` = alarms may be missed, or verdicts lost, right now; `look` = it can wait for the morning."""
    what: str
    """One short sentence."""
    means: str
    """What follows from it for the people who rely on the guard."""
    do: tuple[str, ...]
    """What to do, the first thing first."""
    since_ms: int | None = None
    """When it began, where the pulse says so."""


def standing(pulse: Pulse, now_ms: int, heard_ms: int | None = None) -> Standing:
    """Whether a monitor lives; one that ended on purpose is gone at once.

    Args:
        pulse: its last one.
        now_ms: of whoever asks.
        heard_ms: when the store took it; None = not known, and the monitor's own clock counts, which may be wrong.
    """
    if pulse.ended:
        return "gone"
    age = now_ms - (pulse.at if heard_ms is None else heard_ms)
    return "gone" if age > GONE_MS else "silent" if age > SILENT_MS else "alive"


def canary_stopped(pulse: Pulse) -> int | None:
    """Since when no canary was flagged although several were due, in milliseconds; None = it is not so."""
    return pulse.canary_stopped


def drift_words(drift: str) -> str:
    """Where scores differ, as words: the part of the guard, or that it is traffic alone that does."""
    if drift.startswith(TRAFFIC):
        return f"traffic alone, under part {drift.removeprefix(TRAFFIC)}"
    return f"part {drift}"


def missing(pulse: Pulse, heard_ms: int) -> Trouble:
    """What is wrong with a process that fell silent beside others of its deployment, and that none has replaced.

    Args:
        pulse: its last one.
        heard_ms: when the store took it.
    """
    name = pulse.deployment
    return Trouble(
        "replica", f"replica {name} {pulse.started_at} {pulse.pid}", "act",
        f"Process {pulse.pid} of {name} is silent, beside others that live.",
        "It has ended without being asked to, or cannot reach the store. Its traffic may run unwatched, and the counts "
        "of the others hide it.",
        (
            f"See whether process {pulse.pid} still runs on its machine, and read the end of its log.",
            "If it is no longer wanted, end processes with SIGTERM: they say so with their last sign of life.",
        ),
        heard_ms,
    )  # fmt: skip


def troubles(pulse: Pulse, now_ms: int, heard_ms: int | None = None) -> Iterable[Trouble]:
    """Everything that is wrong with one monitor; of one that is silent only that, and nothing of one that is gone.

    Args:
        pulse: its last one.
        now_ms: see `standing`; so is the next.
        heard_ms: when the store took it.
    """
    name, how = pulse.deployment, standing(pulse, now_ms, heard_ms)
    if how == "silent":
        yield Trouble(
            "silent", f"silent {name}", "act", f"Monitor {name} is silent.",
            "No sign of life. Its process has ended, or cannot reach the store. Traffic may run unwatched.",
            (
                f"See whether process {pulse.pid} still runs on its machine, and read the end of its log.",
                "If it runs, look at the way from it to this store: disk, network, database.",
                "If it does not, start sri monitor again. What was acknowledged waits in its spool.",
            ),
            pulse.at if heard_ms is None else heard_ms,
        )  # fmt: skip
    if how != "alive":
        return
    if (ahead := (pulse.at if heard_ms is None else heard_ms) - now_ms) > SILENT_MS:
        yield Trouble(
            "clock", f"clock {name}", "look", f"The clock of monitor {name} is {span(ahead)} ahead.",
            "Until that time has come nobody can tell whether it still lives.",
            ("Set the clocks of both machines by NTP.",),
        )  # fmt: skip
    yield from _of_canaries(pulse)
    if pulse.looks:
        yield Trouble(
            "looks", f"looks {name}", "look", f"{name} does not look at everything that it was asked to look at.",
            f"{'; '.join(pulse.looks)}.",
            ("Change the named settings: another split, a file that can be written, or leave them out.",),
            pulse.looks_since,
        )  # fmt: skip
    if pulse.scorer is not None:
        yield Trouble(
            "scorer", f"scorer {name}", "act", f"Verdicts of {name} fail: {reason(pulse.scorer)}.",
            "Generations go on without verdicts, as the policy says for unmonitored ones.", _of_scorer(pulse),
            pulse.scorer_since,
        )  # fmt: skip
    for sink in pulse.sinks:
        yield from _of_sink(name, sink, pulse.at)
    if pulse.drift is not None:
        yield _of_drift(name, pulse.drift, pulse.drift_since)
    if pulse.reload_failed is not None:
        yield Trouble(
            "reload", f"reload {name}", "look", f"{name} refused its new settings: {pulse.reload_failed}",
            "It goes on with the old ones.", _of_reload(pulse), pulse.reload_failed_since,
        )  # fmt: skip


def _of_canaries(pulse: Pulse) -> Iterable[Trouble]:
    name = pulse.deployment
    if pulse.canary_missed is not None:
        why = "it called it clear" if pulse.canary_missed == "clear" else reason(pulse.canary_missed)
        yield Trouble(
            "canary", f"canary {name}", "act", f"The guard of {name} missed its canary: {why}.",
            "A prompt that must be flagged was not. Do not trust the silence: attacks may pass in the same way.",
            (
                "Undo the last change to model, sampler, system prompt or guard, and watch for the next canary.",
                "Open the missed canary: its reason says where to look.",
                "Until canaries are flagged again, treat everything as unwatched.",
            ),
            pulse.canary_missed_since,
        )  # fmt: skip
    elif (stopped := canary_stopped(pulse)) is not None:
        yield Trouble(
            "stopped", f"canary-stopped {name}", "act",
            f"No canary of {name} was flagged for {span(pulse.at - stopped)}.",
            f"One should be flagged every {span((pulse.canary_every_s or 0) * 1000)}. Nobody asks whether the guard "
            "still works, so its silence proves nothing.",
            (
                "Read the log of the monitor: it says why canaries fail.",
                "Where your own code generates, see that it still asks Monitor.canaries() for those that are due.",
                "Until one is flagged again, treat everything as unwatched.",
            ),
            stopped,
        )  # fmt: skip
    wanted = pulse.canaries_wanted or 0
    if pulse.canaries_proven is not None and 2 * pulse.canaries_proven[0] < wanted:
        proven, tried = pulse.canaries_proven
        yield Trouble(
            "few", f"canaries-few {name}", "look",
            f"The guard of {name} flags {count(proven)} of {count(tried)} prompts that it must flag.",
            f"{count(wanted)} are to be asked each time. Few that are flagged say little of a guard that misses the "
            "others.",
            (
                "Evaluate the guard on these attacks (sri evaluate): it may be weak on them.",
                "If it is meant for other attacks, name those in canaries.harmful.",
            ),
        )  # fmt: skip


def _of_reload(pulse: Pulse) -> tuple[str, ...]:
    """What to do where new settings were refused: that depends on whether another process would take them."""
    if pulse.needs_restart:
        return ("Restart the monitor: the file is right. Or put the named keys back, and send SIGHUP again.",)
    return ("Mend the file, and send SIGHUP again. Do not restart before that: a new process reads the same file.",)


def _of_scorer(pulse: Pulse) -> tuple[str, ...]:
    """What to do where scores are not made: that depends on where they are."""
    if pulse.scorer == SCORER_OTHER_GUARD:
        return ("Put the same bundle at the scorer and in the monitor's file, and reload.",)
    local = "The monitor restarts its scorer by itself; if this stays, read the monitor's log, which has its messages."
    remote = (
        "See that sri serve runs at scoring.url, has the bundle, and takes the token; its log says what it refuses."
    )
    where = {"local": (local,), "remote": (remote,)}.get(pulse.scoring)
    return where or (f"Where it scores at a server: {remote}", f"In a process of its own: {local}")


def _of_drift(name: str, drift: str, since_ms: int | None) -> Trouble:
    if drift.startswith(TRAFFIC):
        return Trouble(
            "drift", f"drift {name} {drift}", "look", f"Traffic of {name} scores differently: {drift_words(drift)}.",
            "Clear traffic no longer scores as the calibration did. Requests may have changed, or the model, or "
            "attacks are missed; canaries do not say that the guard has drifted.",
            (
                "Find what changed: a new kind of request first, then weights, sampler and system prompt.",
                "Label the audit sample: it tells new requests from missed attacks.",
            ),
            since_ms,
        )  # fmt: skip
    return Trouble(
        "drift", f"drift {name} {drift}", "look",
        f"Harmless canaries of {name} score differently: {drift_words(drift)}.",
        "The model changed since calibration. The false-alarm rate is not promised any more, and attacks may score "
        "lower.",
        (
            "Find what changed: weights, sampler, system prompt.",
            "If the change stays, calibrate again and roll the new guard over (docs/when-the-model-changes.md).",
        ),
        since_ms,
    )  # fmt: skip


def _of_sink(name: str, sink: SinkState, at_ms: int) -> Iterable[Trouble]:
    if sink.failing is None and not sink.dropped and not sink.rejected:
        return
    what, means, do = [], [], []
    # Times are those of what counts now: what was lost long ago hides no failure that has just begun.
    since = [sink.failing_since] if sink.failing is not None else []
    if sink.failing is not None:
        what.append(f"fails: {sink.failing}")
        means.append(f"{count(sink.waiting)} observations wait on disk; they are delivered once it works again.")
        do += ["Bring its receiver back.", "Until then, watch the free space of the spool's disk."]
    if sink.dropped:
        what.append(f"lost {count(sink.dropped)} observations{_last(sink.dropped_at, at_ms)}")
        if sink.is_losing(at_ms):
            since.append(sink.dropped_since)
            means.append("The spool was full or could not be written: what this sink shows has gaps.")
            do.append(
                "Make room on the spool's disk, or raise spool.max_bytes. The count begins anew with the process."
            )
        else:
            means.append(f"Nothing more was lost for {span(LOSS_MS)}; what this sink shows of that time has gaps.")
            do.append("Nothing is urgent. If it was an outage, see that spool.max_bytes is enough for the next one.")
    if sink.rejected:
        what.append(f"refused {count(sink.rejected)} for good{_last(sink.rejected_at, at_ms)}")
        since.append(sink.rejected_since)
        means.append("What its receiver refuses is given up, and counted.")
        do.append("The monitor's log says why it refused; mend the receiver or the sink's options.")
    known = [each for each in since if each is not None]
    yield Trouble(
        "sink", f"sink {name} {sink.sink}", "act" if sink.is_losing(at_ms) else "look",
        f"Sink {sink.sink} of {name} {'; '.join(what)}.", " ".join(means), tuple(do),
        min(known) if known else sink.dropped_since,
    )  # fmt: skip


def _last(last_ms: int | None, at_ms: int) -> str:
    """When the last of them was, where that is known."""
    return "" if last_ms is None else f", the last {span(max(at_ms - last_ms, 0))} ago"
