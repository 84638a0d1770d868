"""Generates requests with the deployment's own model and sampler, under the monitor's guard."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace

from sri_sdk.capture.conclude import INTERRUPTED
from sri_sdk.capture.drive import Drive, drive, generate_untapped
from sri_sdk.capture.settings import WatchSettings, watch_settings
from sri_sdk.fitting.deployment import Deployment
from sri_sdk.monitor.live import Live
from sri_sdk.monitor.monitor import Monitor
from sri_sdk.monitor.observing import Texts, drawn
from sri_sdk.monitor.traffic.traffic import Answered, Asked
from sri_sdk.observation import Kind, Observation
from sri_sdk.policy import Decision
from sri_sdk.records import Signals, Verdict

log = logging.getLogger("sri_sdk.monitor")


class Driver:
    """Answers batches of requests, one batch at a time."""

    def __init__(self, deployment: Deployment, monitor: Monitor) -> None:
        """Takes a live model, and the monitor that watches it.

        Raises:
            ModelMismatch, ConfigError: the guard was not made for this model.
        """
        self._deployment, self._monitor = deployment, monitor
        self._under: tuple[Live, Mapping[Kind, WatchSettings]] = monitor.live, self.settings_for(monitor.live)

    def settings_for(self, live: Live) -> Mapping[Kind, WatchSettings]:
        """What generations are measured against, under what a reload has brought: of traffic and of canaries.

        Raises:
            ModelMismatch, ConfigError: the guard was not made for this model, or the policy does not suit it.
        """
        deployment = self._deployment
        traffic = watch_settings(
            deployment.hook, live.guard, policy=live.policy, accept=live.told.accept, live=self._monitor.shows,
            sampler=deployment.fingerprint.hard["sampler"], fingerprint=deployment.fingerprint,
        )  # fmt: skip
        return {"traffic": traffic, "canary": replace(traffic, policy=live.canary_policy)}

    def look_after(self) -> None:
        """Generates the canaries that are due."""
        due = self._monitor.canaries()
        size = self._monitor.settings.batch_size
        for start in range(0, len(due), size):
            self.generate([Asked(each.prompt) for each in due[start : start + size]], "canary")

    def reload(self, loaded: Future[Live] | None = None) -> str | None:
        """Reads the monitor's file again, and checks what it brings with the model; see `Monitor.reload`."""
        return self._monitor.reload(self.settings_for, loaded)

    def generate(self, asked: Sequence[Asked], kind: Kind = "traffic") -> list[Observation]:
        """Generates requests and answers them.

        Args:
            asked: of which no two have one id.
            kind: who asks. A canary is always watched.

        Returns:
            What is written down of them, in order.
        """
        with self._monitor.in_use() as live:
            if self._under[0] is not live:
                self._under = live, self.settings_for(live)
            share = 1.0 if kind == "canary" else live.told.settings.sample
            watched = [drawn(share) for _ in asked]
            found: dict[str, Observation] = {}
            for chosen in (True, False):
                rows = [each for each, seen in zip(asked, watched, strict=True) if seen is chosen]
                if rows:
                    self._monitor.accounts.begin(len(rows))
                    observed = self._watched(live, rows, kind) if chosen else self._unwatched(live, rows)
                    found |= {each.request_id: each for each in observed}
        return [found[each.prompt.id] for each in asked]

    # -- watched ---------------------------------------------------------------------------------------------

    def _watched(self, live: Live, asked: Sequence[Asked], kind: Kind) -> list[Observation]:
        began, batch = time.perf_counter(), None
        try:
            batch = self._drive(live, asked, kind)
            drafts = self._loop(live, batch, asked)
            said, responses = batch.texts, batch.responses
        except Exception as err:
            if len(asked) > 1:
                # One request's fault is not its neighbours': each is generated anew, alone.
                log.warning("a batch of %d failed with %s; each is tried alone", len(asked), type(err).__name__)
                return [found for each in asked for found in self._watched(live, [each], kind)]
            return self._failed(live, asked[0], batch, kind, err, time.perf_counter() - began)
        texts = None
        if live.told.settings.store_texts:
            kept = zip(asked, said, drafts, strict=True)
            texts = {row: Texts(each.prompt.text, text, tuple(seen)) for row, (each, text, seen) in enumerate(kept)}
        run = batch.run
        observations = live.circumstances.observed(
            run.decisions, run.signals, kind=kind, tenants=[each.tenant for each in asked],
            generation_s=time.perf_counter() - began, scoring_s=live.took(), texts=texts,
        )  # fmt: skip
        self._answer(live, asked, run.decisions, responses, observations, kind, run.signals)
        return observations

    def _drive(self, live: Live, asked: Sequence[Asked], kind: Kind) -> Drive:
        deployment = self._deployment
        return drive(
            deployment.hook, deployment.loaded, deployment.sampler, [each.prompt for each in asked],
            self._under[1][kind], seed=deployment.config.seed, system_prompt=deployment.config.model.system_prompt,
            recovery=None if kind == "canary" else live.recovery,
        )  # fmt: skip

    def _loop(self, live: Live, batch: Drive, asked: Sequence[Asked]) -> list[list[str]]:
        """Generates it to the end; per request its drafts, empty where texts are not stored."""
        texts, held = live.told.settings.store_texts, live.policy.may_withhold
        budget, cells = self._deployment.sampler.budget(), live.guard.anchors.harmless.shape[0]
        drafts: list[list[str]] = [[] for _ in asked]
        with self._monitor.board.shows(
            [each.prompt.id for each in asked], live.told.settings.name, steps=budget, cells=cells,
            tenants=[each.tenant for each in asked],
        ) as entry:  # fmt: skip
            entry.watches(batch.run)
            for step in batch:
                said = batch.texts if texts else None
                for kept, draft in zip(drafts, said or (), strict=False):
                    kept.append(draft)
                entry.step(step.index + 1, None if held else said)
        return drafts

    def _failed(
        self, live: Live, asked: Asked, batch: Drive | None, kind: Kind, err: Exception, seconds: float
    ) -> list[Observation]:
        """One request whose generation raised: unmonitored, and there is no response."""
        # Its message may hold what a user typed.
        log.error("a generation failed: %s", type(err).__name__)
        lost = Verdict(asked.prompt.id, "unmonitored", (INTERRUPTED,), rule=live.policy.rule)
        run = None if batch is None else batch.run
        (decision,) = (run.decisions if run is not None else ()) or live.policy.decide([lost])
        signals = None if run is None else run.signals
        observations = live.circumstances.observed(
            [decision], signals, kind=kind, tenants=[asked.tenant], generation_s=seconds,
            scoring_s=live.took(),
        )  # fmt: skip
        self._answer(live, [asked], [decision], [None], observations, kind, None, failed=type(err).__name__)
        return observations

    # -- not watched -----------------------------------------------------------------------------------------

    def _unwatched(self, live: Live, asked: Sequence[Asked]) -> list[Observation]:
        deployment = self._deployment
        failed, texts = None, list[str | None]([None] * len(asked))
        try:
            texts = list(
                generate_untapped(
                    deployment.hook, deployment.loaded, deployment.sampler, [each.prompt for each in asked],
                    seed=deployment.config.seed, system_prompt=deployment.config.model.system_prompt,
                )
            )  # fmt: skip
        except Exception as err:
            if len(asked) > 1:
                return [found for each in asked for found in self._unwatched(live, [each])]
            log.error("a generation failed: %s", type(err).__name__)
            failed = type(err).__name__
        observations = live.circumstances.not_sampled(
            [each.prompt.id for each in asked], [each.tenant for each in asked]
        )
        decisions = [Decision(each.verdict, withheld=False) for each in observations]
        self._answer(live, asked, decisions, texts, observations, "traffic", None, failed=failed)
        return observations

    def _answer(
        self, live: Live, asked: Sequence[Asked], decisions: Sequence[Decision], responses: Sequence[str | None],
        observations: Sequence[Observation], kind: Kind, signals: Signals | None, *, failed: str | None = None,
    ) -> None:  # fmt: skip
        recorded = self._monitor.record(observations)
        for each, decision, response, observation in zip(asked, decisions, responses, observations, strict=True):
            try:
                each.answer(Answered(decision, response, observation, recorded, failed))
            except Exception as err:
                # Whoever asked has left, say. The others are answered all the same.
                log.warning("an answer could not be given: %s", type(err).__name__)
        if kind == "canary":
            self._monitor.lookout.ran(observations, signals)
        else:
            self._monitor.follow_up(live, observations, signals)
