"""From what an operator wrote to checked options: every problem at once, each with its path and the closest key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from sri_sdk.errors import ConfigError, did_you_mean

ModelT = TypeVar("ModelT", bound=BaseModel)


def parse(model: type[ModelT], data: Mapping[str, Any], *, subject: str, path: str = "") -> ModelT:
    """Checks plain data against declared options.

    Args:
        model: the declaration.
        data: what was written.
        subject: what the options belong to; leads the message.
        path: where `data` was written, such as `detector.options`; leads every problem.

    Raises:
        ConfigError: `problems` holds one `path: problem` per mistake.
    """
    try:
        return model.model_validate(data)
    except ValidationError as err:
        found = tuple(problems(err, model, path))
    raise ConfigError(f"{subject}: {'; '.join(found)}", found)


def problems(err: ValidationError, model: type[BaseModel], path: str = "") -> Iterator[str]:
    """One `path: problem` per mistake pydantic found."""
    for entry in err.errors(include_url=False):
        if entry["type"] == "too_short" and len(entry["input"]) >= entry["ctx"]["min_length"]:
            # Pydantic counts valid items only, and has reported the others already.
            continue
        location = _without_branches(entry["loc"], model)
        where = ".".join(str(part) for part in (*([path] if path else []), *location)) or "top level"
        yield f"{where}: {_sentence(entry, location, model)}"


def _sentence(entry: Any, location: tuple[int | str, ...], model: type[BaseModel]) -> str:
    found = _shown(entry["input"])
    match entry["type"]:
        case "extra_forbidden":
            allowed = _fields_at(model, location[:-1])
            listed = ", ".join(allowed) or "none"
            return f"unknown key; allowed: {listed}.{did_you_mean(str(location[-1]), allowed)}"
        case "missing":
            return "required, but missing"
        case "model_type" | "dict_type" | "mapping_type":
            return f"must be a mapping of keys to values, found {found}"
        case "list_type" | "tuple_type":
            return f"must be a list, found {found}"
        case "string_type":
            quote = f"; quote it if text is meant: '{entry['input']}'" if _is_number(entry["input"]) else ""
            return f"must be text, found {found}{quote}"
        case "bool_type" | "bool_parsing":
            return f"must be true or false, found {found}"
        case "int_type" | "int_parsing" | "int_from_float":
            return f"must be a whole number, found {found}{_unquote(entry['input'])}"
        case "float_type" | "float_parsing":
            return f"must be a number, found {found}{_unquote(entry['input'])}"
        case "converted":
            return f"{entry['msg']}, found {found}{_unquote(entry['input'])}"
        case "literal_error":
            expected = entry["ctx"]["expected"].replace(" or ", ", ").replace("'", "")
            if str(entry["input"]) in expected.split(", "):
                return f"found {found}, allowed: {entry['ctx']['expected']}{_unquote(entry['input'])}"
            hint = did_you_mean(str(entry["input"]), expected.split(", "))
            return f"found {found}, allowed: {expected}.{hint}"
        case "invalid_key":
            return f"keys must be text, found {found}; quote it"
        case "too_short":
            least = entry["ctx"]["min_length"]
            return f"must hold at least {least} item{'s' if least > 1 else ''}, found {found}"
        case "value_error":
            return str(entry["ctx"]["error"])
    message = entry["msg"][:1].lower() + entry["msg"][1:]
    return f"{message}, found {found}"


_SHOWN = 80


def _shown(found: Any) -> str:
    """A value for a message: a long one is cut, so that one mistake stays one line."""
    text = repr(found)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _is_number(found: Any) -> bool:
    return isinstance(found, int | float) and not isinstance(found, bool)


def _unquote(found: Any) -> str:
    """The cure for a number that was written as text."""
    try:
        float(found if isinstance(found, str) else "")
    except ValueError:
        return ""
    return f", which is text; write {found} without quotes"


def _without_branches(location: tuple[int | str, ...], model: type[BaseModel]) -> tuple[int | str, ...]:
    """A location without the parts pydantic adds for the branches of a union (`layers.0.literal['final']`)."""
    return tuple(part for part in location if not (isinstance(part, str) and ("[" in part or part in _BRANCHES)))


_BRANCHES = frozenset({"int", "float", "str", "bool"})


def _fields_at(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """Keys allowed at a location inside a model; empty where it is not a model."""
    current: type[BaseModel] | None = model
    for part in location:
        if current is None or part not in current.model_fields:
            # An index into a list or a key of a mapping: the model of the elements stays the same.
            continue
        current = _model_in(current.model_fields[str(part)].annotation)
    return list(current.model_fields) if current else []


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The pydantic model in an annotation: the annotation itself, or one within `X | None`, a list or a mapping."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (Union, UnionType, list, tuple, dict):
        return next((found for found in map(_model_in, get_args(annotation)) if found), None)
    return None
