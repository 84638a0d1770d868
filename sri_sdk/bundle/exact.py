"""Records of a manifest: immutable, and exact in what they take.

Written by hand and not with pydantic, whose import alone takes more time than all the rest of what a scoring process
loads. What a field takes follows from its annotation:

    value: float                               also a whole number; never a bool, NaN or infinity
    n: Annotated[int, Within(ge=1)]            a whole number written as one: 1.0 is refused
    name: Annotated[str, Spelt("[a-z]+")]      the whole text looks like that
    kind: Literal["sri", "request"]            one of these
    scores: PackedArray | None                 another record, or nothing
    shape: tuple[int | str, ...]               a list
    files: dict[str, FileEntry]                an object
    grid: JsonValue                            any JSON value
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sized
from functools import cache, partial
from types import NoneType, UnionType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    NamedTuple,
    NoReturn,
    Self,
    Union,
    dataclass_transform,
    get_args,
    get_origin,
    get_type_hints,
)

from sri_sdk.strict_json import parse, write

if TYPE_CHECKING:
    from pydantic import JsonValue as JsonValue
else:
    JsonValue = Any


class Wrong(ValueError):
    """A value that a field does not take; quotes nothing of it."""

    def __init__(self, problem: str, *place: str) -> None:
        super().__init__(": ".join(filter(None, (".".join(place), problem))))
        self.problem, self.place = problem, place

    def inside(self, name: object) -> Wrong:
        """The same, seen from what contains it under that name."""
        return Wrong(self.problem, str(name), *self.place)


class Within(NamedTuple):
    """Bounds of a number; None = no such bound."""

    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None

    def check(self, found: float) -> None:
        """Raises `Wrong` for a number outside."""
        for bound, name, fine in (
            (self.ge, "at least", self.ge is None or found >= self.ge),
            (self.gt, "above", self.gt is None or found > self.gt),
            (self.le, "at most", self.le is None or found <= self.le),
            (self.lt, "below", self.lt is None or found < self.lt),
        ):
            if not fine:
                raise Wrong(f"must be {name} {bound:g}")


class Spelt(NamedTuple):
    """What a text looks like, as a regular expression of all of it."""

    pattern: str

    def check(self, found: str) -> None:
        """Raises `Wrong` for another text."""
        if re.fullmatch(self.pattern, found) is None:
            raise Wrong(f"must look like {self.pattern}")


class Items(NamedTuple):
    """How many entries a list or an object has."""

    least: int = 0
    most: float = math.inf

    def check(self, found: Sized) -> None:
        """Raises `Wrong` for fewer or more."""
        if not self.least <= len(found) <= self.most:
            raise Wrong(f"must have {self.least:g} to {self.most:g} entries")


@dataclass_transform(frozen_default=True, kw_only_default=True)
class Model:
    """Immutable, exact: no unknown keys, no coercion, no NaN. A subclass lists its fields as annotations."""

    def __init__(self, /, **values: Any) -> None:
        # `self` may be a key of a manifest, too.
        self.__dict__.update(_taken(type(self), values))
        self._settle()

    def _consistent(self) -> None:
        """What is demanded of several fields together; raises ValueError where it is not so."""

    def _settle(self) -> None:
        try:
            self._consistent()
        except Wrong:
            raise
        except ValueError as err:
            raise Wrong(str(err)) from err

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"{type(self).__name__}.{name}: is immutable. Make another with `model_copy`.")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"{type(self).__name__}.{name}: is immutable, and cannot be deleted.")

    def __eq__(self, other: object) -> bool:
        return self.__dict__ == other.__dict__ if type(self) is type(other) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.__dict__.items())})"

    # -- named as pydantic names them --------------------------------------------------------------------------

    @classmethod
    def model_validate(cls, value: object) -> Self:
        """From JSON types.

        Raises:
            Wrong: something in it is not as the fields say; names the place.
        """
        if isinstance(value, cls):
            return value
        if not isinstance(value, dict):
            raise Wrong("must be an object")
        return cls(**value) if all(isinstance(key, str) for key in value) else _refuse("must have texts as keys")

    @classmethod
    def model_validate_json(cls, content: bytes | str) -> Self:
        """From JSON text; see `model_validate`.

        Raises:
            JsonError: not JSON.
            Wrong: see `model_validate`.
        """
        return cls.model_validate(parse(content))

    def model_dump(self, *, mode: Literal["json"] = "json") -> dict[str, Any]:
        """As JSON types."""
        return {name: _plain(value) for name, value in self.__dict__.items()}

    def model_dump_json(self) -> str:
        """As JSON text."""
        return write(self.model_dump())

    def model_copy(self, *, update: Mapping[str, Any]) -> Self:
        """The same with some fields replaced, which nobody checks."""
        made = object.__new__(type(self))
        made.__dict__.update({**self.__dict__, **update})
        return made


# -- what fields take ------------------------------------------------------------------------------------------

Check = Callable[[Any], Any]
"""From what was given to what is kept; raises `Wrong`."""


def _taken(form: type[Model], values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a record, checked one by one."""
    # A type always is hashable; of this one mypy looks at the `__hash__` of its instances.
    found, checks = {}, _checks(form)  # type: ignore[arg-type]
    for name, check in checks.items():
        if name not in values:
            raise Wrong("is missing", name)
        try:
            found[name] = check(values[name])
        except Wrong as err:
            raise err.inside(name) from None
    if others := values.keys() - checks.keys():
        raise Wrong("Extra inputs are not allowed", min(others))
    return found


@cache
def _checks(form: type[Model]) -> dict[str, Check]:
    """Field -> its check."""
    return {name: _check_of(hint) for name, hint in get_type_hints(form, include_extras=True).items()}


def _check_of(hint: Any) -> Check:
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return partial(_limited, _check_of(inner[0]), inner[1:])
    if origin is Literal:
        return partial(_one_of, inner)
    if origin is tuple:
        return partial(_items, _check_of(inner[0]))
    if origin is dict:
        return partial(_entries, _check_of(inner[0]), _check_of(inner[1]))
    if origin in (Union, UnionType):
        return partial(_any_of, [_check_of(each) for each in inner])
    if isinstance(hint, type) and issubclass(hint, Model):
        return hint.model_validate
    return _PLAIN[hint]


def _limited(check: Check, limits: tuple[Any, ...], given: Any) -> Any:
    found = check(given)
    for limit in limits:
        limit.check(found)
    return found


def _one_of(allowed: tuple[Any, ...], given: Any) -> Any:
    for each in allowed:
        if type(given) is type(each) and given == each:  # True and 1.0 equal 1.
            return each
    raise Wrong(f"must be one of {', '.join(map(repr, allowed))}")


def _items(each: Check, given: Any) -> tuple[Any, ...]:
    if not isinstance(given, list | tuple):
        raise Wrong("must be a list")
    found = []
    for place, value in enumerate(given):
        try:
            found.append(each(value))
        except Wrong as err:
            raise err.inside(place) from None
    return tuple(found)


def _entries(key: Check, each: Check, given: Any) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise Wrong("must be an object")
    found = {}
    for name, value in given.items():
        try:
            found[key(name)] = each(value)
        except Wrong as err:
            raise err.inside(name) from None
    return found


def _any_of(forms: list[Check], given: Any) -> Any:
    wrong: list[Wrong] = []
    for form in forms:
        try:
            return form(given)
        except Wrong as err:
            wrong.append(err)
    # The one that went furthest into a record names the place.
    furthest = max(wrong, key=lambda err: len(err.place))
    raise furthest if furthest.place else Wrong(", or ".join(err.problem for err in wrong))


def _whole(given: Any) -> int:
    if not isinstance(given, int) or isinstance(given, bool):
        raise Wrong("must be a whole number")
    return given


def _number(given: Any) -> float:
    if not isinstance(given, int | float) or isinstance(given, bool) or not math.isfinite(given):
        raise Wrong("must be a number")
    return float(given)


def _text(given: Any) -> str:
    return given if isinstance(given, str) else _refuse("must be text")


def _truth(given: Any) -> bool:
    return given if isinstance(given, bool) else _refuse("must be true or false")


def _nothing(given: Any) -> None:
    return None if given is None else _refuse("must be null")


def _refuse(problem: str) -> NoReturn:
    raise Wrong(problem)


_PLAIN: dict[Any, Check] = {
    int: _whole, float: _number, str: _text, bool: _truth, NoneType: _nothing, Any: lambda given: given,
}  # fmt: skip


def _plain(value: Any) -> Any:
    if isinstance(value, Model):
        return value.model_dump()
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return {key: _plain(each) for key, each in value.items()} if isinstance(value, dict) else value
