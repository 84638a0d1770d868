"""The prompts of a config, drawn and checked before anything slow: whether they suit the model and the groups."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sri_sdk import registry
from sri_sdk.anchors import Anchors
from sri_sdk.config.fit import FitConfig
from sri_sdk.errors import ConfigError
from sri_sdk.fitting.folds import Folds, draw_folds
from sri_sdk.fitting.groups import group_problems, with_groups
from sri_sdk.prefill import MARK
from sri_sdk.records import Prompt

MIXES = "mixes"
"""Where the provenance of anchors, and so the manifest, says which traffic a guard was fitted on."""


def prompts_of(config: FitConfig) -> Folds:
    """Draws the prompts of a checked config.

    Raises:
        ConfigError: prompts overlap or are too few, in all or in a group; or the model cannot start their responses.
    """
    dataset = registry.build("datasets", config.prompts.dataset, config.prompts.options)
    folds = with_groups(draw_folds(dataset, config.folds, seed=config.seed), config)
    problems = [*_unsuited(config, folds.named()), *group_problems(folds, config)]
    if problems:
        raise ConfigError(problems[0], problems)
    return folds


def with_mixes(anchors: Anchors, config: FitConfig, folds: Folds, *, kept: Collection[str] = ()) -> Anchors:
    """The same anchors, with the mixes of traffic in their provenance.

    Args:
        anchors: of the fit, or of the one before.
        config: of the fit.
        folds: its prompts.
        kept: folds whose results are those of the fit before.
    """
    before = {name: found for name, found in anchors.provenance.get(MIXES, {}).items() if name in kept}
    mixes = {**before, **{name: found for name, found in mixes_of(config, folds).items() if name not in kept}}
    others = {name: found for name, found in anchors.provenance.items() if name != MIXES}
    return replace(anchors, provenance={**others, **({MIXES: mixes} if mixes else {})})


def mixes_of(config: FitConfig, folds: Folds) -> dict[str, dict[str, Any]]:
    """Fold with a mix -> share and number of prompts of each kind, as JSON types."""
    found = {}
    for name, fold in config.folds:
        if (mix := getattr(fold, "mix", None)) is not None:
            counts = Counter(folds.kinds[name])
            found[name] = {
                each.name: {"kind": each.kind, "share": each.share, "prompts": counts[each.name]}
                for each in mix.kinds()
            }
    return found


def mix_words(mix: Mapping[str, Mapping[str, Any]]) -> str:
    """One of `mixes_of` in a line: `400 plain (80 %), 92 fiction (20 %)`."""
    order = sorted(mix.items(), key=lambda item: -item[1]["share"])
    return ", ".join(f"{each['prompts']} {name} ({100 * each['share']:.4g} %)" for name, each in order)


def _unsuited(config: FitConfig, folds: Mapping[str, Sequence[Prompt]]) -> Iterator[str]:
    """Prompts whose started responses neither hook nor sampler can hold, as far as their classes say."""
    hook = registry.load("hooks", config.model.hook)
    sampler = registry.load("samplers", config.sampler.name)
    for name, prompts in folds.items():
        if hook.scheme == "autoregressive":
            bad = [p for p in prompts if p.prefill and MARK.search(p.prefill)]
            what = "start the response with holes"
            why = f"{hook.__name__} is autoregressive: it writes from left to right and fills none"
        else:
            bad = [] if sampler.prefills else [p for p in prompts if p.prefill]
            what, why = "start the response", f"sampler {sampler.__name__} begins with an empty one"
        if bad:
            attacks = ", ".join(dict.fromkeys(p.attack or "plain" for p in bad))
            yield (
                f"folds.{name}: {len(bad)} of {len(prompts)} prompts {what} ({attacks}; for example {bad[0].id!r}), "
                f"and {why}. Leave these out, or choose another model or sampler."
            )
