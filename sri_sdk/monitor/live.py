"""What a reload replaces, as one immutable whole: guard, place of scoring, policy. A generation keeps what it began
with."""

from __future__ import annotations

import threading

from sri_sdk import registry
from sri_sdk.errors import ConfigError
from sri_sdk.monitor.lookout import Lookout
from sri_sdk.monitor.observing import Circumstances, applied
from sri_sdk.monitor.reading import Told
from sri_sdk.monitor.scoring.open import open_place
from sri_sdk.monitor.scoring.place import Place, PlacedScorer
from sri_sdk.monitor.shadow import ShadowGuard
from sri_sdk.policy import Policy
from sri_sdk.scoring.guard import Guard
from sri_sdk.steer.recovery.recovery import Recovery

READY_S = 60.0
"""Seconds that a local scorer may take to start."""


class Live:
    """One set of settings, made live.

    Attributes:
        told: the settings.
        guard: loaded, with a scorer that asks the place.
        place: where it scores; None = in this process.
        policy: that generations run under: the operator's, or one that only reports.
        circumstances: of its observations.
        recovery: what answers in place of flagged responses; None = nothing does.
        shadow: the guard that scores beside; None = none does.
    """

    def __init__(
        self, told: Told, guard: Guard, place: Place | None, recovery: Recovery | None, shadow: ShadowGuard | None,
        model: str,
    ) -> None:  # fmt: skip
        """Use `open`."""
        self.told, self.guard, self.place, self.recovery, self.shadow = told, guard, place, recovery, shadow
        settings = told.settings
        self.policy: Policy = applied(told.policy, settings.mode)
        self.circumstances = Circumstances(
            settings.name, model, told.policy, settings.mode, settings.audit, settings.trajectories
        )
        self.canary_policy = applied(told.policy, "observe")
        """Nothing follows from what a canary says, and it is seen to its end."""
        self._lock = threading.Lock()
        self._users, self._retired = 0, False

    @classmethod
    def open(cls, told: Told, model: str) -> Live:
        """Loads the guard and what else the settings name.

        Args:
            told: checked settings.
            model: its name, as a person would say it.

        Raises:
            SriError: the guard may not be loaded, or the policy does not suit it.
        """
        settings, policy = told.settings, told.policy
        trust = settings.guard.trust
        loaded = Guard.load(settings.guard.path, public_key=trust.public_key, digest=trust.digest)
        if policy.rule not in loaded.scorer.rules:
            raise ConfigError(f"policy.rule: found {policy.rule!r}, the guard has: {', '.join(loaded.scorer.rules)}.")
        recovery = None
        if policy.recovers and settings.mode == "enforce":
            assert told.config is not None  # As the settings were checked.
            judge = told.config.judge
            recovery = Recovery.open(policy, registry.build("judges", judge.name, judge.options))
        shadow = None
        if settings.shadow is not None:
            shadow = ShadowGuard.open(settings.shadow, loaded.manifest, policy, told.accept)
        place = open_place(settings)
        if place is not None and not place.wait_ready(READY_S):
            place.close()
            raise ConfigError(
                f"scoring.where: local: the scorer was not ready within {READY_S:g} s. Its own message is above; "
                f"`sri bundle verify {settings.guard.path}/bundle` says more."
            )
        guard = Guard(loaded.anchors, PlacedScorer(loaded.scorer, place))
        return cls(told, guard, place, recovery, shadow, model)

    @property
    def digest(self) -> str:
        """Of the guard."""
        return self.guard.scorer.bundle.digest

    @property
    def promised(self) -> float:
        """Largest false-alarm rate that the guard promises for the rule in use."""
        rule = self.told.policy.rule
        return next(each.alpha for name, each in self.guard.manifest.rules.items() if name == rule)

    @property
    def trouble(self) -> str | None:
        """What is wrong with where scores are made, as a code; None = nothing."""
        scorer = self.guard.scorer
        return scorer.trouble if isinstance(scorer, PlacedScorer) else None

    def took(self) -> float | None:
        """Seconds of the last call of the scorer in this thread."""
        scorer = self.guard.scorer
        return scorer.took() if isinstance(scorer, PlacedScorer) else None

    def begin(self) -> bool:
        """Keeps it open until `end`; False = it was replaced already, and may be closed."""
        with self._lock:
            self._users += not self._retired
            return not self._retired

    def end(self) -> None:
        """Whoever began no longer needs it."""
        with self._lock:
            self._users -= 1
            last = self._retired and not self._users
        if last:
            self._close()

    def retire(self) -> None:
        """Closes it once nobody uses it."""
        with self._lock:
            self._retired, last = True, not self._users
        if last:
            self._close()

    def _close(self) -> None:
        if self.place is not None:
            self.place.close()


def lookout_of(live: Live, before: Lookout | None = None, *, check: bool = False) -> Lookout:
    """Canaries and drift as the settings have them; `before` and `check` as in `Lookout.open`.

    Raises:
        SriError: the guard, the dataset or the file of canaries does not allow it.
    """
    settings = live.told.settings
    return Lookout.open(
        settings.canaries, settings.drift, scorer=live.guard.scorer, folder=settings.guard.path,
        policy=live.told.policy, state=settings.spool_path.parent, config=live.told.config, accept=live.told.accept,
        before=before, check=check,
    )  # fmt: skip


def lookout_key(live: Live) -> tuple[object, ...]:
    """What canaries and drift depend on: where it is the same, they go on."""
    settings, policy = live.told.settings, live.told.policy
    return (
        settings.canaries, settings.drift, live.digest, settings.guard.path, policy.rule, policy.debounce,
        live.told.accept,
    )  # fmt: skip
