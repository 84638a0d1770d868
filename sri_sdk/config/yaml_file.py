"""A YAML file as keys and values, and as settings of whatever kind: every mistake at once, led by the file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from sri_sdk.config.strict_yaml import MAX_BYTES, YamlProblem, read_yaml
from sri_sdk.errors import ConfigError
from sri_sdk.options import problems

ModelT = TypeVar("ModelT", bound=BaseModel)


def read_mapping(source: Path) -> Mapping[str, Any]:
    """The keys and values of a file.

    Raises:
        ConfigError: it cannot be read, is not YAML as `strict_yaml.py` has it, or has no keys.
    """
    try:
        with source.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise file_error(
                source, [f"is larger than {MAX_BYTES // 1024} KB; give the path of a YAML file of settings"]
            )
        text = content.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as err:
        reason = getattr(err, "strerror", None) or "not UTF-8 text"
        raise file_error(source, [f"cannot be read: {reason}. Give the path of a YAML file."]) from err
    try:
        data = read_yaml(text)
    except YamlProblem as err:
        raise file_error(source, list(err.problems)) from err
    if not isinstance(data, dict):
        found = "nothing" if data is None else type(data).__name__
        raise file_error(source, [f"must be a mapping of keys to values, found {found}. See `sri config schema`."])
    return data


def as_settings(source: Path, data: Mapping[str, Any], declared: type[ModelT]) -> ModelT:
    """Keys and values of a file as what may stand there.

    Args:
        source: the file; leads every problem.
        data: its keys and values.
        declared: what may stand there.

    Raises:
        ConfigError: `problems` holds one `file: path: problem` per mistake; all of them, not only the first.
    """
    try:
        return declared.model_validate(data)
    except ValidationError as err:
        raise file_error(source, list(problems(err, declared))) from err


def file_error(source: Path, found: list[str]) -> ConfigError:
    """One error for all problems of a file, each led by its path."""
    lines = [f"{source}: {problem}" for problem in found]
    return ConfigError("\n".join(lines), lines)
