"""What made a set of anchors: it travels with traces, signals, bundles and requests.

Anchors and thresholds are valid only for what made them. A hard field that differs is always refused; a soft one must
be accepted by name, and every verdict says which ones were.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Self

from sri_sdk.errors import ModelMismatch
from sri_sdk.files import digest

HARD = (
    "architecture", "hidden_size", "layers", "pooling", "grid", "sampler", "config_digest", "weights_digest",
    "modules_digest", "request",
)  # fmt: skip
"""`request` is there only for guards that read requests: layers, and digests of chat template and system prompt.
`sampler` holds the name and the options, hence the whole generation profile; of a guard with a horizon, only what
decides the first steps. Guards of older releases have no `modules_digest`, and then nothing is compared with it."""
SOFT = ("dtype", "adapter", "torch", "transformers", "system_prompt")


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Hard and soft facts about the model, the tap and the generation profile. Values are JSON types."""

    hard: Mapping[str, Any]
    soft: Mapping[str, Any]

    @property
    def digest(self) -> str:
        """SHA-256 of the hard fields: equal = interchangeable."""
        return digest(dict(self.hard))

    @property
    def horizon(self) -> int | None:
        """The guard judges this many steps from the beginning; None = whole generations."""
        sampler = self.hard.get("sampler")
        found = sampler.get("horizon") if isinstance(sampler, Mapping) else None
        return found if type(found) is int else None

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return {"hard": dict(self.hard), "soft": dict(self.soft)}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`.

        Raises:
            ModelMismatch: not a fingerprint.
        """
        hard, soft = value.get("hard"), value.get("soft")
        if not isinstance(hard, Mapping) or not isinstance(soft, Mapping):
            raise ModelMismatch(
                f"fingerprint: expected an object with `hard` and `soft`, found keys {sorted(value)}. "
                "Compute the signals again with this SDK."
            )
        return cls(dict(hard), dict(soft))

    def _other_dtype(self, other: Fingerprint) -> str:
        """A sentence that says that the weights are of another dtype, which may be all that differs; empty = not so."""
        mine, its = self.soft.get("dtype"), other.soft.get("dtype")
        if mine == its or {mine, its} <= {"bfloat16", "float32", "float64"}:
            # Between these the digest stays the same, so the dtype is not what differs.
            return ""
        return (
            f" The weights are in {its} here, and were in {mine} when the guard was fitted: rounding makes other "
            f"weights of them. Load the model with dtype={mine!r}."
        )

    def admit(self, other: Fingerprint, *, subject: str, accept: Collection[str] = ()) -> tuple[str, ...]:
        """Checks that a guard with this fingerprint may judge `other`.

        Args:
            other: fingerprint of the signals or the live model. A hard field it lacks counts as different.
            subject: what `other` belongs to, for the message.
            accept: soft fields that the operator allows to differ.

        Returns:
            The soft fields that differ, all of them accepted.

        Raises:
            ModelMismatch: a hard field differs, or a soft one that is not accepted.
        """
        for name, expected in self.hard.items():
            if name not in other.hard or other.hard[name] != expected:
                where, wanted, found = name, _short(expected), "missing"
                if name in other.hard:
                    where, wanted, found = _differing(name, expected, other.hard[name])
                more = self._other_dtype(other) if name == "weights_digest" else _ANOTHER_PROMPT.get(where, "")
                raise ModelMismatch(
                    f"{subject}: {where} is {found}, the guard was fitted on {wanted}. "
                    "Anchors and thresholds do not carry over; use the guard of this model and profile, "
                    f"or fit one with `sri fit`.{more}"
                )
        differing = tuple(n for n, expected in self.soft.items() if other.soft.get(n) != expected)
        for name in differing:
            if name not in accept:
                raise ModelMismatch(
                    f"{subject}: {name} is {_short(other.soft.get(name))}, the guard was fitted with "
                    f"{_short(self.soft[name])}. If that is intended, accept it by name: "
                    f"`accept: [{name}]` in YAML, `--accept {name}` or `accept=({name!r},)`."
                )
        return differing


_ANOTHER_PROMPT = {
    "request.system_prompt": " Both are digests of system prompts, None = there is none. Generate with the one that "
    "the guard was fitted with, and state it: `system_prompt=` of a watch, `model.system_prompt` in YAML."
}
"""Field -> a last sentence, where what differs is most likely a mistake of the call."""


def _differing(name: str, expected: Any, found: Any) -> tuple[str, str, str]:
    """Where two values differ, and both: of two objects the first member that does, since the rest may be long."""
    if isinstance(expected, Mapping) and isinstance(found, Mapping):
        for key in (*expected, *found):
            if key not in expected or key not in found:
                wanted, other = (_short(side[key]) if key in side else "missing" for side in (expected, found))
                return f"{name}.{key}", wanted, other
            if expected[key] != found[key]:
                return _differing(f"{name}.{key}", expected[key], found[key])
    return name, _short(expected), _short(found)


def _short(value: Any) -> str:
    if isinstance(value, str) and len(value) == 64:
        return value[:12]
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:117]}..."
