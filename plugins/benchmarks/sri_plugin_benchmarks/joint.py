"""Several sets as one dataset: an evaluation names one, and needs harmless, harmful, attacked, borderline prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, ValidationError

import sri_sdk
from sri_plugin_benchmarks.advbench import AdvBenchDataset
from sri_plugin_benchmarks.artifacts import JailbreakBenchArtifactsDataset
from sri_plugin_benchmarks.benchmark import Benchmark, first_of, refuse_unknown
from sri_plugin_benchmarks.harmbench import HarmBenchDataset
from sri_plugin_benchmarks.jailbreakbench import JailbreakBenchDataset
from sri_plugin_benchmarks.or_bench import OrBenchDataset
from sri_plugin_benchmarks.pool import Sort
from sri_plugin_benchmarks.strongreject import StrongRejectDataset
from sri_plugin_benchmarks.wildjailbreak import WildJailbreakDataset
from sri_plugin_benchmarks.xstest import XSTestDataset
from sri_sdk.errors import did_you_mean

SRI_PLUGIN_API = 1

SETS: dict[str, type[Benchmark]] = {
    kind.manifest.name: kind
    for kind in (
        JailbreakBenchDataset, JailbreakBenchArtifactsDataset, HarmBenchDataset, WildJailbreakDataset, XSTestDataset,
        OrBenchDataset, StrongRejectDataset, AdvBenchDataset,
    )
}  # fmt: skip


def _each_right(sets: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Refuses sets that do not exist, and options that a set does not have."""
    problems = []
    for name, options in sets.items():
        if name not in SETS:
            problems.append(f"{name}: unknown set; allowed: {', '.join(SETS)}.{did_you_mean(name, SETS)}")
            continue
        try:
            SETS[name].Config.model_validate(options)
        except ValidationError as err:
            problems += [f"{name}.{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in err.errors()]
    if problems:
        raise ValueError("; ".join(problems))
    return sets


class BenchmarksDataset(sri_sdk.Dataset):
    """The splits of a set are called `set.split`, as in `xstest.test`; ids and attacks stay what they are.

    Sets took requests from each other. Of two that hold one request the set named first keeps it, and the other loses
    it with its attacked forms: no request stands in two splits.
    """

    class Config(sri_sdk.Config):
        """Which sets, and the options of each."""

        sets: Annotated[dict[str, dict[str, Any]], Field(min_length=1), AfterValidator(_each_right)] = Field(
            description="Set -> its options, such as {xstest: {path: data/xstest}, jailbreakbench: {path: data/jbb}}. "
            "The order matters: the first keeps what several hold."
        )

    config: Config

    def __init__(self, config: Any = None, sets: Mapping[str, Benchmark] | None = None) -> None:
        """Takes the options; `sets` are datasets at hand, None = they are built from the options."""
        super().__init__(self.Config.model_construct(sets={}) if config is None and sets is not None else config)
        self._sets = dict(sets) if sets is not None else {
            name: SETS[name](SETS[name].Config(**options)) for name, options in self.config.sets.items()
        }  # fmt: skip

    def splits(self) -> Sequence[str]:
        """Those of every set, after its name and a dot."""
        return tuple(f"{name}.{split}" for name, one in self._sets.items() for split in one.splits())

    def attacks(self) -> Sequence[str]:
        """Those of every set."""
        return tuple(dict.fromkeys(attack for one in self._sets.values() for attack in one.attacks()))

    def prompts(
        self, split: str, label: Literal["harmless", "harmful"], count: int, *, attack: str | None = None
    ) -> list[sri_sdk.Prompt]:
        """The first `count` prompts of a split, as its own set draws them, without those of an earlier set."""
        refuse_unknown(self, "benchmarks", split, label, attack)
        cure = (
            "Lower the numbers of its folds, give it a larger share, or name its set before those that share prompts."
        )
        return first_of(self._prompts, "benchmarks", (split, label, attack), count, cure)

    def provenance(self) -> dict[str, Any]:
        """Set -> what was read, as the set says it. Reads the files."""
        return {name: one.provenance() for name, one in self._sets.items()}

    @cached_property
    def _prompts(self) -> dict[Sort, tuple[sri_sdk.Prompt, ...]]:
        found: dict[Sort, tuple[sri_sdk.Prompt, ...]] = {}
        taken: set[str] = set()
        for name, one in self._sets.items():
            for (split, label, attack), prompts in one.everything().items():
                kept = tuple(prompt for prompt in prompts if not {_text(prompt.id), _text(prompt.base)} & taken)
                found[(f"{name}.{split}", label, attack)] = kept
            # After the whole set: within one, an attack and its request belong together.
            taken |= {_text(prompt.id) for prompts in one.everything().values() for prompt in prompts}
        return found

    @classmethod
    def example(cls) -> Self:
        """Two sets on make-believe files."""
        with TemporaryDirectory(prefix="sri-make-believe-") as folder:
            WildJailbreakDataset.make_believe(Path(folder))
            config = WildJailbreakDataset.Config(path=Path(folder), parts=("eval",))
            wild = WildJailbreakDataset(config)
            wild.provenance()  # It keeps what it has read.
        return cls(sets={"xstest": XSTestDataset.example(), "wildjailbreak": wild})


def _text(identity: str | None) -> str:
    """The part of an id that only the text decides; empty for no id."""
    return (identity or "").rpartition("-")[2]
