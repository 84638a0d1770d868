"""What every page is made with: the store, the clock, the templates, and what an operator asked to see."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from sri_sdk.dashboard import words
from sri_sdk.dashboard.findings import Finding, Known, findings
from sri_sdk.dashboard.memory import Memory, Since
from sri_sdk.dashboard.render import Renderer
from sri_sdk.dashboard.spans import Window, window_of
from sri_sdk.metrics.audit import measure
from sri_sdk.observation import Pulse
from sri_sdk.serve.http import Refusal
from sri_sdk.serve.rights import Caller
from sri_sdk.serve.store.observed import StreamQuery
from sri_sdk.serve.store.store import VerdictStore

LONGEST_ASKED = 512
"""Characters of one thing that an operator asks for."""
TIMES = ("since", "time")
"""Two names of one thing: pages of counts call it the one, lists the other, and both take both."""
MOST_NAMED = 8
"""Of the guards that are known, how many a refusal names."""
NO_GUARD = "none"
"""Asks for verdicts that name no guard: no digest reads so."""
AUDIT_DAYS = 30
"""Days whose audit sample says whether a promise is broken."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a page is to show."""

    query: Mapping[str, str]
    """What was asked for, without what is empty."""

    @classmethod
    def of(cls, request: Request, allowed: Collection[str]) -> Asked:
        """Reads it from the address.

        Args:
            request: what was asked.
            allowed: names of the parameters that the page knows; a time also goes by its other name of `TIMES`.

        Raises:
            Refusal: 400, a parameter is unknown, written twice, too long, or not UTF-8.
        """
        made: dict[str, str] = {}
        for written, value in request.scope["sri_request"].query.items():
            name = written
            if written in TIMES and written not in allowed:
                name = next((each for each in TIMES if each in allowed), written)
            if name not in allowed:
                known = ", ".join(sorted(allowed)) or "none"
                raise Refusal(
                    400, f"{words.asked(written)}: not a parameter of this page; allowed: {known}. Leave it out."
                )  # fmt: skip
            if name in made:
                raise Refusal(400, f"{' and '.join(TIMES)}: both are given, and mean the same. Give one of them.")
            if len(value) > LONGEST_ASKED:
                raise Refusal(400, f"{name}: {len(value)} characters; allowed: {LONGEST_ASKED}. Ask for less.")
            made[name] = value.strip()
        return cls({name: value for name, value in made.items() if value})

    def get(self, name: str, allowed: Any = None) -> str | None:
        """One parameter; None = not asked for.

        Raises:
            Refusal: 400, another word than `allowed`.
        """
        found = self.query.get(name)
        if found is not None and allowed is not None and found not in allowed:
            raise Refusal(
                400, f"{name}: {words.asked(found)} is not a word that is known here; allowed: {', '.join(allowed)}."
            )  # fmt: skip
        return found

    @property
    def window(self) -> Window:
        """The time to show.

        Raises:
            Refusal: 400, not a time.
        """
        return window_of(self.get("since") or "24h")

    def link(self, path: str = "", **changes: str | int | None) -> str:
        """The same page with some things asked otherwise; None = not asked for."""
        query = {**self.query, **changes}
        written = urlencode({name: value for name, value in query.items() if value is not None})
        return f"{path}?{written}" if written else path or "?"


@dataclass(slots=True, eq=False)
class Desk:
    """Shared by all pages. Methods wait for the database."""

    store: VerdictStore
    render: Renderer
    clock: Callable[[], float]
    logs_in: bool
    """Whether browsers log in."""
    memory: Memory = field(default_factory=Memory)

    def now_ms(self) -> int:
        """Milliseconds since 1970."""
        return int(self.clock() * 1000)

    def asked(self, request: Request, *allowed: str) -> Asked:
        """What a page is to show, with the whole digest of a guard that is asked for by its beginning.

        Args:
            request: what was asked.
            allowed: see `Asked.of`.

        Raises:
            Refusal: 400, as `Asked.of`; or no guard begins so, or several do.
        """
        asked = Asked.of(request, allowed)
        wanted = asked.get("bundle")
        if wanted in (None, NO_GUARD):
            return asked
        return Asked({**asked.query, "bundle": self._guard(wanted, tenant_of(request))})

    def _guard(self, wanted: str, tenant: str | None) -> str:
        """The digest that begins so."""
        known = {*self.store.choices().bundles, *(pulse.bundle for pulse in self.store.pulses() if pulse.bundle)}
        begin = wanted.removeprefix(words.DIGEST)
        found = [each for each in known if each.removeprefix(words.DIGEST).startswith(begin)]
        if wanted in known or len(found) == 1:
            return wanted if wanted in known else found[0]
        # Guards that other tenants use are nobody else's business.
        shown = sorted(map(words.short, found or known)) if tenant is None else []
        some = f": {', '.join(shown[:MOST_NAMED])}{' and others' if len(shown) > MOST_NAMED else ''}" if shown else ""
        raise Refusal(
            400, f"bundle: {words.asked(wanted)} is how {'several guards begin' if found else 'no guard begins'}; "
            f"allowed: the digest of one that this store knows, or how it alone begins{some}.",
        )  # fmt: skip

    def page(self, request: Request, template: str, *, status: int = 200, **values: Any) -> Response:
        """A page for whoever asks."""
        return self.render.page(template, status, **self.shared(caller_of(request)), path=request.url.path, **values)

    def shared(self, caller: Caller | None) -> dict[str, Any]:
        """What every template may use."""
        now = self.now_ms()
        return {
            "caller": caller,
            "logs_in": self.logs_in,
            "mood": self.memory if self.memory.looked and caller is not None and caller.tenant is None else None,
            "now": now,
            "ago": lambda at: words.ago(at, now),
            "at": lambda at: words.at(at, now),
        }

    def known(self) -> Known:
        """What the store says about everything that could be wrong."""
        now = self.now_ms()
        pulses = self.store.pulses()
        return Known(
            now, pulses, self.store.hours(now - words.DAY_MS, now), self.store.sources(),
            {p.deployment: at for p in pulses if p.canary_missed and (at := self._last_canary(p)) is not None},
            {p.deployment: at for p in pulses if p.scorer and (at := self._last_judged(p)) is not None},
            self._broken(pulses, now), self.store.heard(), self.store.processes(),
        )  # fmt: skip

    def wrong(self) -> tuple[list[Finding], dict[str, Since]]:
        """What is wrong, the worst first, and since when."""
        known = self.known()
        found = findings(known)
        return found, self.memory.note(found, known.now_ms, lives=known.lives)

    def _last_canary(self, pulse: Pulse) -> int | None:
        return self._newest(StreamQuery(kind="canary", status="flagged", deployment=pulse.deployment, limit=1))

    def _last_judged(self, pulse: Pulse) -> int | None:
        some = (
            self._newest(StreamQuery(kind="traffic", status=status, deployment=pulse.deployment, limit=1))
            for status in ("clear", "flagged")
        )
        return max((at for at in some if at is not None), default=None)

    def _newest(self, query: StreamQuery) -> int | None:
        rows = self.store.stream(query).rows
        return rows[0].observation.at if rows else None

    def _broken(self, pulses: tuple[Pulse, ...], now: int) -> dict[str, str]:
        found = {}
        for pulse in pulses:
            if pulse.promised is None:
                continue
            since = now - AUDIT_DAYS * words.DAY_MS
            measured = measure(
                self.store.audit_counts(since, now, deployment=pulse.deployment, bundle=pulse.bundle or None)
            )
            if measured.standing(pulse.promised) == "broken":
                found[pulse.deployment] = measured.says(pulse.promised)
        return found


def caller_of(request: Request) -> Caller | None:
    """Who asks; None = somebody who is not logged in."""
    found: Caller | None = request.scope.get("sri_caller")
    return found


def tenant_of(request: Request) -> str | None:
    """The only tenant that whoever asks may see; None = everybody's."""
    caller = caller_of(request)
    return None if caller is None else caller.tenant


def for_all_tenants(request: Request) -> None:
    """Refuses a caller who may see one tenant only: what this page adds up is everybody's.

    Raises:
        Refusal: 403.
    """
    if (tenant := tenant_of(request)) is not None:
        raise Refusal(
            403, f"token: belongs to tenant {tenant!r}, and this page is about all of them. See Live and Verdicts, or "
            "use a token without a tenant.",
        )  # fmt: skip
