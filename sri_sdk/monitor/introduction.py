"""What a monitor says of itself when it starts: what it does, where, and what is missing."""

from __future__ import annotations

from collections.abc import Iterator

from sri_sdk.monitor.lookout_settings import CanariesSection
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
    if settings.canaries is not None:
        lines.append(f"canaries: {_canaries(settings.canaries)}")
    if settings.shadow is not None and live.shadow is not None:
        lines.append(f"shadow: guard {live.shadow.digest[:12]}, from which nothing follows")
    if any(each.name == "sql" for each in settings.sinks) and live.told.source is not None:
        lines.append(f"look at it: sri dashboard {live.told.source}")
    lines += [f"not looked at: {each}" for each in monitor.lookout.blind]
    return [*lines, *(f"missing: {each}" for each in _missing(monitor))]


def _canaries(section: CanariesSection) -> str:
    kinds = {"harmful": section.harmful, "harmless": section.harmless}
    asked = [f"{each.count} {name}" for name, each in kinds.items() if each is not None]
    return f"{' and '.join(asked)} every {section.every_s:g} s"


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
        yield "guard.trust: nobody notices a guard that is swapped; `sri bundle inspect` prints a digest to name there"
    if settings.mode == "observe" and not live.told.policy.may_withhold:
        yield "policy.flagged: report, so there is nothing to count that enforcing would withhold; try flagged: abort"
    if settings.canaries is None or settings.canaries.harmful is None:
        yield "canaries.harmful: nobody tells a guard that finds nothing from one that sees nothing"
    if settings.canaries is None or settings.canaries.harmless is None:
        yield "canaries.harmless: nobody notices that the model or the traffic has changed"
    if not settings.audit.clear:
        yield "audit.clear: 0, so the false-alarm rate is never measured; 0.01 is a beginning"
    if not any(each.name == "sql" for each in settings.sinks):
        yield "sinks: no sql, which labels, reports and the dashboard read"
    if settings.sample < 1 and settings.mode == "enforce":
        yield f"sample: {settings.sample:g}, so {100 * (1 - settings.sample):g} % of requests are not watched"
