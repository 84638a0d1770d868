"""The one JSON grammar of everything this SDK reads and writes for readers: RFC 8259, minus what they disagree on.

Refused: a key written twice, text that is not UTF-8, NaN and Infinity, numbers that no float64 holds, numbers of more
than 63 characters, integers beyond 2**53 - 1, lone surrogates, more than 64 levels or 2**20 values. `1.0` stays a
float, so a field that takes an integer can refuse it. `exporters/onnx/runtimes/vectors/refusals.json` has a case of
each.
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

LEVELS = 64
"""Most arrays and objects inside each other."""
CHARACTERS = 63
"""Most characters of one number; the longest that `repr` writes has 24."""
VALUES = 2**20
"""Most values in one text; keys are not counted."""
LARGEST = 2**53 - 1
"""Largest integer: up to here, every language that reads numbers as float64 reads the same one."""

# An end that is missing is allowed, or a text of escaped quotes would be tried from each of them.
_STRINGS_AND_BRACKETS = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[\]{}]', re.DOTALL)
_STRINGS = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_EMPTY = re.compile(r"\[[ \t\n\r]*+\]|\{[ \t\n\r]*+\}")


class JsonError(ValueError):
    """Not JSON, or JSON that readers would disagree on. The message says what; the caller adds where."""


def parse(content: bytes | str, *, not_finite: bool = False, values: int = VALUES) -> Any:
    """Reads one JSON value.

    Args:
        content: the text, or its UTF-8 bytes, without a byte-order mark.
        not_finite: also allow the words NaN, Infinity and -Infinity.
        values: most values, where a file is no bundle and no signals.

    Raises:
        JsonError: anything else than one value of the grammar above.
    """
    try:
        text = content.decode("utf-8") if isinstance(content, bytes) else content
    except UnicodeDecodeError as err:
        raise JsonError(f"not UTF-8 text, first at byte {err.start}") from err
    # Before parsing, which takes a stack, and up to a hundred bytes for each value. Counting is cheap; only what has
    # many commas and brackets is looked at twice.
    if 1 + text.count(",") + text.count("[") + text.count("{") > values and _values(text, values) > values:
        raise JsonError(f"more than {values} values")
    if text.count("[") + text.count("{") > LEVELS and _levels(text) > LEVELS:
        raise JsonError(f"more than {LEVELS} levels of brackets")
    try:
        value = json.loads(
            text, object_pairs_hook=_object, parse_int=_integer, parse_float=_float,
            parse_constant=float if not_finite else _constant,
        )  # fmt: skip
    except json.JSONDecodeError as err:
        raise JsonError(f"not JSON: {err.msg}, at line {err.lineno} column {err.colno}") from err
    except RecursionError as err:  # Under a caller that left little of the stack.
        raise JsonError("too many levels of brackets") from err
    # An escape is the one way to write a surrogate in UTF-8; a str may contain one as it is.
    if ("\\u" in text or isinstance(content, str)) and not _is_text(value):
        raise JsonError("half of a surrogate pair, which is not a character")
    return value


def json_to_array(value: Any) -> np.ndarray[Any, Any]:
    """JSON as an array [K] uint8, so that metadata fits in an .npz without pickle.

    Raises:
        JsonError: a value that would not be read back.
    """
    import numpy as np

    text = write(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return np.frombuffer(text.encode(), dtype=np.uint8)


def json_from_array(array: np.ndarray[Any, Any]) -> Any:
    """The inverse of `json_to_array`: [K] uint8 -> the value.

    Raises:
        JsonError: not bytes, or not JSON.
    """
    if array.dtype.kind != "u" or array.dtype.itemsize != 1:
        raise JsonError(f"an array of {array.dtype}, not of bytes")
    return parse(array.tobytes())


def write(value: Any, **layout: Any) -> str:
    """A value as JSON that `parse`, and every other reader, reads back as the same value.

    Args:
        value: dicts with text keys, lists, tuples, texts, numbers, booleans and None.
        layout: `sort_keys`, `indent`, `separators` and `ensure_ascii` of `json.dumps`.

    Raises:
        JsonError: a value that some reader would refuse or read as another; names its place.
    """
    _refuse(value, "", LEVELS)
    if _count(value) > VALUES:
        raise JsonError(f"more than {VALUES} values")
    return json.dumps(value, allow_nan=False, **layout)


def is_text(found: str) -> bool:
    """Whether a string is made of characters: UTF-8 can write it."""
    try:
        found.encode()
    except UnicodeEncodeError:
        return False
    return True


def _refuse(value: Any, place: str, levels: int) -> None:
    where = f"{place}: " if place else ""
    if isinstance(value, str):
        if not is_text(value):
            raise JsonError(f"{where}{value[:40]!a} has half of a surrogate pair, which is not a character")
    elif isinstance(value, int):
        if abs(value) > LARGEST:
            raise JsonError(f"{where}{_short(value)} is an integer beyond {LARGEST}")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise JsonError(f"{where}{value} is not a JSON number")
    elif isinstance(value, dict | list | tuple):
        if not levels:
            raise JsonError(f"{where}more than {LEVELS} levels")
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            name = f"{place}.{key}" if place else str(key)
            if isinstance(value, dict):
                if not isinstance(key, str):
                    raise JsonError(f"{where}the key {key!r:.40} is not text")
                _refuse(key, name if is_text(key) else place, levels)
            _refuse(inner, name, levels - 1)
    elif value is not None:
        raise JsonError(f"{where}{type(value).__name__} is not a type of JSON")


def _short(number: int) -> str:
    # Python refuses to print very long ones.
    return str(number) if number.bit_length() < 100 else f"a number of {number.bit_length()} bits"


def _levels(text: str) -> int:
    """How deep brackets outside of strings go; stops counting once it is too deep."""
    now = most = 0
    for found in _STRINGS_AND_BRACKETS.finditer(text):
        if found[0] in ("[", "{"):
            now += 1
            most = max(most, now)
            if most > LEVELS:
                break
        elif found[0] in ("]", "}"):
            now -= 1
    return most


def _values(text: str, most: int) -> int:
    """How many values a text has, itself counted, keys not; of a text that is no JSON those before its mistake at
    least. Stops counting once there are too many."""
    bare = _STRINGS.sub("0", text)
    # Each value but the first follows a comma, or the bracket of what is not empty.
    count = 1 + bare.count(",")
    if count <= most:
        opened = bare.count("[") + bare.count("{")
        count += opened - sum(1 for _ in _EMPTY.finditer(bare))
    return count


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise JsonError(f"a key is written twice: {twice[:40]!r}")
    return found


def _integer(digits: str) -> int:
    # Length first: Python takes quadratic time for long ones.
    if len(digits) > CHARACTERS or abs(found := int(digits)) > LARGEST:
        raise JsonError(f"an integer beyond {LARGEST}: {digits[:24]}{'...' if len(digits) > 24 else ''}")
    return found


def _float(digits: str) -> float:
    if len(digits) > CHARACTERS:
        raise JsonError(f"a number of {len(digits)} characters: {digits[:24]}...; at most {CHARACTERS}")
    found = float(digits)
    if not math.isfinite(found):
        raise JsonError(f"a number that no float64 holds: {digits}")
    return found


def _constant(word: str) -> Any:
    raise JsonError(f"{word} is not a JSON number")


def _is_text(value: Any) -> bool:
    todo = [value]
    while todo:
        found = todo.pop()
        if isinstance(found, str):
            if not is_text(found):
                return False
        elif isinstance(found, dict):
            todo += [*found, *found.values()]
        elif isinstance(found, list):
            todo += found
    return True


def _count(value: Any) -> int:
    """Values inside of a value, and itself."""
    todo, count = [value], 0
    while todo:
        found = todo.pop()
        count += 1
        if isinstance(found, dict | list | tuple):
            todo += found.values() if isinstance(found, dict) else found
    return count
