"""Reads YAML, checks it, and reports every mistake at once as `file: path.to.key: problem`.

YAML is data here: `strict_yaml.py` reads it, and nothing is executed. The checks need neither
model weights nor torch, so `sri config check` finds in a second what a run would find after an hour.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sri_sdk.config.check_evaluation import check_evaluation
from sri_sdk.config.check_fit import check_fit
from sri_sdk.config.evaluation import EvaluationConfig
from sri_sdk.config.fit import FitConfig
from sri_sdk.config.strict_yaml import MAX_BYTES, YamlProblem, read_yaml
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


def _read(source: Path) -> Mapping[str, Any]:
    try:
        with source.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise _error(source, [f"is larger than {MAX_BYTES // 1024} KB; give the path of a YAML file of settings"])
        text = content.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as err:
        reason = getattr(err, "strerror", None) or "not UTF-8 text"
        raise _error(source, [f"cannot be read: {reason}. Give the path of a YAML file."]) from err
    try:
        data = read_yaml(text)
    except YamlProblem as err:
        raise _error(source, list(err.problems)) from err
    if not isinstance(data, dict):
        found = "nothing" if data is None else type(data).__name__
        raise _error(source, [f"must be a mapping of keys to values, found {found}. See `sri config schema`."])
    return data


def _error(source: Path, found: list[str]) -> ConfigError:
    lines = [f"{source}: {problem}" for problem in found]
    return ConfigError("\n".join(lines), lines)
