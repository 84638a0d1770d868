"""ASGI middleware around a service's own `generate`: no response leaves before its verdict, if the policy withholds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Literal, get_args

from sri_sdk.client.asgi import App, Receive, Scope, Send, header_of, plain_scope
from sri_sdk.client.carried import Carried, carrying, trace_of
from sri_sdk.client.client import VerdictClient, new_id
from sri_sdk.client.held_response import HeldResponse, Replacement
from sri_sdk.client.settings import is_id
from sri_sdk.errors import ConfigError, GenerationAborted
from sri_sdk.policy import Decision, Policy
from sri_sdk.records import Verdict
from sri_sdk.strict_json import write

Where = Literal["process", "store"]
MOST_BYTES = 2**24


class VerdictMiddleware:
    """Gives every request an id, and holds its response until the guard has judged what was generated for it.

        app = sri_sdk.VerdictMiddleware(app, client, policy, paths=["/generate"])

    Inside, `with client.generation() as ids` takes the id of the request it is called in, with its tenant and its
    `traceparent`. A policy that only reports lets every response pass at once. One that withholds holds pieces of a
    response as `HeldTokens` does, and what is withheld is replaced; where a part was sent already, the stream is ended.

    Works with every ASGI server and framework. Websockets below `paths` cannot be held: a policy that withholds refuses
    them. Responses with a status of 400 or more pass if no generation was announced for their request.
    """

    def __init__(
        self, app: App, client: VerdictClient, policy: Policy, *, paths: Sequence[str], where: Where = "process",
        budget_s: float = 1.0, behind: int = 1, header: str = "x-request-id", trust_header: bool = False,
        tenant: Callable[[Scope], str | None] | None = None, most_bytes: int = MOST_BYTES,
        replacement: Callable[[Decision], Replacement] | None = None,
    ) -> None:  # fmt: skip
        """Takes the application and what decides.

        Args:
            app: the ASGI application that generates.
            client: the client that the watch has among its sinks; with `store`, the one that looks verdicts up.
            policy: what follows from a verdict; the same as that of the watch.
            paths: prefixes of the paths that generate; others are not touched.
            where: `process` = the watch runs in this process, and no network is needed; `store` = somewhere else, and
                the verdict is looked up: one of the policy's rule is waited for, or one that flags.
            budget_s: most seconds that a response waits once the application is done; then it is `unmonitored`, with
                `no_verdict`, and the policy decides.
            behind: body messages held back under the rules `online` and `request`, as for `HeldTokens`.
            header: of the request id, in requests and responses.
            trust_header: take the id from the request. Only behind a gateway that sets it: whoever chooses ids may
                choose one that was judged already.
            tenant: whose request it is, from its ASGI scope; None = nobody says.
            most_bytes: of one response that are held; what is longer is decided without a verdict.
            replacement: what stands for a withheld response; None = status 403 and JSON with the request id.

        Raises:
            ConfigError: `paths` is empty or no list, or `where` is none of its words.
        """
        if isinstance(paths, str) or not paths or not all(path.startswith("/") for path in paths):
            raise ConfigError(
                f"VerdictMiddleware: paths {paths!r}; pass a list of the paths that generate, such as ['/generate']. "
                "['/'] means all."
            )
        if where not in get_args(Where):
            raise ConfigError(f"VerdictMiddleware: where {where!r}; allowed: {', '.join(get_args(Where))}.")
        self._app, self._client, self._policy, self._paths = app, client, policy, tuple(paths)
        self._where, self._budget, self._behind, self._most = where, budget_s, behind, most_bytes
        self._header, self._trusts, self._tenant = header, trust_header, tenant
        self._replacement = replacement

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection."""
        kind = scope["type"]
        if kind not in ("http", "websocket") or not self._generates(scope):
            await self._app(scope, receive, send)
            return
        known = self._carried(scope)
        assert known.request_id is not None
        inside = plain_scope(scope, self._header, known.request_id)
        with carrying(known):
            if kind == "http":
                await self._hold(known.request_id, inside, receive, send)
            elif not self._policy.may_withhold:
                await self._app(inside, receive, send)
            else:
                await send({"type": "websocket.close", "code": 1008})

    async def _hold(self, request_id: str, scope: Scope, receive: Receive, send: Send) -> None:
        async def ask() -> Verdict:
            # A part of the budget is for the way there and back.
            wait_s = 0.8 * self._budget
            return await asyncio.to_thread(
                self._client.lookup, request_id, wait_s=wait_s, rule=self._policy.rule, budget_s=self._budget - wait_s
            )

        # Those of an earlier try under the same id had their verdicts; this response has to wait for none of them.
        before = self._client.generations_of(request_id, ended=True)
        asks = self._where == "store" and self._policy.may_withhold
        response = HeldResponse(
            send, request_id, self._policy, header=self._header, budget_s=self._budget, behind=self._behind,
            most_bytes=self._most, replaced=self._replacement or forbidden,
            generations=lambda: self._client.generations_of(request_id) - before, ask=ask if asks else None,
        )  # fmt: skip
        # From here on, so that nothing that was said of this id before counts.
        stop = self._client.listen(request_id, response.judge)
        try:
            await self._app(scope, receive, response.take)
            await response.finish()
        except BaseException as err:
            if not _aborted(err):
                raise
            await response.withhold()
        finally:
            stop()

    def _generates(self, scope: Scope) -> bool:
        if scope.get("method") == "OPTIONS":
            return False
        path = scope["path"]
        return any(path == each or path.startswith(each.rstrip("/") + "/") for each in self._paths)

    def _carried(self, scope: Scope) -> Carried:
        given = header_of(scope, self._header) if self._trusts else None
        usable = given is not None and given.isascii() and is_id(given)
        # A tenant that cannot be stored goes in as well: `generation` refuses it, where leaving it out would make the
        # request another tenant's.
        return Carried(
            given if usable else new_id(), None if self._tenant is None else self._tenant(scope),
            trace_of(header_of(scope, "traceparent")),
        )  # fmt: skip


def forbidden(decision: Decision) -> Replacement:
    """Says that the response is withheld, and nothing about why: whoever probes a guard would learn from it."""
    said = {"error": "This response is withheld.", "request_id": decision.request_id}
    return Replacement(403, "application/json", write(said).encode())


def _aborted(err: BaseException) -> bool:
    """Whether a guard stopped the generation; frameworks wrap what happens in their tasks."""
    if isinstance(err, BaseExceptionGroup):
        return err.subgroup(GenerationAborted) is not None
    return isinstance(err, GenerationAborted)
