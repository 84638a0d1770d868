"""What a monitor says of itself when it starts: what it does, where, and what is missing."""

from __future__ import annotations

from collections.abc import Iterator

from sri_sdk.monitor.monitor import Monitor
from sri_sdk.monitor.settings import MonitorSettings


def introduction(monitor: Monitor, where: str) -> list[str]:
    """Lines for people.

    Args:
        monitor: opened.
        where: where its requests come from, in words.
    """
    live, settings = monitor.live, monitor.settings
    policy, pulse = live.told.policy, monitor.pulse
    follows = "nothing follows from verdicts" if settings.mode == "observe" else (
        f"flagged: {policy.flagged}, unmonitored: {policy.unmonitored}"
    )  # fmt: skip
    waiting = sum(each.waiting for each in pulse.sinks)
    lines = [
        f"monitor {settings.name}: mode {settings.mode} ({follows}), rule {policy.rule}",
        f"model: {pulse.model}",
        f"guard: {live.digest[:12]}, promises at most {100 * live.promised:g} % false alarms",
        f"scoring: {_SCORING[settings.scoring.where]}",
        f"requests: {where}",
        f"sinks: {', '.join(each.called for each in settings.sinks)}; spool {settings.spool_path}"
        + (f", {waiting} observations wait from before" if waiting else ""),
        f"audit: {_shares(settings)} are drawn for people to label",
    ]
    return [*lines, *(f"missing: {each}" for each in _missing(monitor))]


_SCORING = {
    "process": "in this process",
    "local": "in a process of its own, which is restarted",
    "remote": "at a server",
}


def _shares(settings: MonitorSettings) -> str:
    audit = settings.audit
    parts = {"flagged": audit.flagged, "clear": audit.clear, "unmonitored": audit.unmonitored}
    return ", ".join(f"{100 * rate:g} % of {name}" for name, rate in parts.items() if rate) or "none"


def _missing(monitor: Monitor) -> Iterator[str]:
    """What an operator would want to know before something goes wrong."""
    live, settings = monitor.live, monitor.settings
    if not live.guard.scorer.bundle.trusted:
        yield "guard.trust: nobody notices a guard that is swapped; `sri bundle inspect` prints the digest to name there"
    if not settings.audit.clear:
        yield "audit.clear: 0, so the false-alarm rate is never measured; 0.01 is a beginning"
    if not any(each.name == "sql" for each in settings.sinks):
        yield "sinks: no sql, which labels, reports and the dashboard read"
    if settings.sample < 1 and settings.mode == "enforce":
        yield f"sample: {settings.sample:g}, so {100 * (1 - settings.sample):g} % of requests are not watched"
