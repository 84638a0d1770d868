"""What is wrong with a config, beyond its form: names, options, and parts that do not suit each other.

The checks need neither model weights nor torch, so `sri config check` finds in a second what a run would find after an
hour.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, get_args

from pydantic import ValidationError

from sri_sdk import registry
from sri_sdk.calibrate.prefix import FEWEST as FEWEST_REFERENCE
from sri_sdk.config import columns
from sri_sdk.config.check_horizon import check_horizon
from sri_sdk.config.check_labels import check_labels
from sri_sdk.config.check_recovery import check_recovery
from sri_sdk.config.check_steer import check_steer
from sri_sdk.config.fit import FitConfig, smallest_calibration
from sri_sdk.config.folds import FEWEST_COUNTED
from sri_sdk.config.mix import MixSection
from sri_sdk.detector import Detector
from sri_sdk.errors import ConfigError, SriError, did_you_mean
from sri_sdk.options import problems
from sri_sdk.plugin import Config, Plugin
from sri_sdk.pooling import PROFILES
from sri_sdk.records import REQUEST

PLUGINS = {
    "model": ("hook", "hooks"),
    "sampler": ("name", "samplers"),
    "prompts": ("dataset", "datasets"),
    "judge": ("name", "judges"),
    "detector": ("name", "detectors"),
    "export": ("name", "exporters"),
}
"""Section that names a plugin -> the key with the name, and the kind of plugin."""


def check_fit(data: Mapping[str, Any]) -> tuple[FitConfig | None, list[str]]:
    """The config, or None if its form is wrong, and every problem. Later checks use whatever sections are valid."""
    found: list[str] = []
    config: FitConfig | None = None
    try:
        config = FitConfig.model_validate(data)
        sections = dict(config)
    except ValidationError as err:
        found += problems(err, FitConfig)
        sections = _valid_sections(data)
    plugins = {}
    for section in PLUGINS:
        # As written, not as parsed: a misspelt key beside it must not hide that the plugin does not exist.
        plugin, mistakes = check_plugin(
            section, *PLUGINS[section], data.get(section, dict(sections.get(section) or {}))
        )
        found += mistakes
        plugins[section] = plugin
    sinks = data.get("sinks")
    found += check_sink_sections(sinks if isinstance(sinks, list) else ())
    detectors = {"detector": plugins.pop("detector")}
    written = data.get("parts")
    if isinstance(written, Mapping):
        detectors = {}
        for name, part in written.items():
            detectors[name], mistakes = check_plugin(f"parts.{name}", "detector", "detectors", part)
            found += mistakes
    found += _check_tap(sections.get("tap"), plugins["model"])
    found += _check_sampler(plugins["sampler"], plugins["model"])
    horizon = data.get("horizon") if config is None else config.horizon
    if horizon is None or (type(horizon) is int and horizon > 0):
        found += check_horizon(
            horizon, sections.get("tap"), plugins["model"], sections.get("sampler"), sections.get("policy")
        )
    found += check_recovery(sections.get("policy"), plugins["model"], plugins["sampler"])
    found += _check_exporter(plugins["export"])
    found += check_request(sections.get("request"), sections.get("folds"), plugins["model"])
    if config is not None:
        found += _check_columns(config, detectors, plugins["export"])
    shares = {"detector": 1.0} if config is None else config.shares()
    found += _check_calibration(sections.get("calibrate"), sections.get("folds"), shares)
    found += _check_sizes(sections.get("folds"), [each for each in detectors.values() if each is not None])
    if config is not None and config.folds.train is not None:
        named = {
            "detector.name" if config.parts is None else f"parts.{name}.detector": (part.detector, detectors.get(name))
            for name, part in config.named_parts().items()
        }
        found += check_labels(config.folds.train, named)
    found += check_folds(sections.get("folds"), sections.get("prompts"), plugins["prompts"])
    found += check_steer(sections.get("steer"), plugins["model"], sections.get("prompts"), plugins["prompts"])
    return config, found


def _valid_sections(data: Mapping[str, Any]) -> dict[str, Any]:
    """The sections that are valid on their own, so that one bad section does not hide mistakes in another."""
    valid: dict[str, Any] = {}
    for name, field in FitConfig.model_fields.items():
        # `X | None` as well.
        sections = [each for each in (field.annotation, *get_args(field.annotation)) if isinstance(each, type)]
        section = next((each for each in sections if issubclass(each, Config)), None)
        if section is not None and data.get(name, field.get_default()) is not None:
            with suppress(ValidationError):
                valid[name] = section.model_validate(data.get(name, field.get_default()))
    return valid


def check_plugin(section: str, key: str, kind: str, written: Any) -> tuple[type[Plugin] | None, list[str]]:
    """The class a section names, and what is wrong with its name and options. Wrong forms are reported elsewhere.

    Args:
        section: path of the section; leads every problem.
        key: the key that has the plugin's name.
        kind: the kind of plugin it must be.
        written: the section as written.
    """
    if not isinstance(written, Mapping) or not isinstance(name := written.get(key), str):
        return None, []
    options = written.get("options", {})
    try:
        plugin: type[Plugin] = registry.load(kind, name)
    except SriError as err:
        return None, [f"{section}.{key}: {err}"]
    if not isinstance(options, Mapping):
        return plugin, []
    where = f"{section}.options"
    try:
        registry.configure(kind, name, options, path=where)
    except ConfigError as err:
        return plugin, list(err.problems)
    except SriError as err:
        return plugin, [f"{where}: {err}"]
    return plugin, []


def check_sink_sections(sinks: Sequence[Any]) -> list[str]:
    """What is wrong with names and options under `sinks`, a list of sections as written, of whatever file."""
    return [
        problem
        for number, section in enumerate(sinks)
        for problem in check_plugin(f"sinks.{number}", "name", "sinks", section)[1]
    ]


def _check_tap(tap: Any, hook: Any) -> Iterator[str]:
    if tap is None or hook is None:
        return
    suited = PROFILES[hook.scheme]
    has_committed = "committed" in hook.capabilities
    if tap.pooling not in suited:
        yield (
            f"tap.pooling: {tap.pooling!r} does not suit {hook.__name__}, whose scheme is {hook.scheme}; "
            f"allowed: {', '.join(suited)}"
        )
    elif tap.pooling == "generated" and hook.scheme == "masked" and not has_committed:
        yield (
            f"tap.pooling: 'generated' needs to know which positions are committed, and {hook.__name__} cannot tell; "
            "use 'response'"
        )
    if tap.mapping == "committed" and not has_committed:
        yield (
            f"tap.mapping: 'committed' needs to know which positions are committed, and {hook.__name__} cannot tell; "
            "use 'step'"
        )


def _check_sampler(sampler: Any, hook: Any) -> Iterator[str]:
    if sampler is not None and hook is not None and hook.scheme not in sampler.schemes:
        yield (
            f"sampler.name: {sampler.__name__} drives {', '.join(sorted(sampler.schemes))} models, "
            f"and {hook.__name__} is {hook.scheme}; see `sri plugins list --kind samplers`"
        )


def _check_exporter(exporter: Any) -> Iterator[str]:
    if exporter is not None and not exporter.writes_bundles:
        yield (
            f"export.name: {exporter.__name__} writes no bundle, and a guard needs one; fit with exporter onnx, then "
            "convert the bundle as the exporter's README describes"
        )


def check_request(request: Any, folds: Any, hook: Any) -> Iterator[str]:
    """Whether the hook can read requests, and whether there are prompts to fit the map on."""
    if request is not None and hook is not None and REQUEST not in hook.capabilities:
        yield (
            f"request: {hook.__name__} cannot tell which tokens of a prompt a pass shows (it lacks the capability "
            f"{REQUEST!r}); leave the section out, or choose another hook: {', '.join(_with_request()) or 'none'}"
        )
    if folds is None:
        return
    if request is not None and folds.request is None and getattr(folds, "learn", True):
        yield "folds.request: required with a section `request`: prompts whose harm is known, for the map"
    if folds.request is not None and "holes" in folds.request.around and hook is not None and hook.scheme != "masked":
        yield (
            f"folds.request.around.holes: only a masked model can fill holes, and {hook.__name__} is {hook.scheme}; "
            "leave it out"
        )
    if request is None and folds.request is not None:
        yield "folds.request: nothing is fitted on it without a section `request`; add one, or leave the fold out"


def _with_request() -> list[str]:
    """Installed hooks with the capability."""
    found = []
    for info in registry.installed("hooks"):
        with suppress(SriError):
            if REQUEST in registry.load("hooks", info.name).capabilities:
                found.append(info.name)
    return found


def _check_columns(config: FitConfig, detectors: Mapping[str, Any], exporter: Any) -> Iterator[str]:
    """Whether each part has columns to read, and the guard what they are made of."""
    names = columns.names_of(config.tap.layers, request=config.request is not None)
    for name, part in config.named_parts().items():
        where = "detector.columns" if config.parts is None else f"parts.{name}.columns"
        for problem in columns.unknown(columns.patterns_of(part.columns, detectors.get(name)), names):
            yield f"{where}: {problem}"
    reads = columns.reads(config, detectors)
    for name, part in config.named_parts().items():
        where = "detector.columns" if config.parts is None else f"parts.{name}.columns"
        yield from _check_bound(where, part.detector, detectors.get(name), part.options, reads[name])
    if exporter is not None and columns.needs_format_2(config, reads) and 2 not in exporter.formats:
        yield (
            f"export.name: {exporter.__name__} writes bundles of format {', '.join(map(str, exporter.formats))}, and a "
            "guard that reads requests, has parts or groups, or leaves a layer out needs format 2; use the exporter "
            "onnx"
        )
    if config.request is not None and not any(REQUEST in found for found in reads.values()):
        where = "detector.columns" if config.parts is None else "parts"
        yield (
            f"{where}: no part reads the column {REQUEST!r}, which the section `request` asks for; name it, or leave "
            "the section out"
        )
    rule = config.policy.rule
    if rule == "request" and not any(found == (REQUEST,) for found in reads.values()):
        yield "policy.rule: found 'request', and no part reads the request alone; allowed: final, online"
    if config.policy.own_refusal is not None and (
        config.horizon is not None or not columns.needs_format_2(config, reads) or not columns.needs_sri(reads)
    ):
        yield (
            f"policy.own_refusal: found {config.policy.own_refusal!r}, and this guard will not know how a generation "
            "ended; that takes parts or the column 'request', a column `sri@...`, and no horizon. Leave it out"
        )
    if config.folds.anchors is None and columns.needs_sri(reads) and config.folds.learn:
        yield (
            "folds.anchors: required, but missing: columns `sri@...` are read, and they are measured against anchors"
        )


def _check_bound(
    where: str, name: str, detector: type[Plugin] | None, options: Any, names: Sequence[str]
) -> Iterator[str]:
    """Whether a detector can read the columns of these names."""
    if detector is None or not names:
        return
    if REQUEST in names and not columns.chosen(columns.patterns_of(None, detector), (REQUEST,)):
        yield (
            f"{where}: detector {name!r} cannot read the column {REQUEST!r}: it would count the one number of a "
            "generation once per cell. Give the column to a part with the detector 'request', or to one whose class "
            "names it"
        )
        return
    with suppress(SriError):  # Options are checked elsewhere.
        built: Detector = registry.build("detectors", name, options)
        try:
            built.bind(names)
        except ConfigError as err:
            yield f"{where}: {err}"


def _check_calibration(calibrate: Any, folds: Any, shares: Mapping[str, float]) -> Iterator[str]:
    if calibrate is None or folds is None:
        return
    count = folds.calibration.harmless
    for name, share in shares.items():
        alpha, delta = calibrate.alpha * share, calibrate.delta
        needed = smallest_calibration(calibrate, share)
        why = f"smallest possible alpha is 1 / (n + 1) = {1 / (count + 1):.4g}"
        if delta is not None:
            why = f"with delta {delta} it takes (1 - alpha)^n <= delta"
        if calibrate.contamination:
            why += f", and up to {100 * calibrate.contamination:g} % of them may be attacks (calibrate.contamination)"
        if count < needed:
            whose = f"{calibrate.alpha}" if len(shares) == 1 else f"{alpha:.4g}, the share of part {name!r},"
            yield (
                f"calibrate.alpha: {whose} cannot be met with n = {count} calibration prompts ({why}). "
                f"Set folds.calibration.harmless to at least {needed}, or raise alpha."
            )


def _check_sizes(folds: Any, detectors: Sequence[Any]) -> Iterator[str]:
    """Folds that are too small whatever the model answers: found now, and not after an hour of generating."""
    if folds is None:
        return
    needs = [("reference.harmless", folds.reference.harmless, FEWEST_REFERENCE, "the online rule needs their spread")]
    if folds.anchors is not None:
        needs = [
            ("anchors.harmless", folds.anchors.harmless, FEWEST_COUNTED, "as many must be answered to make an anchor"),
            ("anchors.harmful", folds.anchors.harmful, FEWEST_COUNTED, "as many must be refused to make an anchor"),
            *needs,
        ]
    for where, count, least, why in needs:
        if count < least:
            yield f"folds.{where}: found {count}, at least {least} prompts are needed, because {why}"
    if folds.train is None and folds.learn:
        yield "folds.train: required, but missing: harmless prompts the detector learns from"
    for detector in detectors if folds.train is not None else ():
        yield from check_train(folds.train.harmless, detector)


def check_train(count: int, detector: Any) -> Iterator[str]:
    """Whether the train fold has as many prompts as a detector needs."""
    if count < detector.fewest:
        yield (
            f"folds.train.harmless: found {count}, at least {detector.fewest} prompts are needed, because "
            f"{detector.__name__} learns from them"
        )


def check_folds(folds: Any, prompts: Any, dataset: type[Plugin] | None) -> Iterator[str]:
    """Checks names of splits and attacks. Whether a split has enough prompts shows when they are drawn."""
    if folds is None or prompts is None or dataset is None:
        return
    try:
        built = registry.build("datasets", prompts.dataset, prompts.options)
        splits, attacks = list(built.splits()), list(built.attacks())
    except SriError as err:
        # Wrong options are already reported, under their own path.
        if not isinstance(err, ConfigError):
            yield f"prompts.dataset: {err}"
        return
    for name, fold in folds:
        if fold is not None and fold.split not in splits:
            yield f"folds.{name}.split: unknown split {fold.split!r}; {has(prompts.dataset, splits, fold.split)}"
    # An evaluation has folds of its own, without these.
    request = getattr(folds, REQUEST, None)
    for where, fold in (("train", folds.train), ("test", folds.test), (REQUEST, request)):
        for name in getattr(fold, "attacks", ()):
            if name not in attacks:
                yield f"folds.{where}.attacks.{name}: unknown attack; {has(prompts.dataset, attacks, name)}"
    for name in request.unusual if request is not None else ():
        if name not in splits:
            yield f"folds.request.unusual.{name}: unknown split; {has(prompts.dataset, splits, name)}"
    for name, fold in folds:
        if (mix := getattr(fold, "mix", None)) is not None:
            yield from check_mix(f"folds.{name}.mix", mix, fold.split, prompts.dataset, splits, attacks)


def check_mix(
    where: str, mix: MixSection, split: str, dataset: str, splits: Sequence[str], attacks: Sequence[str]
) -> Iterator[str]:
    """Checks the names in the mix of a fold of `split`; `where` leads every problem."""
    for name in mix.wrapped:
        if name not in attacks:
            other = f" It is a split: name it under {where}.unusual." if name in splits else ""
            yield f"{where}.wrapped.{name}: unknown attack; {has(dataset, list(attacks), name)}{other}"
    for name in mix.unusual:
        if name not in splits:
            other = f" It is an attack: name it under {where}.wrapped." if name in attacks else ""
            yield f"{where}.unusual.{name}: unknown split; {has(dataset, list(splits), name)}{other}"
        elif name == split:
            yield f"{where}.unusual.{name}: is the split of the fold itself, whose requests are the plain ones"


def has(dataset: str, known: list[str], wanted: str) -> str:
    """The names a dataset has, for a message."""
    return f"dataset {dataset!r} has: {', '.join(known) or 'none'}.{did_you_mean(wanted, known)}"
