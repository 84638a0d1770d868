"""Extension point `sri.samplers`: one sampling scheme."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Generator, Mapping, Sequence
from typing import Any, ClassVar

from sri_sdk.hook import Hook, Scheme
from sri_sdk.plugin import Plugin
from sri_sdk.records import Encoded, Intervention, SamplerStep

Steps = Generator[SamplerStep, Intervention | None, None]


class Sampler(Plugin):
    """One sampling scheme, as a generator that yields one step at a time.

    Between two steps the caller may send an `Intervention` (abort rows, open positions again). Rows do not
    depend on each other: the randomness of a row comes from (`seed`, prompt id) alone, so batch 1 equals
    batch N and a resumed run equals an uninterrupted one.
    """

    schemes: ClassVar[frozenset[Scheme]]
    """The schemes of the hooks it can drive."""
    prefills: ClassVar[bool] = False
    """Whether it can begin with the canvas of `Encoded.response`, a masked response that was started. What is fixed
    there counts as committed before step 0. Autoregressive models need nothing: the driver passes a longer prompt."""
    keeps_commits: ClassVar[bool] = True
    """Whether what it has committed stays as it is, unless somebody asks to open it again. False where the scheme opens
    or changes committed positions by itself: a guard takes that for tampering otherwise (`canvas_rewritten`)."""

    @classmethod
    def example(cls) -> Any:
        """What the conformance kit tests it on: a `sri_sdk.testing.SamplerCase`.

        Only needed if the default options are not enough, or if the sampler drives a single family. By default, None,
        the kit takes the small model of an installed hook.
        """
        return None

    @abstractmethod
    def budget(self) -> int:
        """The largest number of steps one generation can take."""

    def is_fixed(self) -> bool:
        """Whether every generation takes exactly `budget()` steps; False where one may end earlier.

        This is about responses that start empty. A started response may have fewer holes than steps: it ends once they
        are filled, and coverage is measured by the steps it took.
        """
        return False

    def pace(self) -> Mapping[str, Any] | None:
        """What of the profile decides the first steps of a generation, however long it may get.

        For guards with a horizon: they hold for every length, so their fingerprint has these values and no others.
        Whatever two samplers with the same pace generate, they take the same first steps, up to the end of the shorter.

        Returns:
            JSON types by name, mostly the options without those that only bound the length; None, the default = the
            length decides the first steps too, as where a fixed number of steps fills one canvas.
        """
        return None

    @abstractmethod
    def canvas(self) -> int:
        """The largest number of response tokens one generation can have."""

    @staticmethod
    def row_seed(seed: int, prompt_id: str) -> int:
        """Seed of one row's random numbers, 0 to 2**56 - 1: the same in every process, whatever its company."""
        # hash() differs between processes; a resumed run must draw the same numbers.
        return int.from_bytes(hashlib.sha256(f"{seed}:{prompt_id}".encode()).digest()[:7], "little")

    @abstractmethod
    def steps(self, hook: Hook, prompts: Encoded, prompt_ids: Sequence[str], seed: int = 0) -> Steps:
        """Generates a batch, one step at a time.

        Args:
            hook: the model family; `hook.forward` runs the model.
            prompts: B prompts as tokens; with `prefills`, their started responses too.
            prompt_ids: B ids; each seeds its own row.
            seed: the run's seed.

        Yields:
            One `SamplerStep` per step, with the canvas after the step's update.
        """
