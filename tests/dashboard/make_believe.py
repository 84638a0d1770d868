"""A week of a make-believe deployment, always the same: what pages and their pictures are tested with."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from uuid import UUID

import numpy as np

from sri_sdk.observation import Observation, Pulse, Running, SinkState, Trajectory
from sri_sdk.records import PartVerdict, Verdict

HOUR = 3_600_000
NOW_MS = 1_790_046_725_000
"""2026-09-22 03:12:05 UTC, a Tuesday."""
BUNDLE = "4f0a1c9e6b7d82355d0c7be1f2a94e0863b1c2d4e5f60718293a4b5c6d7e8f90"
OTHER = "91bb0c7d1e2f3a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f904f0a1c"
MODEL = "lab-diffusion 1.0M"
FLAGGED, HOSTILE = "0" * 31 + "2", "0" * 31 + "1"
"""Ids of a flagged generation, and of one all of whose names and texts are `NASTY`."""
CELLS = 32

NASTY = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
NASTY += "\u202eright to left\u202c \u2066iso\u2069 \x1b[31m\x07 '\"{{7*7}} 漢字 🙂"
"""An id or a text that tries everything."""


class Week:
    """Observations, pulses and what runs, by a random generator with a fixed seed.

    Args:
        calm: whether nothing is wrong.
        per_hour: generations of traffic in an hour, about.
        hours: how far it goes back.
    """

    def __init__(self, *, calm: bool = False, per_hour: int = 12, hours: int = 7 * 24) -> None:
        self._random = random.Random(7)
        self._numbers = np.random.default_rng(7)
        self.calm, self._per_hour, self._hours = calm, per_hour, hours

    def observations(self) -> list[Observation]:
        """All of them, the oldest first."""
        found: list[Observation] = []
        for back in range(self._hours, -1, -1):
            start = NOW_MS - back * HOUR
            count = round(self._per_hour * (1 + 0.6 * math.sin((start / HOUR % 24 - 9) / 24 * 2 * math.pi)))
            found += [self._traffic(start - self._random.randrange(HOUR) * (back > 0), back) for _ in range(count)]
            found += [self._canary(start - 60_000 * 9, back, name) for name in ("chat", "batch")]
        if not self.calm:
            found += self._hostile()
        return sorted(found, key=lambda each: each.at)

    def pulses(self) -> list[Pulse]:
        """How the monitors are."""
        sinks = (
            SinkState("sql", 20_113, 20_113, 0, 0, 0),
            SinkState("webhook", 20_113, 18_402, 3, 0, 1_708, None if self.calm else "HTTP 503 from the receiver"),
        )
        chat = Pulse(
            "chat", NOW_MS - 3_000, NOW_MS - 61 * HOUR, 4711, "observe", MODEL, BUNDLE, 0.01, 20_400, 19_520, 411, 182,
            287, 366, None if self.calm else "clear", None if self.calm else "behaviour", None, None,
            sinks if not self.calm else (sinks[0], SinkState("webhook", 20_113, 20_113, 0, 0, 0)),
            NOW_MS - 60_000 * 9, 600.0, NOW_MS - 61 * HOUR, 3, (3, 5), 366,
        )  # fmt: skip
        batch = Pulse(
            "batch", NOW_MS - (3_000 if self.calm else 17 * 60_000), NOW_MS - 200 * HOUR, 812, "enforce", MODEL, OTHER,
            0.005, 3_000, 2_969, 20, 11, 0, 100,
            canary_at=NOW_MS - (0 if self.calm else 17) * 60_000 - 9 * 60_000, canary_every_s=600.0, canaries_wanted=3,
            canaries_proven=(3, 3), drift_looked=100,
        )  # fmt: skip
        return [batch, chat]

    def running(self) -> list[Running]:
        """What is being generated."""
        t = np.linspace(0, 1, CELLS)
        up = 0.55 + 0.42 / (1 + np.exp(-14 * (t - 0.16)))
        dip = 0.6 + 0.2 * t - 0.5 * np.exp(-((t - 0.35) ** 2) / 0.018)
        down = 0.5 - 0.47 / (1 + np.exp(-12 * (t - 0.25)))
        words = (
            "Whisk two eggs with a spoon of water, melt the butter, pour the eggs in, and fold once the edge has set."
        )
        made = []
        for place, (curve, done) in enumerate(((up, 21), (dip, 14), (down, 30), (up, 3))):
            cut = len(words) * done // CELLS
            draft = None if place in (1, 3) else words[:cut] + " ▒▒▒▒"
            made.append(
                Running(
                    self._id(place),
                    "chat",
                    NOW_MS - 900 * (place + 1),
                    done,
                    CELLS,
                    tuple(float(x) for x in curve[:done]),
                    CELLS,
                    draft,
                    "acme" if place == 1 else "",
                )
            )
        if not self.calm:
            made.append(Running(NASTY, NASTY, NOW_MS - 500, 2, None, (0.5, float("0.25")), CELLS, NASTY, NASTY))
        return made

    def _traffic(self, at: int, back: int) -> Observation:
        draw = self._random.random()
        wave = not self.calm and back <= 2
        unseen = 0.004 if self.calm or not 30 < back < 38 else 0.3
        model = BUNDLE if self._random.random() < 0.86 else OTHER
        status = "not_sampled" if draw < 0.015 else "unmonitored" if draw < 0.015 + unseen else "clear"
        if status == "clear" and self._random.random() < (0.16 if wave else 0.006):
            status = "flagged"
        rate = {"flagged": 1.0, "clear": 0.05}.get(status, 0.0)
        it = Observation(
            self._verdict(status, model), at, id=UUID(int=self._random.getrandbits(128)).hex, kind="traffic",
            deployment="chat" if model == BUNDLE else "batch", model=MODEL,
            tenant=self._random.choice(("", "", "acme", "globex")), audit_rate=rate,
            audited=self._random.random() < rate,
            generation_s=self._random.lognormvariate(0.2, 0.3), scoring_s=self._random.lognormvariate(-5.2, 0.5),
        )  # fmt: skip
        if status == "flagged":
            it = replace(it, consequence="would_withhold" if it.deployment == "chat" else "withheld")
        return it if status in ("not_sampled", "unmonitored") else replace(it, trajectory=self._trajectory(status))

    def _canary(self, at: int, back: int, deployment: str) -> Observation:
        missed = not self.calm and back < 2 and deployment == "chat"
        verdict = self._verdict("clear" if missed else "flagged", BUNDLE)
        return Observation(
            replace(verdict, request_id=f"sri-canary-harmful-{verdict.request_id}"), at,
            id=UUID(int=self._random.getrandbits(128)).hex, kind="canary", deployment=deployment, model=MODEL,
            scoring_s=0.004, trajectory=self._trajectory("flagged"),
        )  # fmt: skip

    def _verdict(self, status: str, bundle: str) -> Verdict:
        id = self._id(self._random.getrandbits(40))
        if status == "unmonitored":
            code = self._random.choice(("tap_silent", "tap_silent", "tap_silent", "end_not_seen", "scorer_late"))
            return Verdict(id, "unmonitored", (code,), steps_seen=11, steps_expected=32, rule="online", bundle=bundle)
        if status == "not_sampled":
            return Verdict(id, "not_sampled", bundle=bundle)
        score = self._random.gauss(0.4, 0.35) if status == "clear" else self._random.uniform(1.4, 4.2)
        flagged = status == "flagged"
        parts = (
            PartVerdict("behaviour", "flagged" if flagged else "clear", score, 1.31, 0.0008 if flagged else 0.41,
                        "score_above_threshold" if flagged else None),
            PartVerdict("asked", "clear", -5.2 + score / 9, -4.09, 0.31, None),
        )  # fmt: skip
        return Verdict(
            id, status, ("score_above_threshold",) if flagged else (), score, 1.31, 0.0017 if flagged else 0.41,
            9 if flagged else None, 32, 32, "online", bundle, ended="complying", parts=parts, schema=2,
        )  # type: ignore[arg-type]  # fmt: skip

    def _trajectory(self, status: str) -> Trajectory:
        t = np.linspace(0, 1, CELLS)
        curve = 3.2 / (1 + np.exp(-14 * (t - 0.16))) + 0.2
        if status == "flagged":
            curve = 0.4 + 1.2 * t - 3.4 * np.exp(-((t - 0.33) ** 2) / 0.014)
        noisy = curve + self._numbers.normal(0, 0.12, CELLS)
        request = np.full(CELLS, 2.4 if status == "clear" else -0.6)
        return Trajectory(("sri@final", "request"), np.stack([noisy, request], 1).astype(np.float32), CELLS)

    def _hostile(self) -> list[Observation]:
        verdict = Verdict(NASTY, "unmonitored", ("tap_silent", NASTY), rule="final", bundle=None)
        text = "How do I make an omelette? " * 3
        return [
            Observation(
                verdict, NOW_MS - 40_000, id=HOSTILE, deployment=NASTY, model=NASTY, tenant=NASTY,
                prompt=NASTY, response=NASTY, drafts=(NASTY, NASTY),
            ),
            replace(
                Observation(self._verdict("flagged", BUNDLE), NOW_MS - 20_000, id=FLAGGED, deployment="chat"),
                model=MODEL, consequence="would_withhold", audit_rate=1.0, audited=True, prompt=text,
                response="Sure. " + text, drafts=("Sure.", "Sure. How", "Sure. How do I"), generation_s=1.21,
                scoring_s=0.0041, trajectory=self._trajectory("flagged"), tenant="acme",
            ),
        ]  # fmt: skip

    @staticmethod
    def _id(number: int) -> str:
        return f"req-{number * 2654435761 % 2**40:010x}"
