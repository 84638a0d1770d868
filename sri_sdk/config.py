"""Reads YAML, checks it, and reports every mistake at once as `file: path.to.key: problem`.

The only file that reads YAML. YAML is data here: no tags, no duplicate keys, nothing is executed. The checks need
neither model weights nor torch, so `sri config check` finds in a second what a run would find after an hour.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from sri_sdk import registry
from sri_sdk.config_model import FitConfig
from sri_sdk.errors import ConfigError, SriError, did_you_mean
from sri_sdk.options import problems
from sri_sdk.plugin import Config, Plugin

PLUGINS = {
    "model": ("hook", "hooks"),
    "sampler": ("name", "samplers"),
    "prompts": ("dataset", "datasets"),
    "judge": ("name", "judges"),
    "detector": ("name", "detectors"),
    "export": ("name", "exporters"),
}
"""Section that names a plugin -> the key it does so with, and the kind."""

_POOLINGS = {
    "autoregressive": ("predicting", "generated"), "masked": ("response", "generated"), "canvas": ("response",),
}  # fmt: skip
"""Scheme of the hook -> the pooling profiles that make sense for it."""


def load_config(source: Path | str) -> FitConfig:
    """Reads and checks one YAML file.

    Raises:
        ConfigError: `problems` holds one `file: path: problem` per mistake; all of them, not only the first.
    """
    source = Path(source)
    data = _read(source)
    config, found = _check(data)
    if config is None or found:
        raise _error(source, found)
    return config


def schema() -> dict[str, Any]:
    """JSON schema of the format, with the options of every installed plugin that loads."""
    whole = FitConfig.model_json_schema()
    definitions, cases = whole["$defs"], []
    for section, (key, kind) in PLUGINS.items():
        for name in dict.fromkeys(info.name for info in registry.installed(kind)):
            try:
                declared = registry.load(kind, name).Config
            except SriError:
                # A broken plugin must not take the documentation of the others away; `sri doctor` names it.
                continue
            prefix = f"{kind}-{name}-"
            options = declared.model_json_schema(ref_template=f"#/$defs/{prefix}{{model}}")
            nested = options.pop("$defs", {})
            definitions.update({f"{prefix}{inner}": body for inner, body in nested.items()})
            chosen = {section: {"properties": {key: {"const": name}}, "required": [key]}}
            cases.append(
                {
                    "if": {"properties": chosen},
                    "then": {"properties": {section: {"properties": {"options": options}}}},
                }
            )
    return {**whole, "allOf": cases}


# -- reading -------------------------------------------------------------------------------------------------


class _Loader(yaml.SafeLoader):
    """Plain data only; remembers keys that are written twice instead of letting the last one win."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.duplicates: list[str] = []

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        first: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            line = key.start_mark.line + 1
            if key.value in first:
                self.duplicates.append(
                    f"line {line}: key {key.value!r} is written twice, first on line {first[key.value]}"
                )
            first.setdefault(key.value, line)
        return super().construct_mapping(node, deep)


def _read(source: Path) -> Mapping[str, Any]:
    try:
        text = source.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as err:
        reason = getattr(err, "strerror", None) or "not UTF-8 text"
        raise _error(source, [f"cannot be read: {reason}. Give the path of a YAML file."]) from err
    loader = None
    try:
        loader = _Loader(text)
        data = loader.get_single_data()
    except yaml.MarkedYAMLError as err:
        raise _error(source, [_yaml_problem(err)]) from err
    except yaml.YAMLError as err:
        raise _error(source, [f"not YAML: {str(err).splitlines()[0]}"]) from err
    finally:
        if loader is not None:
            loader.dispose()
    if loader.duplicates:
        raise _error(source, loader.duplicates)
    if not isinstance(data, dict):
        found = "nothing" if data is None else type(data).__name__
        raise _error(source, [f"must hold keys and values at the top level, found {found}. See `sri config schema`."])
    return data


def _yaml_problem(err: yaml.MarkedYAMLError) -> str:
    mark = err.problem_mark or err.context_mark
    where = f"line {mark.line + 1}" if mark else "somewhere"
    if isinstance(err, yaml.constructor.ConstructorError) and "tag" in str(err.problem):
        return f"{where}: {err.problem}; only plain YAML data is read, remove the tag"
    return f"{where}: not YAML: {' '.join(str(part) for part in (err.context, err.problem) if part)}"


def _error(source: Path, found: list[str]) -> ConfigError:
    lines = [f"{source}: {problem}" for problem in found]
    return ConfigError("\n".join(lines), lines)


# -- checking ------------------------------------------------------------------------------------------------


def _check(data: Mapping[str, Any]) -> tuple[FitConfig | None, list[str]]:
    """The config, or None, and every problem. Later checks run on whatever the earlier ones left usable."""
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
        plugin, mistakes = _check_plugin(section, data.get(section, dict(sections.get(section, {}))))
        found += mistakes
        plugins[section] = plugin
    found += _check_tap(sections.get("tap"), plugins["model"])
    found += _check_sampler(plugins["sampler"], plugins["model"])
    found += _check_calibration(sections.get("calibrate"), sections.get("folds"))
    found += _check_folds(sections.get("folds"), sections.get("prompts"), plugins["prompts"])
    return config, found


def _valid_sections(data: Mapping[str, Any]) -> dict[str, Any]:
    """The sections that are right by themselves, so that one bad section does not hide mistakes in another."""
    valid: dict[str, Any] = {}
    for name, field in FitConfig.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, Config):
            with suppress(ValidationError):
                valid[name] = section.model_validate(data.get(name, field.get_default()))
    return valid


def _check_plugin(section: str, written: Any) -> tuple[type[Plugin] | None, list[str]]:
    """The class a section names, and what is wrong with name and options; shape mistakes are reported elsewhere."""
    key, kind = PLUGINS[section]
    if not isinstance(written, Mapping) or not isinstance(name := written.get(key), str):
        return None, []
    options = written.get("options", {})
    try:
        plugin: type[Plugin] = registry.load(kind, name)
    except SriError as err:
        return None, [f"{section}.{key}: {err}"]
    if not isinstance(options, Mapping):
        return plugin, []
    try:
        plugin.Config.model_validate(dict(options))
    except ValidationError as err:
        return plugin, list(problems(err, plugin.Config, f"{section}.options"))
    return plugin, []


def _check_tap(tap: Any, hook: Any) -> Iterator[str]:
    if tap is None or hook is None:
        return
    suited = _POOLINGS[hook.scheme]
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


def _check_calibration(calibrate: Any, folds: Any) -> Iterator[str]:
    if calibrate is None or folds is None:
        return
    alpha, delta, count = calibrate.alpha, calibrate.delta, folds.calibration.harmless
    needed = math.ceil(1 / alpha - 1e-9) - 1
    why = f"smallest possible alpha is 1 / (n + 1) = {1 / (count + 1):.4g}"
    if delta is not None:
        # Even the largest calibration score is exceeded more often than alpha with probability (1 - alpha)^n.
        needed = max(needed, math.ceil(math.log(delta) / math.log1p(-alpha) - 1e-9))
        why = f"with delta {delta} it takes (1 - alpha)^n <= delta"
    if count < needed:
        yield (
            f"calibrate.alpha: {alpha} cannot be met with n = {count} calibration prompts ({why}). "
            f"Set folds.calibration.harmless to at least {needed}, or raise alpha."
        )


def _check_folds(folds: Any, prompts: Any, dataset: type[Plugin] | None) -> Iterator[str]:
    """Names of splits and attacks; whether a split holds enough prompts shows when they are drawn."""
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
            yield f"folds.{name}.split: unknown split {fold.split!r}; {_has(prompts.dataset, splits, fold.split)}"
    for name in folds.test.attacks if folds.test else ():
        if name not in attacks:
            yield f"folds.test.attacks.{name}: unknown attack; {_has(prompts.dataset, attacks, name)}"


def _has(dataset: str, known: list[str], wanted: str) -> str:
    return f"dataset {dataset!r} has: {', '.join(known) or 'none'}.{did_you_mean(wanted, known)}"
