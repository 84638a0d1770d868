"""What a request asks of a model, checked: tensors, outputs, identity. The same for REST and gRPC.

Most clients send the same words with every request, and only the numbers differ, so what the words mean is remembered.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sri_sdk.errors import did_you_mean
from sri_sdk.records import Rule, Signals
from sri_sdk.scoring.admission import admit
from sri_sdk.serve.http import Refusal, bounded
from sri_sdk.serve.oip.model import RAW, VERDICT, Model
from sri_sdk.serve.oip.tensors import DTYPES
from sri_sdk.strict_json import JsonError, parse

PARAMETERS = (
    "sri_fingerprint", "sri_accept", "sri_unverified", "sri_request_id", "sri_tenant", "sri_rule", "sri_group",
)  # fmt: skip
"""Parameters of a request that are ours. Other names are left to other servers, and ignored."""
MOST_TENSORS = 16
LONGEST_FINGERPRINT = 2**16


@dataclass(frozen=True, slots=True)
class StatedInput:
    """One input, without its data."""

    name: str
    datatype: str
    shape: tuple[int, ...]

    @property
    def bytes(self) -> int:
        """That its data takes."""
        return math.prod(self.shape) * DTYPES[self.datatype].itemsize

    @property
    def as_taken(self) -> tuple[int, ...]:
        """Its shape as the graph takes it: one number per row is [B], not [B, 1]."""
        return self.shape[:1] if len(self.shape) == 2 else self.shape


@dataclass(frozen=True, slots=True)
class Asked:
    """What one request asks, without its data."""

    model: Model
    rows: int
    inputs: tuple[StatedInput, ...]
    outputs: tuple[str, ...]
    rule: Rule
    group: str | None
    fingerprint: Mapping[str, Any] | None
    """As signals have it; None = the request did not say what made them."""
    accept: tuple[str, ...]
    echo: Mapping[str, str | bool]
    """Parameters of the answer."""
    tenant: str | None

    raw: bool
    """Whether what the graph says is asked for."""
    verdicts: bool
    """Whether a verdict is."""


def asked(
    model: Model, inputs: Sequence[StatedInput], outputs: Sequence[str], parameters: Mapping[str, Any], *,
    most_rows: int,
) -> Asked:  # fmt: skip
    """Checks a request against its model.

    Args:
        model: that it names.
        inputs: as it states them.
        outputs: as it names them; empty = the graph's own.
        parameters: as sent.
        most_rows: that one request may have.

    Raises:
        Refusal: anything that does not fit; 409 where the signals belong to another model.
        ModelMismatch: the same, as the SDK words it.
    """
    rows = _rows(model, inputs, most_rows)
    wanted = tuple(outputs) or RAW
    if len(set(wanted)) != len(wanted) or (unknown := [name for name in wanted if name not in model.outputs]):
        raise Refusal(
            400, f"outputs: each once, of {', '.join(model.outputs)}; found {', '.join(map(_short, wanted[:8]))}."
            + (did_you_mean(unknown[0][:40], model.outputs) if len(set(wanted)) == len(wanted) else ""),
        )  # fmt: skip
    for name in parameters:
        if name.startswith("sri_") and name not in PARAMETERS:
            hint = did_you_mean(name[:40], PARAMETERS)
            raise Refusal(400, f"parameters: {_short(name)} is unknown; ours are {', '.join(PARAMETERS)}.{hint}")
    found = Asked(
        model, rows, tuple(inputs), wanted, _rule(model, parameters), _text(parameters, "sri_group"), None,
        tuple(filter(None, (_text(parameters, "sri_accept") or "").split(","))), {}, _text(parameters, "sri_tenant"),
        any(name in RAW for name in wanted), any(name in VERDICT for name in wanted),
    )  # fmt: skip
    return _identified(found, parameters)


def _rows(model: Model, inputs: Sequence[StatedInput], most_rows: int) -> int:
    given = {tensor.name: tensor for tensor in inputs}
    if len(inputs) != len(given) or given.keys() != model.inputs.keys():
        names = ", ".join(_short(tensor.name) for tensor in inputs[:8])
        raise Refusal(400, f"inputs: found {names or 'none'}; {model.name} takes {', '.join(model.inputs)}, each once.")
    first = inputs[0].shape[0] if inputs[0].shape else 0
    for name, edge in model.inputs.items():
        tensor = given[name]
        # One number per row may come without the dimension that Triton asks for.
        shapes = [(first, *edge.dims), *([(first,)] if edge.dims == (1,) else [])]
        if tensor.datatype != edge.datatype or tensor.shape not in shapes:
            raise Refusal(
                400,
                f"input {name}: {_short(tensor.datatype)} {list(tensor.shape)[:8]}, {model.name} takes "
                f"{edge.datatype} {['B', *edge.dims]}, the same B everywhere. Lay signals on the guard's grid.",
            )
    if first < 1:
        raise Refusal(400, f"inputs: {first} rows; allowed: 1 to {most_rows}. Send one at least.")
    if first > most_rows:
        raise Refusal(413, f"inputs: {first} rows; allowed: 1 to {most_rows}. Send fewer at once.")
    return first


def _rule(model: Model, parameters: Mapping[str, Any]) -> Rule:
    allowed = ("online",) if model.graph == "prefix" else tuple(r for r in model.scorer.rules if r != "online")
    rule = parameters.get("sri_rule", model.rule)
    if rule not in allowed:
        raise Refusal(400, f"sri_rule: {_short(rule)}; {model.name} has {', '.join(allowed)}. Choose one of them.")
    return rule  # type: ignore[no-any-return]  # Compared with the rules there are.


def _identified(found: Asked, parameters: Mapping[str, Any]) -> Asked:
    """With what the request says of its signals' origin, and what the answer will say of it."""
    model, manifest = found.model, found.model.scorer.manifest
    unverified = parameters.get("sri_unverified", False)
    if not isinstance(unverified, bool):
        raise Refusal(400, "sri_unverified: must be true or false.")
    echo: dict[str, str | bool] = {"sri_bundle": model.digest}
    if request_id := _text(parameters, "sri_request_id"):
        echo["sri_request_id"] = request_id
    if found.tenant:
        echo["sri_tenant"] = found.tenant
    sent = parameters.get("sri_fingerprint")
    if sent is None:
        if found.verdicts and not unverified:
            raise Refusal(
                400,
                "sri_fingerprint: missing, so the signals may belong to another model. Send the digest of their "
                "fingerprint, or the fingerprint as JSON, or say `sri_unverified: true` at your own risk.",
            )
        return replace(found, echo={**echo, "sri_unverified": True})
    if not isinstance(sent, str) or len(sent) > LONGEST_FINGERPRINT:
        raise Refusal(400, "sri_fingerprint: must be a text, 64 hex characters or a fingerprint as JSON.")
    if not sent.lstrip().startswith("{"):
        if sent.lower() != manifest.fingerprint_digest:
            raise Refusal(
                409,
                f"sri_fingerprint: digest {_short(sent[:12])}, the guard was fitted on "
                f"{manifest.fingerprint_digest[:12]}: another model, tap or profile. Send the fingerprint as JSON to "
                "read which field differs.",
            )
        # The digest covers hard fields only; the soft ones count as those of the guard.
        echo["sri_fingerprint"] = manifest.fingerprint_digest
        return replace(found, fingerprint=manifest.fingerprint, echo=echo)
    try:
        fingerprint = parse(sent)
    except JsonError as err:
        raise Refusal(400, f"sri_fingerprint: {err}. Send it as `Fingerprint.to_dict()` has it.") from err
    nothing = np.zeros((0, manifest.signal.cells, len(manifest.ranges[0])), np.float32)
    accepted = admit(manifest, Signals((), nothing, nothing, fingerprint), subject="signals", accept=found.accept)
    echo["sri_fingerprint"] = manifest.fingerprint_digest
    if accepted:
        echo["sri_accepted"] = ",".join(accepted)
    return replace(found, fingerprint=fingerprint, echo=echo)


def _text(parameters: Mapping[str, Any], name: str) -> str | None:
    return bounded(parameters[name], name) if name in parameters else None


def _short(found: Any) -> str:
    return ascii(found)[:60]
