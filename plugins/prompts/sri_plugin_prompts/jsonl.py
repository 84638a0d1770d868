"""Prompts from JSON lines on this machine: one file per split, one prompt per line."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

import sri_sdk
from sri_sdk.errors import ConfigError, did_you_mean
from sri_sdk.prefill import pieces
from sri_sdk.strict_json import parse
from sri_sdk.text import normal

SRI_PLUGIN_API = 1

LABELS = ("harmless", "harmful")
LARGEST_FILE = 2**28
"""Bytes; a million prompts of 200 characters."""
KEYS = ("id", "text", "label", "attack", "base", "prefill", "group")
FORM = (
    '{"text": "...", "label": "harmless" or "harmful"}, if you like with "id", and with "attack" and "base" where it '
    "is made of another one"
)


class JsonlDataset(sri_sdk.Dataset):
    """Your own prompts. A file is read when its first prompt is needed, and every bad line is reported at once.

    Lines are shuffled by a hash of their id, or of their text where they have none: folds are slices, and must not
    follow the order of a file.
    """

    class Config(sri_sdk.Config):
        """Which files hold which split."""

        files: Annotated[dict[str, Path], Field(min_length=1)] = Field(
            description="Split -> file with one JSON object per line: text, label (harmless or harmful), and "
            "optionally id, attack (the transform that made it), base (id of the plain request it was made of), "
            "prefill (how its response is started) and group (such as its language or source)."
        )
        attacks: tuple[str, ...] = Field(default=(), description="Values of `attack` that the files hold.")

    config: Config
    _seen: ClassVar[dict[tuple[Path, int, int], list[sri_sdk.Prompt]]] = {}
    """What was read, by file, time of its last change, and size."""

    @classmethod
    def example(cls) -> Any:
        """The few lines that come with this package; they show the form."""
        file = Path(__file__).with_name("example.jsonl")
        return cls(cls.Config(files={"fit": file}, attacks=("role",)))

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
        for what, name, known in (("label", label, LABELS), ("attack", attack, self.config.attacks)):
            if name is not None and name not in known:
                raise ConfigError(
                    f"dataset jsonl: unknown {what} {name!r}; allowed: "
                    f"{', '.join(known) or 'none, see options.attacks'}.{did_you_mean(name, known)}"
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
            facts = file.stat()
            key = (file.resolve(), facts.st_mtime_ns, facts.st_size)
            if facts.st_size > LARGEST_FILE:
                raise ConfigError(
                    f"{file}: {facts.st_size} bytes; allowed: {LARGEST_FILE}. Leave out what no fold needs."
                )
            if key not in self._seen:
                # With or without the mark that some editors put in front.
                self._seen[key] = _parse(file, file.read_text(encoding="utf-8-sig"))
        except OSError as err:
            raise ConfigError(
                f"{file}: cannot be read: {err.strerror}. Write one JSON object per line there: {FORM}."
            ) from err
        except UnicodeDecodeError as err:
            raise ConfigError(f"{file}: not UTF-8 text, first at byte {err.start}. Save it as UTF-8.") from err
        return self._seen[key]


def _parse(file: Path, text: str) -> list[sri_sdk.Prompt]:
    prompts: dict[str, sri_sdk.Prompt] = {}
    first: dict[str, int] = {}
    problems: list[str] = []
    # Not splitlines(): a text may hold other characters that end a line, and JSON lets it.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            prompt = _prompt(parse(line))
            # With another start of the response it is another prompt: some attacks change nothing else.
            whole = normal(f"{prompt.text}\n{prompt.prefill or ''}")
            for what, sign in (("text", f"text {whole}"), (f"id {prompt.id!r}", f"id {prompt.id}")):
                if first.setdefault(sign, number) != number:
                    raise ValueError(f"{what}: the same as on line {first[sign]}; every prompt once")
        except ValueError as err:
            problems.append(f"{file}: line {number}: {err}")
            continue
        prompts[prompt.id] = prompt
    if problems:
        shown = "\n".join(problems[:20]) + (f"\n... and {len(problems) - 20} more" if len(problems) > 20 else "")
        raise ConfigError(f"{shown}\nA line reads {FORM}.", problems)
    # By a hash: as good as random, and the same on every machine and after every edit elsewhere in the file.
    return sorted(prompts.values(), key=lambda prompt: hashlib.sha256(prompt.id.encode()).digest())


def _prompt(data: Any) -> sri_sdk.Prompt:
    """One line.

    Raises:
        ValueError: what is wrong with it.
    """
    if not isinstance(data, dict):
        raise ValueError(f"must be an object, found {type(data).__name__}")
    stray = sorted(set(data) - set(KEYS))
    if stray:
        raise ValueError(f"unknown keys {', '.join(stray)}; allowed: {', '.join(KEYS)}.{did_you_mean(stray[0], KEYS)}")
    text, label = data.get("text"), data.get("label")
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"text: must be a text that is not empty, found {text!r}")
    if label not in LABELS:
        raise ValueError(f"label: found {label!r}, allowed: {', '.join(LABELS)}.{did_you_mean(str(label), LABELS)}")
    for key in ("id", "attack", "base", "prefill", "group"):
        found = data.get(key)
        if found is not None and (not isinstance(found, str) or not found.strip()):
            raise ValueError(f"{key}: must be a text that is not empty, or left out; found {found!r}")
    if data.get("attack") is not None and data.get("base") in (None, data.get("id")):
        raise ValueError(
            "base: missing, and there is an attack; give the id of the plain request it was made of, so that both fall "
            "into one fold"
        )
    try:
        pieces(data.get("prefill") or "")
    except ConfigError as err:
        raise ValueError(str(err)) from err
    # Without an id the text is its own: the same line is the same prompt wherever it stands.
    name = data.get("id") or hashlib.sha256((text + (data.get("prefill") or "")).encode()).hexdigest()[:16]
    return sri_sdk.Prompt(
        name, text, label, data.get("attack"), data.get("base"), data.get("prefill"), data.get("group")
    )
