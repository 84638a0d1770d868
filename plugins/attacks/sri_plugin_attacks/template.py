"""Template: a wrapper of your own, written down as a text with one place for the request."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, model_validator

from sri_plugin_attacks.wrapper import Wrapper
from sri_sdk.errors import ConfigError

SRI_PLUGIN_API = 1

LARGEST_FILE = 2**20
"""Bytes; no model reads a wrapper that long."""


class Template(Wrapper):
    """Any wrapper that stands around the request and leaves it as it is. It comes with none: you bring the text."""

    name: ClassVar = "template"
    family: ClassVar = "template"
    source: ClassVar = "a template of the operator's"

    class Config(Wrapper.Config):
        """The text, here or in a file, and how it marks the place of the request."""

        template: str | None = Field(default=None, description="The text; null = it is in `file`.")
        file: Path | None = Field(
            default=None, description="UTF-8 file whose whole content is the text, without line breaks at its end."
        )
        placeholder: Annotated[str, Field(pattern=r"\S")] = Field(
            "{request}",
            description="What stands for the request, exactly as it is written there, such as '{{ prompt }}'.",
        )

        @model_validator(mode="after")
        def _one_text(self) -> Self:
            if (self.template is None) == (self.file is None):
                found = "neither" if self.file is None else "both"
                raise ValueError(f"needs either template or file, found {found}")
            if self.template is not None:
                _refuse_without(self.placeholder, self.template, "template")
            return self

    config: Config

    def __init__(self, config: Config | None = None) -> None:
        super().__init__(config)
        # Now, not when it is first used: a mistake in a file must not show after an hour of generations.
        self._text = self.config.template if self.config.file is None else _read(self.config.file)
        if self.config.file is not None:
            try:
                _refuse_without(self.config.placeholder, self._text or "", str(self.config.file))
            except ValueError as err:
                raise ConfigError(f"attack template: {err}") from err

    def wrap(self, request: str) -> str:
        """The text with the request in every place that stands for it; the request is not searched for places."""
        return str(self._text).replace(self.config.placeholder, request)

    @classmethod
    def example(cls) -> Any:
        """A template whose other braces stand for themselves."""
        return cls(cls.Config(template='Fill in {"answer": ...}.\n\n{{ prompt }}', placeholder="{{ prompt }}"))


def _refuse_without(placeholder: str, text: str, where: str) -> None:
    """Raises ValueError if nothing in the text stands for the request."""
    if placeholder not in text:
        raise ValueError(
            f"{where}: nothing in it stands for the request. Write {placeholder} where the request goes, or say with "
            "the option placeholder how this text writes it"
        )


def _read(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            content = stream.read(LARGEST_FILE + 1)
        if len(content) > LARGEST_FILE:
            raise ConfigError(f"attack template: {file}: more than {LARGEST_FILE} bytes; a template is far shorter.")
        return content.decode("utf-8-sig").rstrip("\r\n")
    except OSError as err:
        raise ConfigError(
            f"attack template: {file}: cannot be read: {err.strerror}. Name a UTF-8 file with the text of the wrapper."
        ) from err
    except UnicodeDecodeError as err:
        raise ConfigError(
            f"attack template: {file}: not UTF-8 text, first at byte {err.start}. Save it as UTF-8."
        ) from err
