"""Reads YAML, checks it, and reports every mistake at once as `file: path.to.key: problem`.

The only file that reads YAML. YAML is data here: no tags, no duplicate keys, nothing is executed. The checks need
neither model weights nor torch, so `sri config check` finds in a second what a run would find after an hour.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from sri_sdk.config.check_evaluation import check_evaluation
from sri_sdk.config.check_fit import check_fit
from sri_sdk.config.evaluation import EvaluationConfig
from sri_sdk.config.fit import FitConfig
from sri_sdk.errors import ConfigError


def load_config(source: Path | str) -> FitConfig:
    """Reads and checks the YAML file of a deployment.

    Raises:
        ConfigError: `problems` holds one `file: path: problem` per mistake; all of them, not only the first.
    """
    source = Path(source)
    data = _read(source)
    if _is_evaluation(data):
        raise _error(source, ["is an evaluation, because it has `models`; run it with `sri eval`"])
    config, found = check_fit(data)
    if config is None or found:
        raise _error(source, found)
    return config


def load_evaluation(source: Path | str) -> EvaluationConfig:
    """Reads and checks the YAML file of an evaluation.

    Raises:
        ConfigError: as `load_config`.
    """
    source = Path(source)
    data = _read(source)
    if not _is_evaluation(data):
        raise _error(source, ["is not an evaluation, because it has no `models`; see configs/lab.yaml for an example"])
    config, found = check_evaluation(data)
    if config is None or found:
        raise _error(source, found)
    return config


def load_any(source: Path | str) -> FitConfig | EvaluationConfig:
    """Reads and checks either kind of file; one with `models` is an evaluation.

    Raises:
        ConfigError: as `load_config`.
    """
    return load_evaluation(source) if _is_evaluation(_read(Path(source))) else load_config(source)


def _is_evaluation(data: Mapping[str, Any]) -> bool:
    return "models" in data


# -- reading -------------------------------------------------------------------------------------------------


class _Loader(yaml.SafeLoader):
    """Plain data only. Remembers keys that are written twice, so that the last one does not silently win."""

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
        raise _error(source, [f"must be a mapping of keys to values, found {found}. See `sri config schema`."])
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
