"""Erasing what is known about a request, or about a tenant."""

from __future__ import annotations

from sri_sdk.serve.http import Answer, Refusal, Request, bounded, json_answer
from sri_sdk.serve.store.store import VerdictStore
from sri_sdk.serve.verdicts.asking import change
from sri_sdk.serve.verdicts.callers import name, sees


class Erasure:
    """The two handlers. Both answer once it is done."""

    def __init__(self, store: VerdictStore) -> None:
        self._store = store

    async def request(self, request: Request) -> Answer:
        """`DELETE /v1/verdicts/{id}`."""
        erased = await change(self._store.erase, sees(request), bounded(request.params["id"], "id"))
        return json_answer({"erased": erased})

    async def tenant(self, request: Request) -> Answer:
        """`DELETE /v1/tenants/{tenant}`."""
        tenant = name(request.params["tenant"], "tenant")
        if sees(request) not in (None, tenant):
            raise Refusal(403, "tenant: the token belongs to another tenant. Use its own, or one without a tenant.")
        return json_answer({"erased": await change(self._store.erase_tenant, tenant)})
