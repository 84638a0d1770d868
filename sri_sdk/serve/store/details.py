"""What only some observations have: a trajectory, and texts where the operator keeps them."""

from __future__ import annotations

import zlib
from collections.abc import Collection
from typing import Any

import numpy as np
from sqlalchemy import Connection, delete, select

from sri_sdk.files import canonical_json
from sri_sdk.observation import Observation, Trajectory
from sri_sdk.serve.store.chunks import chunks
from sri_sdk.serve.store.tables import TEXTS, TRAJECTORIES
from sri_sdk.strict_json import parse

_TEXTS = ("prompt", "response", "drafts")


def trajectory_row(found: Trajectory) -> dict[str, Any]:
    """A row of `sri_trajectories`, without its number."""
    return {
        "columns": canonical_json(list(found.columns)).decode(),
        "length": found.length,
        "logit": np.ascontiguousarray(found.logit, dtype="<f4").tobytes(),
    }


def texts_row(observation: Observation) -> dict[str, Any] | None:
    """A row of `sri_texts`, without its number; None = there are no texts."""
    texts = {name: _clean(getattr(observation, name)) for name in _TEXTS}
    if not any(texts.values()):
        return None
    return {"packed": zlib.compress(canonical_json(texts))}


def trajectories(connection: Connection, seqs: Collection[int]) -> dict[int, Trajectory]:
    """The trajectories of some rows; those without are left out."""
    found = {}
    for some in chunks(list(seqs)):
        for row in connection.execute(select(TRAJECTORIES).where(TRAJECTORIES.c.seq.in_(some))):
            columns = tuple(parse(row.columns))
            logit = np.frombuffer(bytes(row.logit), dtype="<f4").reshape(-1, len(columns))
            found[row.seq] = Trajectory(columns, logit.astype(np.float32), row.length)
    return found


def texts(connection: Connection, seq: int) -> dict[str, Any]:
    """The fields of an observation that are texts; empty = none are kept."""
    packed = connection.scalar(select(TEXTS.c.packed).where(TEXTS.c.seq == seq))
    if packed is None:
        return {}
    found = parse(zlib.decompress(bytes(packed)))
    return {**found, "drafts": tuple(found["drafts"])}


def forget(connection: Connection, seqs: Collection[int]) -> None:
    """Deletes the details of some rows."""
    for some in chunks(list(seqs)):
        for table in (TRAJECTORIES, TEXTS):
            connection.execute(delete(table).where(table.c.seq.in_(some)))


def _clean(found: Any) -> Any:
    """Texts that UTF-8 can write: half of a surrogate pair, which a model may emit, becomes a question mark."""
    if isinstance(found, str):
        return found.encode(errors="replace").decode()
    return [_clean(each) for each in found] if isinstance(found, tuple) else found
