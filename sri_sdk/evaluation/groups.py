"""The prompts of an evaluation, by use. Drawn once; every model answers the first ones of each group.

Generations are kept under the names of these groups: `train`, `reference`, `calibration`, `harmless`, `harmful`,
`attack <name>` and `set <name>`.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from sri_sdk.config.evaluation import FEWEST, EvaluationConfig, FromDataset
from sri_sdk.config.fit import CalibrateSection, smallest_calibration
from sri_sdk.evaluation.datasets import Datasets
from sri_sdk.fitting.folds import draw, refuse_overlap
from sri_sdk.records import Label, Prompt

READ_BY_GUARDS = ("train", "reference", "calibration")
"""Groups that guards are fitted and calibrated on."""
HARMLESS, HARMFUL = "harmless", "harmful"
"""The two plain groups of the test fold."""
ATTACK, SET = "attack ", "set "
"""How the names of groups of attacked prompts, and of unusual harmless ones, begin."""


def attack_group(name: str) -> str:
    """Name of the group of an attack."""
    return ATTACK + name


def set_group(name: str) -> str:
    """Name of the group of a set of unusual harmless prompts."""
    return SET + name


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

    def named(self) -> dict[str, tuple[Prompt, ...]]:
        """Name of each group -> its prompts. Attacks of plugins are made while a model is evaluated."""
        plain = {name: getattr(self, name) for name in ("anchors", *READ_BY_GUARDS, HARMLESS, HARMFUL)}
        own = {attack_group(name): prompts for name, prompts in self.own_attacks.items()}
        sets = {set_group(name): prompts for name, prompts in self.harmless_sets.items()}
        return {**plain, **own, **sets, **{f"practice {name}": prompts for name, prompts in self.practice.items()}}

    def scaled(self, share: float, calibrate: CalibrateSection) -> Groups:
        """The first prompts of every group. Groups that something is fitted on keep as many as fitting needs.

        Args:
            share: of each group, above 0 and at most 1.
            calibrate: says how many calibration prompts are needed at least.
        """
        if share == 1:
            return self
        harmless = [p for p in self.anchors if p.label == "harmless"]
        harmful = [p for p in self.anchors if p.label == "harmful"]

        def first(prompts: tuple[Prompt, ...] | list[Prompt], least: int = 1) -> tuple[Prompt, ...]:
            return tuple(prompts[: max(math.ceil(share * len(prompts)), least)])

        return Groups(
            anchors=first(harmless, FEWEST) + first(harmful, FEWEST),
            train=first(self.train, FEWEST),
            reference=first(self.reference, FEWEST),
            calibration=first(self.calibration, smallest_calibration(calibrate)),
            harmless=first(self.harmless),
            harmful=first(self.harmful),
            own_attacks={name: first(prompts) for name, prompts in self.own_attacks.items()},
            harmless_sets={name: first(prompts) for name, prompts in self.harmless_sets.items()},
            practice=self.practice,
        )


def draw_groups(config: EvaluationConfig, datasets: Datasets) -> Groups:
    """Takes consecutive prompts of each split, group after group, and refuses overlaps.

    Args:
        config: of the evaluation.
        datasets: where the prompts come from.

    Raises:
        ConfigError: a split has too few prompts, or a request is in two groups.
    """
    folds, dataset = config.folds, datasets.main
    wanted: list[tuple[str, str, Label, int]] = [
        ("anchors harmless", folds.anchors.split, "harmless", folds.anchors.harmless),
        ("anchors harmful", folds.anchors.split, "harmful", folds.anchors.harmful),
        ("train", folds.train.split, "harmless", folds.train.harmless),
        ("reference", folds.reference.split, "harmless", folds.reference.harmless),
        ("calibration", folds.calibration.split, "harmless", folds.calibration.harmless),
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
    foreign = {attack_group(name): own[name] for name, entry in config.attacks.items() if entry.prompts is not None}
    foreign |= {set_group(name): sets[name] for name, odd in config.harmless_sets.items() if odd.prompts is not None}
    refuse_overlap({**plain, **foreign})
    return Groups(
        anchors=plain["anchors harmless"] + plain["anchors harmful"],
        train=plain["train"],
        reference=plain["reference"],
        calibration=plain["calibration"],
        harmless=plain["harmless"],
        harmful=plain["harmful"],
        own_attacks=own,
        harmless_sets=sets,
        practice={
            name: plain.get(f"practice {name}", ())
            for name, entry in config.attacks.items()
            if entry.plugin is not None
        },
    )


def _elsewhere(datasets: Datasets, entry: FromDataset, label: Label, count: int) -> tuple[Prompt, ...]:
    other = datasets.open(entry.dataset, entry.options)
    return tuple(other.prompts(entry.split, label, count, attack=entry.attack))
