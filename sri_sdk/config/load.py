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
from sri_sdk.config.yaml_file import file_error, read_mapping


def load_config(source: Path | str) -> FitConfig:
    """Reads and checks the YAML file of a deployment.

    Raises:
        ConfigError: `problems` holds one `file: path: problem` per mistake; all of them, not only the first.
    """
    source = Path(source)
    data = read_mapping(source)
    if _is_evaluation(data):
        raise file_error(source, ["is an evaluation, because it has `models`; run it with `sri eval`"])
    config, found = check_fit(data)
    if config is None or found:
        raise file_error(source, found)
    return config


def load_evaluation(source: Path | str) -> EvaluationConfig:
    """Reads and checks the YAML file of an evaluation.

    Raises:
        ConfigError: as `load_config`.
    """
    source = Path(source)
    data = read_mapping(source)
    if not _is_evaluation(data):
        raise file_error(
            source, ["is not an evaluation, because it has no `models`; see configs/lab.yaml for an example"]
        )
    config, found = check_evaluation(data)
    if config is None or found:
        raise file_error(source, found)
    return config


def load_any(source: Path | str) -> FitConfig | EvaluationConfig:
    """Reads and checks either kind of file; one with `models` is an evaluation.

    Raises:
        ConfigError: as `load_config`.
    """
    return load_evaluation(source) if _is_evaluation(read_mapping(Path(source))) else load_config(source)


def _is_evaluation(data: Mapping[str, Any]) -> bool:
    return "models" in data
