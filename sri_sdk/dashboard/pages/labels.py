"""What people say that generations were: the only thing that the dashboard writes."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from sri_sdk.dashboard.desk import Desk, caller_of, tenant_of
from sri_sdk.dashboard.pages.audit import AuditPage
from sri_sdk.dashboard.pages.verdicts import VerdictPages
from sri_sdk.serve.http import Refusal
from sri_sdk.serve.http import Request as Sent
from sri_sdk.serve.store.observed import LABELS
from sri_sdk.serve.tokens import check_right


class Labels:
    """`POST /verdicts/{id}/label`."""

    def __init__(self, desk: Desk, verdicts: VerdictPages, audit: AuditPage) -> None:
        self._desk, self._verdicts, self._audit = desk, verdicts, audit

    async def add(self, request: Request) -> Response:
        """Labels one observation, and shows where it was asked for what that changed.

        Raises:
            Refusal: 403, the token may not write; 400, another word; 404, the id is unknown.
        """
        from starlette.concurrency import run_in_threadpool

        caller = caller_of(request)
        assert caller is not None
        check_right(caller, "write")
        form = await form_of(request)
        return await run_in_threadpool(self._add, request, form, caller.name or "local")

    def _add(self, request: Request, form: dict[str, str], by: str) -> Response:
        id, label = request.path_params["id"], form.get("label", "")
        if label not in LABELS:
            raise Refusal(400, f"label: not a word that is known here; allowed: {', '.join(LABELS)}.")
        tenant = tenant_of(request)
        found = self._desk.store.observation(id, tenant=tenant)
        if found is None:
            raise Refusal(404, "Nothing is kept under this id. It may have been erased meanwhile.")
        try:
            self._desk.store.label(found.observation.id, label, by, form.get("note", ""), tenant=tenant)
        except ValueError as err:
            raise Refusal(400, str(err)) from err
        if request.headers.get("hx-request") != "true":
            own = f"/verdicts/{found.observation.id}#labels"
            target = f"{_audit_page(form)}#queue" if form.get("from") == "queue" else own
            return RedirectResponse(target, status_code=303)
        if form.get("from") == "queue":
            return self._audit.queue(request, form.get("deployment") or None)
        return self._verdicts.labels(request)


def _audit_page(form: dict[str, str]) -> str:
    """The audit page as it was: with the one deployment that it showed, if it showed one."""
    wanted = form.get("deployment")
    return f"/audit?{urlencode({'deployment': wanted})}" if wanted else "/audit"


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a form; of those that are sent twice the last.

    Raises:
        Refusal: as the body of `sri serve`; 400, not a form.
    """
    sent: Sent = request.scope["sri_request"]
    body = await sent.body()
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=16)
    except ValueError as err:
        raise Refusal(400, "body: not a form in UTF-8. Go back, and send it again.") from err
    return dict(pairs)
