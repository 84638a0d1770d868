"""Whose verdicts a request is about: the token's tenant, or the one that the header `sri-tenant` names."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

from sri_sdk.serve.http import Refusal, Request, bounded

HEADER = b"sri-tenant"
"""Its value is percent-encoded UTF-8: headers cannot hold every script."""
LONGEST_NAME = 128
"""Characters of a tenant or a source: with an id of 512 they must fit into one entry of a database's index."""


def writes_for(request: Request) -> str:
    """The tenant that what is posted belongs to; empty = the one without a name.

    Raises:
        Refusal: 403, the token is another tenant's; 400, the name cannot be one.
    """
    return sees(request) or ""


def sees(request: Request) -> str | None:
    """The tenant whose verdicts are looked up, or erased; None = everybody's. Raises as `writes_for`."""
    sent, own = request.headers.get(HEADER), request.caller.tenant
    named = None if sent is None else _decoded(sent)
    if own is None:
        return named
    if named not in (None, own):
        raise Refusal(403, "sri-tenant: the token belongs to another tenant. Leave the header out, or use its token.")
    return name(own, "tenant of the token")


def name(found: str, subject: str) -> str:
    """A tenant or a source, as it is.

    Raises:
        Refusal: 400, it is too long, empty, or holds control characters.
    """
    if len(found) > LONGEST_NAME:
        raise Refusal(400, f"{subject}: {len(found)} characters; allowed: {LONGEST_NAME}. Shorten it.")
    return bounded(found, subject)


def _decoded(sent: bytes) -> str:
    try:
        return name(unquote_to_bytes(sent).decode("utf-8"), "sri-tenant")
    except UnicodeDecodeError as err:
        raise Refusal(400, "sri-tenant: not UTF-8 once its percent signs are read. Encode it again.") from err
