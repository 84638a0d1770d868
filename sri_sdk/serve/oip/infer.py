"""From tensors to what was asked of them. Scores are the graph's; verdicts are `Scorer.score`'s."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from sri_sdk.records import Signals, Verdict
from sri_sdk.scoring.admission import UNVERIFIED
from sri_sdk.scoring.scorer import Scorer
from sri_sdk.scoring.verdicts import Verdicts
from sri_sdk.serve.batching import INLINE_SECONDS, Batching
from sri_sdk.serve.oip.asked import Asked
from sri_sdk.serve.oip.model import VERDICT
from sri_sdk.serve.oip.tensors import Array
from sri_sdk.serve.shadow import Shadows
from sri_sdk.serve.shelf import Shelf, Version

Tensors = Mapping[str, Array]
VERDICT_SECONDS = 5e-6
"""About what one verdict takes beside its score."""


class Inference:
    """What answers requests, whichever way they come."""

    def __init__(self, shelf: Shelf, batching: Batching, shadows: Shadows) -> None:
        self.shelf = shelf
        self.batching = batching
        self.shadows = shadows
        self.rows: Counter[str] = Counter()
        """By bundle."""
        self.statuses: Counter[tuple[str, str]] = Counter()
        """(bundle, status) -> verdicts that were given out."""

    async def answer(self, asked: Asked, tensors: Tensors) -> dict[str, Array]:
        """Every output that is asked for, by name: [B], or [B, K] of a guard with parts."""
        model, rows = asked.model, asked.rows
        found: dict[str, Array] = {}
        shadow = self.shelf.shadow_of(model)
        if asked.raw or shadow is not None:
            cheap = model.seconds(rows) < INLINE_SECONDS
            scored = model.run(tensors) if cheap else await self.batching.run(model, tensors, rows)
            if shadow is not None:
                self.shadows.compare(model, shadow, tensors, scored)
            found = {"score": scored[0], "valid": scored[1]}
        if asked.verdicts:
            cells = asked.model.inputs["signals"].dims[0] if asked.rule == "online" else 1
            seconds = asked.rows * VERDICT_SECONDS + asked.model.seconds(asked.rows * cells)
            late = seconds > 2 * INLINE_SECONDS
            verdicts = await asyncio.to_thread(judged, asked, tensors) if late else judged(asked, tensors)
            found |= self._verdicts(asked, verdicts)
        self.rows[model.bundle] += rows
        return found

    def answer_now(self, asked: Asked, tensors: Tensors) -> dict[str, Array]:
        """The same for a caller in a thread of its own: [B] or [B, K]."""
        model, rows = asked.model, asked.rows
        found: dict[str, Array] = {}
        shadow = self.shelf.shadow_of(model)
        if asked.raw or shadow is not None:
            cheap = model.seconds(rows) < INLINE_SECONDS
            scored = model.run(tensors) if cheap else self.batching.run_now(model, tensors, rows)
            if shadow is not None:
                self.shadows.compare(model, shadow, tensors, scored)
            found = {"score": scored[0], "valid": scored[1]}
        if asked.verdicts:
            found |= self._verdicts(asked, judged(asked, tensors))
        self.rows[model.bundle] += rows
        return found

    def live(self, name: str) -> Version:
        """The live version of a bundle; raises `Refusal`, 404, where there is none."""
        return self.shelf.live(name)

    def posted(
        self, bundle: str, live: object, verdicts: Sequence[Verdict], judge: Callable[[Scorer], Sequence[Verdict]]
    ) -> None:
        """Counts what was judged for the verdict store, and has the shadow judge it too.

        Args:
            bundle: its name.
            live: that judged.
            verdicts: that it gave.
            judge: gives those of another scorer; called in a thread, later.
        """
        self.rows[bundle] += len(verdicts)
        for verdict in verdicts:
            self.statuses[bundle, verdict.status] += 1
        entry = self.shelf.entries.get(bundle)
        if entry is not None and entry.live is live and (shadow := entry.shadow) is not None:
            self.shadows.compare_verdicts(bundle, verdicts, lambda: judge(shadow.scorer))

    def _verdicts(self, asked: Asked, verdicts: Verdicts) -> dict[str, Array]:
        statuses = verdicts.statuses
        for status, count in Counter(statuses).items():
            self.statuses[asked.model.bundle, status] += count
        columns = {
            "flagged": verdicts.flagged,
            "p_value": verdicts.p_values.astype(np.float32),
            "status": np.array(statuses, object),
        }
        return {name: columns[name] for name in VERDICT}


def judged(asked: Asked, tensors: Tensors) -> Verdicts:
    """The verdicts on a request's rows.

    Raises:
        ScoringError: lengths out of range.
        ModelMismatch: the signals belong to another model.
    """
    signals = tensors["signals"]
    made = Signals(
        tuple(map(str, range(asked.rows))), signals, signals, asked.fingerprint, tensors.get("length"),
        groups=None if asked.group is None else (asked.group,) * asked.rows,
    )  # fmt: skip
    return asked.model.scorer.judge(
        made, rule=asked.rule, accept=asked.accept, unverified=bool(asked.echo.get("sri_" + UNVERIFIED)),
        subject=asked.model.name,
    )  # fmt: skip
