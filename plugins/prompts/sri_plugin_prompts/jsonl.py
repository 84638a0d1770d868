"""Prompts from JSON lines on this machine: one file per split, one prompt per line."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

import sri_sdk
from sri_sdk.errors import ConfigError, did_you_mean

SRI_PLUGIN_API = 1

LABELS = ("harmless", "harmful")
FORM = '{"text": "...", "label": "harmless" or "harmful"}, and if you like "id", "attack" and "base"'


class JsonlDataset(sri_sdk.Dataset):
    """Your own prompts. A file is read when its first prompt is needed, and every bad line is reported at once.

    Lines are shuffled by a hash of their text: folds are slices, and must not follow the order of a file.
    """

    class Config(sri_sdk.Config):
        """Which files hold which split."""

        files: Annotated[dict[str, Path], Field(min_length=1)] = Field(
            description="Split -> file with one JSON object per line: text, label (harmless or harmful), and optionally "
            "id, attack (the transform that made it) and base (id of the plain request it was made of)."
        )
        attacks: tuple[str, ...] = Field(default=(), description="Values of `attack` that the files hold.")

    config: Config
    _seen: ClassVar[dict[tuple[Path, int], list[sri_sdk.Prompt]]] = {}

    def splits(self) -> Sequence[str]:
        """Those the options name."""
        return tuple(self.config.files)

    def attacks(self) -> Sequence[str]:
        """Those the options name."""
        return self.config.attacks

    def prompts(
        self, split: str, label: Literal["harmless", "harmful"], count: int, *, attack: str | None = None
    ) -> list[sri_sdk.Prompt]:
        """The first `count` prompts of a split, in an order that does not follow the file."""
        if split not in self.config.files:
            raise ConfigError(
                f"dataset jsonl: unknown split {split!r}; options.files has: {', '.join(self.config.files)}."
                f"{did_you_mean(split, self.config.files)}"
            )
        file = self.config.files[split]
        found = [p for p in self._read(file) if p.label == label and p.attack == attack]
        if len(found) < count:
            kind = f"{label} prompts" + (f" with attack {attack!r}" if attack else " without an attack")
            raise ConfigError(
                f"{file}: {count} {kind} are needed, it has {len(found)}. Add lines, or lower the numbers of the folds "
                f"of split {split!r}."
            )
        return found[:count]

    def _read(self, file: Path) -> list[sri_sdk.Prompt]:
        try:
            key = (file.resolve(), file.stat().st_mtime_ns)
            if key not in self._seen:
                self._seen[key] = _parse(file, file.read_text(encoding="utf-8"))
        except OSError as err:
            raise ConfigError(
                f"{file}: cannot be read: {err.strerror}. Write one JSON object per line there: {FORM}."
            ) from err
        except UnicodeDecodeError as err:
            raise ConfigError(f"{file}: not UTF-8 text, first at byte {err.start}. Save it as UTF-8.") from err
        return self._seen[key]


def _parse(file: Path, text: str) -> list[sri_sdk.Prompt]:
    prompts: dict[str, sri_sdk.Prompt] = {}
    problems: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            prompt = _prompt(json.loads(line))
        except ValueError as err:
            reason = f"not JSON ({err.msg})" if isinstance(err, json.JSONDecodeError) else str(err)
            problems.append(f"{file}: line {number}: {reason}")
            continue
        if prompt.id in prompts:
            problems.append(f"{file}: line {number}: id {prompt.id!r} is there before; every id once")
        prompts.setdefault(prompt.id, prompt)
    if problems:
        shown = "\n".join(problems[:20]) + (f"\n... and {len(problems) - 20} more" if len(problems) > 20 else "")
        raise ConfigError(f"{shown}\nA line reads {FORM}.", problems)
    # By a hash: as good as random, and the same on every machine and after every edit elsewhere in the file.
    return sorted(prompts.values(), key=lambda prompt: hashlib.sha256(prompt.id.encode()).digest())


def _prompt(data: Any) -> sri_sdk.Prompt:
    if not isinstance(data, dict):
        raise ValueError(f"must be an object, found {type(data).__name__}")
    stray = sorted(set(data) - {"id", "text", "label", "attack", "base"})
    if stray:
        raise ValueError(f"unknown keys {', '.join(stray)}; allowed: id, text, label, attack, base")
    text, label = data.get("text"), data.get("label")
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"text: must be a text that is not empty, found {text!r}")
    if label not in LABELS:
        raise ValueError(f"label: found {label!r}, allowed: {', '.join(LABELS)}.{did_you_mean(str(label), LABELS)}")
    for key in ("id", "attack", "base"):
        if data.get(key) is not None and not isinstance(data[key], str):
            raise ValueError(f"{key}: must be a text or left out, found {data[key]!r}")
    # Without an id the text is its own: the same line is the same prompt wherever it stands.
    name = data.get("id") or hashlib.sha256(text.encode()).hexdigest()[:16]
    return sri_sdk.Prompt(name, text, label, data.get("attack"), data.get("base"))
