"""Anchors: the mean pooled state per step of answered harmless and of refused harmful generations.

arXiv 2602.02600, section 3.1: the harmless anchor uses only harmless prompts that were *not* refused, the harmful
anchor only harmful prompts that *were*. Means are streamed; no generation is kept.

Beside them may stand the map that makes the request column: whatever turns hidden states into signals is private, and
in one file.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from sri_sdk.errors import CaptureError, ConfigError, ModelMismatch
from sri_sdk.files import save_arrays, sha256
from sri_sdk.fingerprint import Fingerprint
from sri_sdk.records import REQUEST, Column, Label, Outcome
from sri_sdk.request_map import RequestMap
from sri_sdk.signal import UnitAnchors, usable
from sri_sdk.strict_json import json_from_array, json_to_array

ANCHORS_FORMAT = 1
"""Of files without a request map, which every release can read."""
WITH_REQUEST = 2
"""Of files with one."""
_WANTED: dict[Label, str] = {"harmless": "answered", "harmful": "refused"}


@dataclass(frozen=True, slots=True)
class Anchors:
    """The two references a signal is measured against. Keep them private: their difference is close to the
    model's refusal direction, which is what an attacker would ablate."""  # fmt: skip

    harmless: NDArray[np.float32]
    """[T, C, D] float32: mean state of answered harmless generations."""
    harmful: NDArray[np.float32]
    """[T, C, D] float32: mean state of refused harmful generations."""
    fingerprint: Fingerprint
    provenance: Mapping[str, Any]
    """Prompts used and seen per class, judge and version, digest of the prompt ids."""
    request: RequestMap | None = None
    """From states of the request to the last column; None = there is no such column."""
    _units: UnitAnchors | None = field(default=None, init=False, repr=False, compare=False)
    _digest: str = field(default="", init=False, repr=False, compare=False)

    @property
    def units(self) -> UnitAnchors:
        """The two means, ready to be measured against; made once, so their arrays must not change after that."""
        if self._units is None:
            object.__setattr__(self, "_units", UnitAnchors(self.harmless, self.harmful))
            assert self._units is not None
        return self._units

    @property
    def columns(self) -> tuple[Column, ...]:
        """What its signals hold per cell, in order: one SRI signal per tapped layer, then the request."""
        # Anchors that somebody made by hand may not say which layers they are of.
        layers = self.fingerprint.hard.get("layers", range(self.harmless.shape[1]))
        found = [Column(f"sri@{layer}", "sri", (layer,)) for layer in layers]
        if self.request is not None:
            facts = self.fingerprint.hard.get("request") or {}
            read = facts.get("layers", range(len(self.request.weight)))
            found.append(Column(REQUEST, "request", tuple(read)))
        return tuple(found)

    @property
    def digest(self) -> str:
        """SHA-256 over the little-endian float32 bytes of the two means, harmless first; the request map has its own.

        It identifies the anchors that made a signal. Of means that cannot be written to, it is computed once.
        """
        fixed = not (self.harmless.flags.writeable or self.harmful.flags.writeable)
        if fixed and self._digest:
            return self._digest
        found = sha256(self.harmless.astype("<f4").tobytes() + self.harmful.astype("<f4").tobytes())
        if fixed:
            object.__setattr__(self, "_digest", found)
        return found

    def save(self, target: Path) -> None:
        """Writes an .npz without pickle, whole or not at all."""
        head: dict[str, Any] = {
            "format": ANCHORS_FORMAT,
            "fingerprint": self.fingerprint.to_dict(),
            "provenance": dict(self.provenance),
            "digest": self.digest,
        }
        arrays: dict[str, NDArray[Any]] = {"harmless": self.harmless, "harmful": self.harmful}
        if self.request is not None:
            head["format"] = WITH_REQUEST
            head["request"] = {"digest": self.request.digest, "provenance": dict(self.request.provenance)}
            arrays["request_weight"] = self.request.weight
            arrays["request_bias"] = np.array(self.request.bias, dtype=np.float64)
        save_arrays(target, {**arrays, "head": json_to_array(head)})

    @classmethod
    def load(cls, source: Path) -> Self:
        """Reads what `save` wrote.

        Raises:
            ModelMismatch: missing, damaged, or of another format.
        """
        try:
            with np.load(source, allow_pickle=False) as stored:
                head = json_from_array(stored["head"])
                arrays = {name: stored[name] for name in stored.files if name != "head"}
            for array in arrays.values():
                array.setflags(write=False)
            found = head.get("format") if isinstance(head, dict) else head
            if found in (ANCHORS_FORMAT, WITH_REQUEST):
                anchors = cls(
                    arrays["harmless"], arrays["harmful"], Fingerprint.from_dict(head["fingerprint"]),
                    head["provenance"], _request(arrays, head) if found == WITH_REQUEST else None,
                )  # fmt: skip
                expected = head["digest"], head["request"]["digest"] if anchors.request else None
        except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as err:
            raise ModelMismatch(
                f"{source}: cannot be read as anchors ({err}). Point to the anchors.npz that `sri fit` wrote."
            ) from err
        if found not in (ANCHORS_FORMAT, WITH_REQUEST):
            raise ModelMismatch(
                f"{source}: anchors format {str(found)[:40]}, this SDK reads {ANCHORS_FORMAT} and {WITH_REQUEST}. "
                "Fit again with `sri fit`."
            )
        if expected != (anchors.digest, anchors.request.digest if anchors.request else None):
            raise ModelMismatch(f"{source}: the arrays do not match their digest. Restore the file, or fit again.")
        return anchors


def _request(arrays: Mapping[str, NDArray[Any]], head: Mapping[str, Any]) -> RequestMap:
    """The map in a file: weight [C, D] float32 and bias, one float64.

    Raises:
        ValueError: they are something else.
    """
    weight, bias = arrays["request_weight"], arrays["request_bias"]
    if weight.dtype != np.float32 or weight.ndim != 2 or bias.dtype != np.float64 or bias.shape != ():
        raise ValueError(f"request map of {weight.dtype} {list(weight.shape)} and {bias.dtype} {list(bias.shape)}")
    return RequestMap(weight, float(bias), head["request"]["provenance"])


class AnchorBuilder:
    """Streams two means. Sums are float64, so the order and grouping of batches do not show in float32."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        """`shape` is (T, C, D)."""
        self._sums = {label: np.zeros(shape, dtype=np.float64) for label in _WANTED}
        self._used = dict.fromkeys(_WANTED, 0)
        self._seen = dict.fromkeys(_WANTED, 0)

    def add(self, label: Label, outcome: Outcome, phi: NDArray[np.float32], *, prompt_id: str) -> bool:
        """Takes one generation; returns whether it counts towards its anchor.

        Args:
            label: what the prompt was.
            outcome: how the judge classified the response.
            phi: [T, C, D] float32 pooled states on the grid.
            prompt_id: named in the message.

        Raises:
            CaptureError: a state is not finite or has no direction.
        """
        refuse_unusable(phi, prompt_id)
        self._seen[label] += 1
        if (outcome == "refusal") != (label == "harmful"):
            return False
        self._used[label] += 1
        self._sums[label] += phi
        return True

    def build(self, fingerprint: Fingerprint, provenance: Mapping[str, Any]) -> Anchors:
        """The two means.

        Raises:
            ConfigError: a class has no usable generation.
        """
        for label, wanted in _WANTED.items():
            if not self._used[label]:
                raise ConfigError(
                    f"anchors: none of {self._seen[label]} {label} prompts was {wanted}; at least one must be. "
                    "Check the judge against a few responses (`sri run`), or use other prompts."
                )
        means = {label: (self._sums[label] / self._used[label]).astype(np.float32) for label in _WANTED}
        counts = {label: {"used": self._used[label], "seen": self._seen[label]} for label in _WANTED}
        return Anchors(means["harmless"], means["harmful"], fingerprint, {**provenance, "counts": counts})

    def state(self) -> dict[str, NDArray[Any]]:
        """Everything so far, for `merge`: sums [T, C, D] float64 and counts [2, 2] int64."""
        counts = np.array([[self._used[x], self._seen[x]] for x in _WANTED], dtype=np.int64)
        return {**{f"sum_{label}": self._sums[label] for label in _WANTED}, "counts": counts}

    def merge(self, state: Mapping[str, NDArray[Any]]) -> Self:
        """Adds the sums [T, C, D] float64 and counts [2, 2] of another builder, as its `state` has them.

        Sums of the same parts, merged in the same order, are equal bit for bit, whoever made the parts.
        """
        for row, label in enumerate(_WANTED):
            self._sums[label] += state[f"sum_{label}"]
            used, seen = (int(x) for x in state["counts"][row])
            self._used[label] += used
            self._seen[label] += seen
        return self


def refuse_unusable(phi: NDArray[Any], prompt_id: str) -> None:
    """Raises CaptureError, naming prompt and cell, if a state of `phi` [T, C, D] is not finite or has no length."""
    good = usable(phi)
    if good.all():
        return
    step, layer = (int(x) for x in np.argwhere(~good)[0])
    what = "zero length" if np.isfinite(phi[step, layer]).all() else "NaN or infinity"
    raise CaptureError(
        f"prompt {prompt_id!r}: the hidden state at cell {step}, layer {layer} has {what}. "
        "Load the model in float32 or bfloat16; if only this prompt fails, leave it out."
    )
