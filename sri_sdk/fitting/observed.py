"""Traffic that people have labelled, for detectors that learn from labels.

Its signals were measured against the anchors of the guard that watched. They mean the same to a new detector only if
the fit has these very anchors: the same model, tap and prompts of `folds.anchors`, which then give the same means.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sri_sdk.anchors import Anchors
from sri_sdk.config.folds import FEWEST_ATTACKS, TrainFold
from sri_sdk.errors import ConfigError, ModelMismatch
from sri_sdk.fingerprint import Fingerprint
from sri_sdk.fitting.labelled import LabelledAttacks
from sri_sdk.records import Signals
from sri_sdk.scoring.signal_files import read_signals

BY_PEOPLE = "labelled by people"
"""Stands where others have the name of an attack."""


@dataclass(frozen=True, slots=True)
class Observed:
    """Labelled traffic, as it was read."""

    attacks: Signals | None
    harmless: Signals | None

    @classmethod
    def read(cls, fold: TrainFold | None, fingerprint: Fingerprint) -> Observed:
        """Reads the files that a fold names, and refuses them before anything is generated where they are of no use.

        Args:
            fold: of the config; None = there is none.
            fingerprint: of the live model under the tap.

        Raises:
            ConfigError: no other attacks are learnt from, and these are too few.
            ScoringError: a file cannot be read.
            ModelMismatch: its signals are of another model, tap or profile, or do not say of which.
        """
        found: dict[str, Signals | None] = {"attacks": None, "harmless": None}
        for name in found:
            if fold is None or (path := getattr(fold.observed, name, None)) is None:
                continue
            signals = read_signals(path, "logit")
            if signals.fingerprint is None:
                raise ModelMismatch(
                    f"folds.train.observed.{name}: {path} does not say what made its signals. Write it with: "
                    "sri label STORE --export FOLDER"
                )
            fingerprint.admit(
                Fingerprint.from_dict(signals.fingerprint), subject=f"folds.train.observed.{name}",
                accept=("torch", "transformers", "dtype", "adapter", "system_prompt"),
            )  # fmt: skip
            found[name] = signals
        attacks = found["attacks"]
        if fold is not None and attacks is not None and not fold.attacks and len(attacks) < FEWEST_ATTACKS:
            raise ConfigError(
                f"folds.train.observed.attacks: {len(attacks)} attacks, at least {FEWEST_ATTACKS} are needed. Label "
                "more, or name attacks of the dataset in folds.train.attacks as well."
            )
        return cls(**found)

    def check(self, anchors: Anchors) -> None:
        """Refuses signals that were measured against other anchors than those of the fit.

        Raises:
            ModelMismatch: they were.
        """
        mine = {"anchors": anchors.digest}
        if anchors.request is not None:
            mine["request_map"] = anchors.request.digest
        for name in ("attacks", "harmless"):
            signals: Signals | None = getattr(self, name)
            if signals is None:
                continue
            made = dict(signals.fingerprint or {})
            if other := [key for key, wanted in mine.items() if made.get(key) != wanted]:
                raise ModelMismatch(
                    f"folds.train.observed.{name}: measured with other {other[0]} ({str(made.get(other[0]))[:12]}) "
                    f"than this fit has ({mine[other[0]][:12]}). Take the config of the guard that watched, with "
                    "the same prompts in folds.anchors and folds.request; its cache makes them quickly."
                )
            columns = tuple(column.name for column in anchors.columns)
            if (signals.columns or columns) != columns or signals.logit.shape[2] != len(columns):
                raise ModelMismatch(
                    f"folds.train.observed.{name}: columns {', '.join(signals.columns or ())}, this fit has "
                    f"{', '.join(columns)}. Take the config of the guard that watched."
                )

    def with_attacks(self, drawn: LabelledAttacks | None) -> LabelledAttacks | None:
        """All labelled attacks, those that were drawn and these."""
        if self.attacks is None:
            return drawn
        count = len(self.attacks)
        mine = LabelledAttacks(self.attacks, np.ones(count, dtype=np.bool_), {BY_PEOPLE: (count, count)})
        if drawn is None:
            return mine
        return LabelledAttacks(
            joined(drawn.signals, self.attacks), np.concatenate([drawn.counted, mine.counted]),
            {**drawn.by_attack, **mine.by_attack},
        )  # fmt: skip

    def with_harmless(self, train: Signals) -> Signals:
        """The harmless signals of the fold, and those that people labelled benign."""
        return train if self.harmless is None else joined(train, self.harmless)


def joined(first: Signals, second: Signals) -> Signals:
    """Two sets of signals with the same columns, one behind the other: [N + M, T, C]."""
    if first.logit.shape[1:] != second.logit.shape[1:]:
        raise ModelMismatch(
            f"signals of shape {list(first.logit.shape)} and {list(second.logit.shape)} cannot be learnt from "
            "together; T and C must be equal."
        )
    return replace(
        first,
        ids=(*first.ids, *second.ids),
        sigma=np.concatenate([first.sigma, second.sigma]),
        logit=np.concatenate([first.logit, second.logit]),
        lengths=None, groups=None, missing=None,
    )  # fmt: skip
