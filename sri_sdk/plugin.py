"""What every extension point shares: declared options, and one way to be built."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidatorFunctionWrapHandler, field_validator
from pydantic_core import PydanticCustomError


class Config(BaseModel):
    """Declared options: typed, described and immutable. A misspelt key is an error.

    A plugin nests a subclass named `Config`; the names and types of its fields are what an operator may write
    under `options:` in YAML, and `sri config schema` prints them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    @field_validator("*", mode="wrap")
    @classmethod
    def _nothing_converted(cls, written: Any, check: ValidatorFunctionWrapHandler) -> Any:
        # By itself pydantic makes 1 of true, true of "on" and 3 of "3", without a word.
        made = check(written)
        if (other := _converted(written, made)) is not None:
            raise PydanticCustomError("converted", "{wanted}", {"wanted": other})
        return made


def _converted(written: Any, made: Any) -> str | None:
    """What should have been written where one plain value silently became another; None = nothing did."""
    if isinstance(written, Mapping) and isinstance(made, Mapping):
        return next(filter(None, (_converted(written[key], made[key]) for key in written.keys() & made.keys())), None)
    if isinstance(written, list | tuple) and isinstance(made, list | tuple) and len(written) == len(made):
        return next(filter(None, map(_converted, written, made)), None)
    if isinstance(made, bool):
        return None if isinstance(written, bool) or not _is_plain(written) else "must be true or false"
    if isinstance(made, int | float) and isinstance(written, bool):
        return "must be a number"
    if isinstance(made, int) and (isinstance(written, float) or _is_number(written)):
        return "must be a whole number"
    return "must be a number" if isinstance(made, float) and _is_number(written) else None


def _is_plain(written: Any) -> bool:
    return isinstance(written, int | float | str)


def _is_number(written: Any) -> bool:
    """Whether a text reads as a number; other texts are an option's own business, such as `64 KB`."""
    try:
        float(written if isinstance(written, str) else "")
    except ValueError:
        return False
    return True


class Plugin(ABC):
    """Base of the extension points. Built as `PluginClass(PluginClass.Config(...))`; None = the defaults."""

    Config: type[Config] = Config
    """The options; override by nesting a class of this name."""

    def __init__(self, config: Any = None) -> None:
        # Any: its real type is the subclass's own Config, which no annotation here can name.
        self.config: Any = config if config is not None else type(self).Config()
