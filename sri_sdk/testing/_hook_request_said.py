"""Why a request was misread: what the hook said of each pass, against the tokens that the pass showed."""

from __future__ import annotations

from dataclasses import dataclass

from sri_sdk.testing._hook_request_passes import Reading, own_row


@dataclass(frozen=True, slots=True)
class _Said:
    """One place of a pass that the hook took for a column of the part."""

    index: int
    place: int
    column: int
    token: int
    really: int | None
    """Column of the token that stands there; None = it is none of the prompt's."""


def why(reading: Reading, request: int) -> str:
    """The first thing that is wrong with what the hook said of a request, and what to do."""
    said = _said(reading, request)
    if all(each.columns is None for each in reading.passes):
        return (
            f"prompt_columns() returned None for every one of {len(reading.passes)} passes. Return the columns, or do "
            "not claim `request`."
        )
    return (
        _other_row(reading, request) or _other_column(reading, request, said) or _no_column(reading, request, said)
        or _twice(said) or _unsaid(reading, request, said) or _late(reading, request, said)
        or "The columns are right; the states are others. Look at final_norm(), layers() and prompt_modules()."
    )  # fmt: skip


def _said(reading: Reading, request: int) -> list[_Said]:
    part, prompt = reading.parts[request], reading.prompts[request]
    columns = {token: part.first + at for at, token in enumerate(prompt)}
    found = []
    for index, each in enumerate(reading.passes):
        if each.columns is None or len(each.columns) != len(reading.prompts):
            continue  # Rows have left.
        row, told = request if each.rows is None else each.rows[request], each.columns[request]
        for place, (column, token) in enumerate(zip(told, each.ids[row], strict=False)):
            if part.span[0] <= column < part.span[1]:
                found.append(_Said(index, place, column, token, columns.get(token)))
    return found


def _other_row(reading: Reading, request: int) -> str:
    part = reading.parts[request]
    # Later passes show it again, or what was generated.
    for index in sorted({place.index for place in reading.places(request)[part.begin : part.end] if place is not None}):
        each = reading.passes[index]
        if each.columns is None or len(each.columns) != len(reading.prompts):
            continue
        row, own = request if each.rows is None else each.rows[request], own_row(each, reading.prompts, request)
        if row != own:
            return (
                f"In pass {index} batch row {row} was read, and batch row {own} shows its prompt. Columns follow the "
                "order of the requests, and `rows` of the plan says where these are: under guidance in the conditional "
                "half."
            )
    return ""


def _other_column(reading: Reading, request: int, said: list[_Said]) -> str:
    wrong = next((each for each in said if each.really not in (None, each.column)), None)
    if wrong is None or wrong.really is None:
        return ""
    away = wrong.column - wrong.really
    shows = (
        f"In pass {wrong.index}, place {wrong.place} shows column {wrong.really} (token {wrong.token}) and is said to "
        f"be column {wrong.column}"
    )
    if wrong.index and wrong.column == wrong.place and away < 0:
        return (
            f"{shows}: {-away} columns come before this part of the prompt. Count columns from the prompt's first, "
            "not from that of the pass."
        )
    for other in range(len(reading.prompts)):
        if other != request and 0 != reading.parts[other].first - reading.parts[request].first == away:
            return f"{shows}, as it is for request {other}. Return a row per request, in the order of the requests."
    return f"{shows}: {abs(away)} too far to the {'right' if away > 0 else 'left'}."


def _no_column(reading: Reading, request: int, said: list[_Said]) -> str:
    wrong = next((each for each in said if each.really is None), None)
    if wrong is None:
        return ""
    places = [place for place in reading.places(request) if place is not None and place.index == wrong.index]
    behind = bool(places) and wrong.place > max(place.place for place in places)
    what = "stands behind the prompt, in the response" if behind else "is padding or another's"
    return (
        f"In pass {wrong.index}, place {wrong.place} is said to be column {wrong.column}, and its token {wrong.token} "
        f"{what}. Give such places a column of their own, below 0 or beyond the prompt."
    )


def _twice(said: list[_Said]) -> str:
    seen: dict[tuple[int, int], int] = {}
    for each in said:
        other = seen.setdefault((each.index, each.column), each.place)
        if other != each.place:
            return f"In pass {each.index}, places {other} and {each.place} are both said to be column {each.column}."
    return ""


def _unsaid(reading: Reading, request: int, said: list[_Said]) -> str:
    part, known = reading.parts[request], {each.column for each in said}
    missing = [at for at in range(part.begin, part.end) if part.first + at not in known]
    if not missing:
        return ""
    place = reading.places(request)[missing[0]]
    assert place is not None
    told = reading.passes[place.index].columns
    what = (
        f"No pass is said to show column {part.first + missing[0]} ({len(missing)} of {part.end - part.begin} are "
        f"missing). Pass {place.index} shows it in place {place.place}"
    )
    if told is None or len(told) != len(reading.prompts):
        return (
            f"{what}, and prompt_columns() returned None. Passes that are no steps are asked about too, `plan` is None."
        )
    column, wanted = told[request][place.place], part.first + missing[0]
    if column < 0:
        return f"{what}, which is said to be none of the prompt."
    return f"{what}, which is said to be column {column}: {abs(column - wanted)} too far to the " + (
        "left. Padding on the left is counted." if column < wanted else "right."
    )


def _late(reading: Reading, request: int, said: list[_Said]) -> str:
    part, places = reading.parts[request], reading.places(request)
    for each in said:
        first = places[each.column - part.first]
        if (
            first is not None
            and first.index < each.index
            and not any(other.index == first.index and other.column == each.column for other in said)
        ):
            return (
                f"Pass {each.index} is the first that is said to show column {each.column}, and pass {first.index} "
                "showed it before. The first pass that shows a token counts."
            )
    return ""
