"""A strict reading of YAML: what is written is what is meant, or an error that shows the line.

YAML readers disagree on plain words: to some `0200` is 128, `3:20` is 200, `no` is false and `2001-01-01` a date. Here
whole numbers are decimal, `true` and `false` are the only booleans, `null` and `~` the only nothing. Whatever another
reader could take for more than text must be quoted, or written in the one way that all readers share.

Values are built from the parser's events, and counted before they are built: no nesting, alias or number costs more
than a small file may.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

import yaml
from yaml.reader import Reader

from sri_sdk.strict_json import LARGEST

MAX_BYTES = 256 * 1024
"""Of a file. The largest we ship has 8 KB."""
MAX_DEPTH = 32
"""Mappings and lists within each other."""
MAX_VALUES = 10_000
"""Values in a file with its aliases spelled out; a text counts once more for every `_TEXT` characters."""
MAX_DIGITS = 16
"""Of a whole number. What a config says ends up in JSON, whose integers go up to `strict_json.LARGEST`."""
_TEXT = 64
_SHOWN = 40

_WHOLE = re.compile(r"0|-?[1-9][0-9]*")
_REAL = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+([eE][-+]?[0-9]+)?|[eE][-+]?[0-9]+)")
_ELSEWHERE = re.compile(
    r"[-+]?[0-9][0-9_]*(:[0-9]+)*(\.[0-9_]*)?([eE][-+]?[0-9]*)?"  # leading zeros, a plus sign, base 60, `5.`
    r"|[-+]?\.[0-9][0-9_]*([eE][-+]?[0-9]*)?"  # `.5`
    r"|[-+]?0[xXoObB][0-9a-fA-F_]*"  # hexadecimal, octal, binary
    r"|[-+]?\.?(inf|infinity)|\.?nan",
    re.IGNORECASE,
)
"""What readers of YAML 1.1, of YAML 1.2, or of neither make a number of."""
_DATE = re.compile(r"[0-9]{4}-[0-9]{1,2}(-[0-9]{1,2})?([Tt\s].*)?")
_BOOLEANS = frozenset({"true", "false", "yes", "no", "on", "off"})
_resolver: Any = yaml.SafeLoader("")


class YamlProblem(Exception):
    """What is wrong with a text.

    Attributes:
        problems: one `line N: problem` each, in the order of the lines.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


def read_yaml(text: str) -> Any:
    """The value of one YAML document, as plain dicts, lists, texts, numbers, booleans and None.

    Args:
        text: of at most `MAX_BYTES` bytes; None comes back if it has no value.

    Raises:
        YamlProblem: it is not YAML, means different things to different readers, or is too large.
    """
    builder = _Builder(_events(text))
    value = builder.document()
    if builder.problems:
        raise YamlProblem([f"line {line}: {problem}" for line, problem in sorted(builder.problems)])
    return value


def _events(text: str) -> Iterator[Any]:
    try:
        yield from yaml.parse(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as err:
        mark = err.problem_mark or err.context_mark
        where = f"line {mark.line + 1}" if mark else "somewhere"
        said = " ".join(str(part) for part in (err.context, err.problem) if part)
        raise YamlProblem([f"{where}: not YAML: {said}"]) from err
    except yaml.reader.ReaderError as err:
        line = text.count("\n", 0, err.position) + 1
        raise YamlProblem([f"line {line}: not YAML: a control character is not allowed; remove it"]) from err
    except yaml.YAMLError as err:
        raise YamlProblem([f"not YAML: {str(err).splitlines()[0]}"]) from err
    except (ValueError, OverflowError) as err:
        # PyYAML lets them through, for example for "\UFFFFFFFF".
        raise YamlProblem([f"not YAML: an escape names no character ({err}); remove it"]) from err


class _Builder:
    """Builds the values of one document."""

    def __init__(self, events: Iterator[Any]) -> None:
        self._events = events
        self.problems: list[tuple[int, str]] = []
        self._named: dict[str, tuple[Any, int] | None] = {}
        """Anchor -> its value and how many values that is; None = it is being built."""
        self._values = 0

    def document(self) -> Any:
        """The value of the only document; None if there is none."""
        value, seen = None, 0
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                seen += 1
                if seen > 1:
                    raise _stop(event, "a second document begins; a file holds one. Remove what follows `---`")
                # A file of comments is a document with an empty value, and that is nothing, not a mistake.
                value = self._value(next(self._events), 0, "", empty_is_none=True)
        return value

    def _value(self, event: Any, depth: int, path: str, empty_is_none: bool = False) -> Any:
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        if event.tag is not None:
            raise _stop(event, f"the tag {_cut(event.tag)!r} is written; only plain YAML data is read, remove the tag")
        before = self._values
        if event.anchor is not None:
            self._named[event.anchor] = None
        if isinstance(event, yaml.ScalarEvent):
            self._count(event, 1 + len(event.value) // _TEXT)
            value = None if empty_is_none and _is_empty(event) else self._scalar(event, path)
        elif depth >= MAX_DEPTH:
            raise _stop(event, f"more than {MAX_DEPTH} lists and mappings lie within each other; no setting needs that")
        else:
            self._count(event, 1)
            inner = self._sequence if isinstance(event, yaml.SequenceStartEvent) else self._mapping
            value = inner(depth + 1, path)
        if event.anchor is not None:
            self._named[event.anchor] = value, self._values - before
        return value

    def _alias(self, event: Any) -> Any:
        if event.anchor not in self._named:
            raise _stop(event, f"*{_cut(event.anchor)} names nothing; write &{_cut(event.anchor)} before it is used")
        found = self._named[event.anchor]
        if found is None:
            raise _stop(event, f"*{_cut(event.anchor)} stands within the value it names; write the value out")
        value, values = found
        self._count(event, values)
        return value

    def _count(self, event: Any, values: int) -> None:
        self._values += values
        if self._values > MAX_VALUES:
            raise _stop(
                event, f"the file holds more than {MAX_VALUES:,} values with its aliases spelled out; shorten it"
            )

    def _sequence(self, depth: int, path: str) -> list[Any]:
        made: list[Any] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            made.append(self._value(event, depth, f"{path}.{len(made)}" if path else str(len(made))))
        return made

    def _mapping(self, depth: int, path: str) -> dict[str, Any]:
        made: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        lines: dict[str, int] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            line = event.start_mark.line + 1
            is_merge = isinstance(event, yaml.ScalarEvent) and event.style is None and event.value == "<<"
            key = "<<" if is_merge else self._key(event, depth, path)
            if key in lines:
                self.problems.append((line, f"key {_cut(key)!r} is written twice, first on line {lines[key]}"))
            lines.setdefault(key, line)
            value = self._value(next(self._events), depth, f"{path}.{_cut(key)}" if path else _cut(key))
            if is_merge:
                merged = self._merged(value, line)
            else:
                made[key] = value
        return {**merged, **made}

    def _merged(self, value: Any, line: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for one in value if isinstance(value, list) else [value]:
            if not isinstance(one, dict):
                self.problems.append((line, "<<: takes the mapping, or the list of mappings, to take keys from"))
                return {}
            # The first one that has a key wins.
            found = {**one, **found}
        return found

    def _key(self, event: Any, depth: int, path: str) -> str:
        reported = len(self.problems)
        key = self._value(event, depth, path)
        if isinstance(key, str):
            return key
        if len(self.problems) == reported:
            quote = f"; quote it: '{_written(event)}'" if isinstance(event, yaml.ScalarEvent) else ""
            found = _written(event) if quote else _cut(repr(key))
            self.problems.append((event.start_mark.line + 1, f"{_at(path)}keys must be text, found {found}{quote}"))
        # Unlike any other key, so that one mistake is not reported as two.
        return f"line {event.start_mark.line + 1}, column {event.start_mark.column + 1}"

    def _scalar(self, event: Any, path: str) -> Any:
        text: str = event.value
        if event.style is None:
            if _is_empty(event):
                return self._refuse(event, path, "nothing is written", "a value, or null for none")
            return self._plain(event, text, path)
        return self._text(event, text, path)

    def _text(self, event: Any, text: str, path: str) -> str:
        if Reader.NON_PRINTABLE.search(text):
            line = event.start_mark.line + 1
            self.problems.append((line, f"{_at(path)}{_cut(ascii(text))} has a control character; leave it out"))
            return ""
        return text

    def _plain(self, event: Any, text: str, path: str) -> Any:
        if text in ("null", "~"):
            return None
        if text in ("true", "false"):
            return text == "true"
        if _WHOLE.fullmatch(text):
            if len(text.lstrip("-")) > MAX_DIGITS:
                return self._refuse(event, path, f"a number of {len(text.lstrip('-'))} digits", f"at most {MAX_DIGITS}")
            if abs(int(text)) > LARGEST:
                return self._refuse(event, path, "an integer that JSON cannot hold", f"at most {LARGEST}")
            return int(text)
        if _REAL.fullmatch(text):
            if len(text) > _SHOWN or not math.isfinite(float(text)):
                return self._refuse(event, path, "no number that a computer holds exactly enough", "fewer digits")
            return float(text)
        if text.lower() == "null":
            return self._refuse(event, path, "some YAML readers take it for null", "null")
        if text.lower() in _BOOLEANS:
            return self._refuse(event, path, "some YAML readers take it for a boolean", "true or false")
        if _DATE.fullmatch(text):
            return self._refuse(event, path, "some YAML readers take it for a date", None)
        if _ELSEWHERE.fullmatch(text):
            return self._refuse(
                event, path, "readers disagree on whether it is a number, and which",
                "whole numbers as 200, others as 0.5 or 1e-3",
            )  # fmt: skip
        if _resolver.resolve(yaml.ScalarNode, text, (True, False)) != "tag:yaml.org,2002:str":
            return self._refuse(event, path, "some YAML readers take it for more than text", None)
        return self._text(event, text, path)

    def _refuse(self, event: Any, path: str, why: str, write: str | None) -> None:
        quote = f"if text is meant, quote it: '{_written(event)}'" if event.value else "if empty text is meant, ''"
        cure = f"write {write}; {quote}" if write else f"{quote[0].upper()}{quote[1:]}"
        join = ": " if event.value else ""
        said = f"{_at(path)}{_written(event)}{join}{why}. {cure[0].upper()}{cure[1:]}"
        self.problems.append((event.start_mark.line + 1, said))


def _is_empty(event: Any) -> bool:
    return isinstance(event, yaml.ScalarEvent) and event.style is None and event.value == ""


def _stop(event: Any, problem: str) -> YamlProblem:
    return YamlProblem([f"line {event.start_mark.line + 1}: {problem}"])


def _at(path: str) -> str:
    return f"{path}: " if path else ""


def _written(event: Any) -> str:
    return _cut(event.value)


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
