"""The prompts of an evaluation, by use. Drawn once; every model answers the first ones of each group.

Generations are kept under the names of these groups: `train`, `reference`, `calibration`, `harmless`, `harmful`,
`attack <name>`, `twin <name>` and `set <name>`.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from sri_sdk.config.check_guards import no_twin
from sri_sdk.config.evaluation import FEWEST, MIXED, EvaluationConfig, FromDataset
from sri_sdk.config.mix import PLAIN
from sri_sdk.dataset import Dataset
from sri_sdk.errors import ConfigError
from sri_sdk.evaluation.datasets import Datasets
from sri_sdk.fitting.draw import draw
from sri_sdk.fitting.folds import mix_seed, refuse_overlap
from sri_sdk.fitting.mix import bases_of, draw_kinds, draw_mix
from sri_sdk.fitting.request_fold import draw_request
from sri_sdk.records import Label, Prompt

READ_BY_GUARDS = MIXED
"""Groups that guards are fitted and calibrated on."""
HARMLESS, HARMFUL = "harmless", "harmful"
"""The two plain groups of the test fold."""
ATTACK, SET, TWIN = "attack ", "set ", "twin "
"""How the names of groups of attacked prompts, of unusual harmless ones, and of harmless twins begin."""


def attack_group(name: str) -> str:
    """Name of the group of an attack."""
    return ATTACK + name


def set_group(name: str) -> str:
    """Name of the group of a set of unusual harmless prompts."""
    return SET + name


def twin_group(name: str) -> str:
    """Name of the group of harmless prompts in the wrapper of an attack."""
    return TWIN + name


@dataclass(frozen=True, slots=True)
class Groups:
    """Prompts by use; one request is never used for two things, except that attacks are made of the test prompts."""

    anchors: tuple[Prompt, ...]
    """Harmless ones first."""
    train: tuple[Prompt, ...]
    reference: tuple[Prompt, ...]
    calibration: tuple[Prompt, ...]
    harmless: tuple[Prompt, ...]
    """Of the test fold."""
    harmful: tuple[Prompt, ...]
    """Of the test fold, plain."""
    own_attacks: Mapping[str, tuple[Prompt, ...]]
    """Attacks of the dataset itself -> prompts made of the first harmful ones of the test fold."""
    harmless_sets: Mapping[str, tuple[Prompt, ...]]
    practice: Mapping[str, tuple[Prompt, ...]]
    """Attack plugin -> plain harmful prompts it may learn from."""
    twins: Mapping[str, tuple[Prompt, ...]] = field(default_factory=dict)
    """Attack of a dataset -> harmless prompts under it, made of the first ones of the test fold."""
    twinless: Mapping[str, str] = field(default_factory=dict)
    """Attack that is run without a twin although twins were asked for -> why."""
    maps: Mapping[str, tuple[Prompt, ...]] = field(default_factory=dict)
    """Map of the request -> the prompts it is fitted on. Two maps may share prompts; no guard reads both."""
    kinds: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Fold with a mix -> the kind of each of its prompts: `plain`, an attack, or another split."""

    def named(self) -> dict[str, tuple[Prompt, ...]]:
        """Name of each group -> its prompts. Attacks of plugins are made while a model is evaluated."""
        plain = {name: getattr(self, name) for name in ("anchors", *READ_BY_GUARDS, HARMLESS, HARMFUL)}
        own = {attack_group(name): prompts for name, prompts in self.own_attacks.items()}
        sets = {set_group(name): prompts for name, prompts in self.harmless_sets.items()}
        twins = {twin_group(name): prompts for name, prompts in self.twins.items()}
        maps = {f"map {name}": prompts for name, prompts in self.maps.items()}
        practice = {f"practice {name}": prompts for name, prompts in self.practice.items()}
        return {**plain, **own, **twins, **sets, **practice, **maps}

    def plain(self, fold: str) -> NDArray[np.bool_]:
        """Which prompts of `train`, `reference` or `calibration` are plain: [N] bool."""
        count = len(getattr(self, fold))
        return np.array([kind == PLAIN for kind in self.kinds.get(fold, (PLAIN,) * count)[:count]], dtype=bool)

    def scaled(self, share: float, config: EvaluationConfig) -> Groups:
        """The first prompts of every group. Groups that something is fitted on keep as many as fitting needs.

        Args:
            share: of each group, above 0 and at most 1.
            config: says how many prompts are needed at least.
        """
        if share == 1:
            return self
        harmless = [p for p in self.anchors if p.label == "harmless"]
        harmful = [p for p in self.anchors if p.label == "harmful"]

        def first(prompts: tuple[Prompt, ...] | list[Prompt], least: int = 1) -> tuple[Prompt, ...]:
            return tuple(prompts[: max(math.ceil(share * len(prompts)), least)])

        def each(found: Mapping[str, tuple[Prompt, ...]]) -> dict[str, tuple[Prompt, ...]]:
            return {name: first(prompts) for name, prompts in found.items()}

        return replace(
            self,
            anchors=first(harmless, FEWEST) + first(harmful, FEWEST),
            train=first(self.train, self._least("train", config)),
            reference=first(self.reference, self._least("reference", config)),
            calibration=first(self.calibration, self._least("calibration", config)),
            harmless=first(self.harmless),
            harmful=first(self.harmful),
            own_attacks=each(self.own_attacks),
            harmless_sets=each(self.harmless_sets),
            twins=each(self.twins),
        )

    def _least(self, fold: str, config: EvaluationConfig) -> int:
        """Prompts from the first on with which every guard has what it needs of a fold."""
        wanted = config.fewest(fold)
        so_far = np.cumsum(self.plain(fold))
        return max(wanted["mixed"], int(np.searchsorted(so_far, wanted["plain"])) + 1 if len(so_far) else 0)


def draw_groups(config: EvaluationConfig, datasets: Datasets) -> Groups:
    """Takes consecutive prompts of each split, group after group, and refuses overlaps.

    Args:
        config: of the evaluation.
        datasets: where the prompts come from.

    Raises:
        ConfigError: a split has too few prompts, or a request is in two groups.
    """
    folds, dataset = config.folds, datasets.main
    traffic = {name: getattr(folds, name) for name in MIXED}
    wanted: list[tuple[str, str, Label, int]] = [
        ("anchors harmless", folds.anchors.split, "harmless", folds.anchors.harmless),
        ("anchors harmful", folds.anchors.split, "harmful", folds.anchors.harmful),
        *((name, fold.split, "harmless", fold.harmless) for name, fold in traffic.items() if fold.mix is None),
        ("harmless", folds.test.split, "harmless", folds.test.harmless),
        ("harmful", folds.test.split, "harmful", folds.test.harmful),
        *(
            (f"practice {name}", folds.anchors.split, "harmful", entry.practice)
            for name, entry in config.attacks.items()
            if entry.practice
        ),
        *(
            (set_group(name), str(entry.split), "harmless", entry.count)
            for name, entry in config.harmless_sets.items()
            if entry.split is not None and entry.attack is None
        ),
    ]  # fmt: skip
    ends: dict[tuple[str, Label], int] = defaultdict(int)
    slices: dict[str, tuple[str, Label, int, int]] = {}
    for name, split, label, count in wanted:
        slices[name] = (split, label, ends[split, label], ends[split, label] + count)
        ends[split, label] += count
    drawn = {key[:2]: made for key, made in draw(dataset, {(*k, None): n for k, n in ends.items()}).items()}
    plain = {name: tuple(drawn[split, label][a:b]) for name, (split, label, a, b) in slices.items()}
    start = slices["harmful"][2]
    own = {
        name: tuple(dataset.prompts(folds.test.split, "harmful", start + entry.count, attack=name)[start:])
        if entry.prompts is None
        else _elsewhere(datasets, entry.prompts, "harmful", entry.count)
        for name, entry in config.attacks.items()
        if entry.plugin is None
    }
    sets: dict[str, tuple[Prompt, ...]] = {}
    for name, odd in config.harmless_sets.items():
        if odd.prompts is not None:
            sets[name] = _elsewhere(datasets, odd.prompts, "harmless", odd.count)
        elif odd.attack is None:
            sets[name] = plain[set_group(name)]
        else:
            sets[name] = tuple(dataset.prompts(str(odd.split), "harmless", odd.count, attack=odd.attack))
    twins, twinless = _twins(config, datasets, slices["harmless"][2])
    foreign = {attack_group(name): own[name] for name, entry in config.attacks.items() if entry.prompts is not None}
    foreign |= {set_group(name): sets[name] for name, odd in config.harmless_sets.items() if odd.prompts is not None}
    foreign |= {twin_group(name): made for name, made in twins.items() if config.attacks[name].prompts is not None}
    apart = {**plain, **foreign}
    # Sets in a wrapper, which may be made of test prompts, are taken as well.
    others = [p for prompts in (*apart.values(), *own.values(), *sets.values()) for p in prompts]
    maps = {name: draw_request(dataset, fold, ends, others, seed=config.seed) for name, fold in config.maps.items()}
    mixed = _mixed(config, dataset, [*others, *(p for prompts in maps.values() for p in prompts)])
    apart |= {name: prompts for name, (prompts, _) in mixed.items()}
    refuse_overlap(apart)
    for name, prompts in maps.items():
        refuse_overlap({**apart, f"map {name}": prompts})
    plain |= {name: prompts for name, (prompts, _) in mixed.items()}
    groups = Groups(
        anchors=plain["anchors harmless"] + plain["anchors harmful"],
        **{name: plain[name] for name in MIXED},
        harmless=plain["harmless"],
        harmful=plain["harmful"],
        own_attacks=own,
        harmless_sets=sets,
        practice={
            name: plain.get(f"practice {name}", ())
            for name, entry in config.attacks.items()
            if entry.plugin is not None
        },
        twins=twins,
        twinless=twinless,
        maps=maps,
        kinds={name: kinds for name, (_, kinds) in mixed.items()},
    )
    _refuse_few_plain(config, groups)
    return groups


def _twins(
    config: EvaluationConfig, datasets: Datasets, start: int
) -> tuple[dict[str, tuple[Prompt, ...]], dict[str, str]]:
    """Attack -> its harmless twins, and attack -> why it has none. Plugins make theirs while a model is evaluated.

    Args:
        config: of the evaluation.
        datasets: where the prompts come from.
        start: place of the first harmless test prompt in its split.
    """
    made: dict[str, tuple[Prompt, ...]] = {}
    none: dict[str, str] = {}
    for name, count in config.twin_counts().items():
        entry = config.attacks[name]
        if why := no_twin(config, name):
            none[name] = why
        elif entry.prompts is not None:
            made[name] = _elsewhere(datasets, entry.prompts, "harmless", count)
        elif entry.plugin is None:
            split = config.folds.test.split
            made[name] = tuple(datasets.main.prompts(split, "harmless", start + count, attack=name)[start:])
    left_out = [name for name in config.attacks if name not in config.twin_counts()] if config.twins else []
    return made, none | dict.fromkeys(left_out, "not asked for under `twins`")


def _mixed(
    config: EvaluationConfig, dataset: Dataset, others: Sequence[Prompt]
) -> dict[str, tuple[tuple[Prompt, ...], tuple[str, ...]]]:
    """Fold with a mix -> its prompts and their kinds, drawn as by `sri fit`. They take what the others leave."""
    taken, found, problems = bases_of(others), {}, list[str]()
    for name in MIXED:
        fold = getattr(config.folds, name)
        if fold.mix is None:
            continue
        seed = mix_seed(config.seed, name)
        try:
            drawn = draw_mix(dataset, fold.split, fold.harmless, fold.mix, seed=seed, taken=taken)
        except ConfigError as err:
            problems += [f"folds.{name}.{problem}" for problem in err.problems]
            continue
        taken |= bases_of(drawn)
        found[name] = drawn, tuple(kind.name for kind in draw_kinds(len(drawn), fold.mix, seed=seed))
    if problems:
        raise ConfigError(problems[0], problems)
    return found


def _refuse_few_plain(config: EvaluationConfig, groups: Groups) -> None:
    """Raises ConfigError if a mix has drawn fewer plain prompts of a fold than a guard of plain traffic needs.

    Before anything is generated: which guard a fold is too small for shows only when the guards are fitted.
    """
    if not any(guard.traffic == "plain" for guard in config.guards.values()):
        return
    problems = []
    # What a detector needs of the train fold it says itself.
    for fold in ("reference", "calibration"):
        found, needed = int(groups.plain(fold).sum()), config.fewest(fold)["plain"]
        if fold in groups.kinds and found < needed:
            problems.append(
                f"folds.{fold}: its mix has drawn {found} plain prompts of {len(getattr(groups, fold))}, and guards of "
                f"plain traffic need {needed}. Raise folds.{fold}.harmless or the share of plain prompts."
            )
    if problems:
        raise ConfigError("\n".join(problems), problems)


def _elsewhere(datasets: Datasets, entry: FromDataset, label: Label, count: int) -> tuple[Prompt, ...]:
    other = datasets.open(entry.dataset, entry.options)
    return tuple(other.prompts(entry.split, label, count, attack=entry.attack))
