"""Series: what many verdicts have in common, once in the database, so that filters and counts need no scan."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from hashlib import sha256
from typing import Any, NamedTuple

from sqlalchemy import Connection, func, insert, select, update
from sqlalchemy.sql.elements import ColumnElement

from sri_sdk.files import canonical_json
from sri_sdk.serve.store.chunks import chunks
from sri_sdk.serve.store.observed import Choices, StreamQuery
from sri_sdk.serve.store.tables import SERIES

MOST_SERIES = 4_096
"""Series of one store. Names come from whoever delivers: what would be one more is counted with few of its fields, so
that nobody fills the database with names, or makes every page slow."""
_CODE = re.compile(r"[a-z0-9_.:-]{1,128}")
OTHER = "other"
"""In the place of a reason that is no code."""


class Series(NamedTuple):
    """The fields, each as a filter asks for it."""

    source: str
    bundle: str
    model: str
    kind: str
    status: str
    reason: str
    consequence: str
    audit_rate: float

    @property
    def digest(self) -> bytes:
        """16 bytes by which it is found again."""
        return sha256(canonical_json(list(self))).digest()[:16]

    @property
    def coarse(self) -> Series:
        """Without what whoever delivers may choose freely."""
        return self._replace(source="", bundle="", model="", reason=OTHER if self.reason else "")


def reason_of(reasons: Iterable[str]) -> str:
    """The most important reason; empty = none."""
    first = next(iter(reasons), "")
    return first if not first or _CODE.fullmatch(first) else OTHER


def ids_of(connection: Connection, wanted: Collection[Series]) -> dict[Series, int]:
    """The number of each series; those that are new get one. The transaction excludes other writers."""
    found = _known(connection, wanted)
    if len(found) < len(wanted):
        room = MOST_SERIES - (connection.scalar(select(func.count()).select_from(SERIES)) or 0)
        for each in sorted(set(wanted) - set(found)):
            kept = each if room > 0 else each.coarse
            known = _known(connection, [kept]).get(kept)
            if known is None:
                known = _add(connection, kept)
                room -= 1
            found[each] = known
    return found


def note_last(connection: Connection, series: Collection[int], last_seq: int) -> None:
    """Remembers that these series may have verdicts up to a number."""
    for some in chunks(list(series)):
        connection.execute(update(SERIES).where(SERIES.c.id.in_(some)).values(last_seq=last_seq))


def matching(connection: Connection, query: StreamQuery) -> dict[int, int] | None:
    """Series that fit the fields of a query, and the last number of each; None = the query has no such fields."""
    wanted = {
        "source": query.deployment, "bundle": query.bundle, "model": query.model, "kind": query.kind,
        "status": query.status, "reason": query.reason, "consequence": query.consequence,
    }  # fmt: skip
    if not any(value is not None for value in wanted.values()):
        return None
    rows = connection.execute(select(SERIES.c.id, SERIES.c.last_seq).where(*equal(wanted)))
    return {row.id: row.last_seq for row in rows}


def equal(wanted: Mapping[str, Any]) -> list[ColumnElement[bool]]:
    """Conditions on series: these columns have these values; None = any."""
    return [SERIES.c[name] == value for name, value in wanted.items() if value is not None]


def choices(connection: Connection) -> Choices:
    """What filters may ask for."""

    def values(name: str) -> tuple[str, ...]:
        return tuple(sorted(filter(None, connection.scalars(select(SERIES.c[name]).distinct()))))

    return Choices(
        values("source"), values("bundle"), values("model"), values("status"), values("reason"), values("kind"),
        values("consequence"),
    )  # fmt: skip


def _known(connection: Connection, wanted: Collection[Series]) -> dict[Series, int]:
    by_digest = {each.digest: each for each in wanted}
    found: dict[Series, int] = {}
    for some in chunks(list(by_digest)):
        rows = connection.execute(select(SERIES.c.id, SERIES.c.digest).where(SERIES.c.digest.in_(some)))
        found |= {by_digest[bytes(row.digest)]: row.id for row in rows}
    return found


def _add(connection: Connection, series: Series) -> int:
    values = {**series._asdict(), "digest": series.digest, "last_seq": 0}
    return int(connection.execute(insert(SERIES).values(values)).inserted_primary_key[0])  # type: ignore[index]
