"""Which signals may be scored: those of the model, tap and profile the guard was fitted on."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sri_sdk.bundle.manifest import Manifest
from sri_sdk.bundle.manifest_v2 import AnyManifest
from sri_sdk.errors import ConfigError, ModelMismatch, ScoringError, did_you_mean
from sri_sdk.fingerprint import SOFT, Fingerprint
from sri_sdk.records import REQUEST, Signals

UNVERIFIED = "unverified"
"""Listed among the accepted fields of a verdict if its signals did not say what made them."""


def admit(
    manifest: AnyManifest, signals: Signals, *, subject: str = "signals", accept: Collection[str] = (),
    unverified: bool = False,
) -> tuple[str, ...]:  # fmt: skip
    """Checks shape and identity.

    Besides `hard` and `soft`, the fingerprint of signals may name the `anchors` (digest), `tau` and `eps` that made
    them; these must match.

    Args:
        manifest: of the bundle that will score.
        signals: what will be scored.
        subject: what they are, for the message.
        accept: soft fields that the operator allows to differ.
        unverified: also admit signals without a fingerprint.

    Returns:
        The soft fields that differ, all of them accepted; `unverified` for signals without a fingerprint.

    Raises:
        ScoringError: T or C differ, or there is no fingerprint and `unverified` was not given.
        ModelMismatch: another model, tap, profile or set of anchors.
        ConfigError: `accept` names a field that is not soft.
    """
    for name in accept:
        if name not in SOFT:
            raise ConfigError(
                f"accept: {name!r} is not a soft field; allowed: {', '.join(SOFT)}.{did_you_mean(name, SOFT)} "
                "Hard fields cannot be accepted: fit a guard for that model."
            )
    values = signals.domain(manifest.signal.domain)
    different = len(set(signals.ids))
    if not len(values) == len(signals.ids) == different:
        raise ScoringError(
            f"{subject}: {len(signals.ids)} ids, {different} of them different, for {len(values)} rows. "
            "Give each row an id of its own."
        )
    columns = manifest.signal.layers if isinstance(manifest, Manifest) else len(manifest.signal.columns)
    expected = (manifest.signal.cells, columns)
    found = values.shape
    if len(found) != 3 or found[1:] != expected:
        raise ScoringError(
            f"{subject}: shape {list(found)}, the guard takes [N, T, C] = [N, {expected[0]}, {expected[1]}]. "
            "Lay the signals on the guard's step grid and tapped layers."
        )
    names = None if isinstance(manifest, Manifest) else manifest.column_names
    given = signals.columns
    if given is not None and (REQUEST in given if names is None else given != names):
        wanted = "tapped layers only" if names is None else ", ".join(names)
        raise ScoringError(
            f"{subject}: columns {', '.join(given)}, the guard reads {wanted}. "
            "Make the signals with the guard's own anchors, layers and request map."
        )
    if signals.fingerprint is None:
        if unverified:
            return (UNVERIFIED,)
        raise ScoringError(
            f"{subject}: no fingerprint says what made them, so they may belong to another model. Write them with "
            "this SDK, or score them at your own risk with `--unverified` (`unverified=True`)."
        )
    made_with: dict[str, Any] = {"anchors": manifest.anchors.sha256, "tau": manifest.tau, "eps": manifest.eps}
    if not isinstance(manifest, Manifest) and manifest.anchors.request is not None:
        made_with["request_map"] = manifest.anchors.request.sha256
    for name, wanted in made_with.items():
        given = signals.fingerprint.get(name, wanted)
        if given != wanted:
            raise ModelMismatch(
                f"{subject}: made with {name} {str(given)[:12]}, the guard was calibrated with {str(wanted)[:12]}. "
                "Compute the signals again with the guard's own anchors and settings."
            )
    guard = Fingerprint(manifest.fingerprint["hard"], manifest.fingerprint["soft"])
    return guard.admit(Fingerprint.from_dict(signals.fingerprint), subject=subject, accept=accept)
