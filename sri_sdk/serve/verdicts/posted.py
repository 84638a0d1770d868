"""What processes post, read as strictly as a file: every mistake is named, and nothing is quoted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, Self, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from sri_sdk.records import Ended, PartVerdict, Rule, Status, Verdict
from sri_sdk.serve.http import Refusal, bounded

MOST_CODES = 64
"""Reasons of one verdict, accepted fields, parts."""
SHOWN = 3
"""Mistakes that one refusal names."""


def _printable(code: str) -> str:
    if not code.isprintable():
        raise ValueError("control characters; a code has none")
    return code


Code = Annotated[str, Field(min_length=1, max_length=128), AfterValidator(_printable)]
"""Some databases refuse a text with a zero byte, and would do so again with every delivery."""
Text = Annotated[str, Field(max_length=512)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=2**53 - 1)]
Codes = Annotated[list[Code], Field(max_length=MOST_CODES)]
M = TypeVar("M", bound=BaseModel)


class _Posted(BaseModel):
    # Strict: by itself pydantic makes 1 of true and 3 of "3", without a word.
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class PostedPart(_Posted):
    """One part, as `PartVerdict.to_dict()` has it."""

    name: Code
    status: Status
    score: Number | None = None
    threshold: Number
    p_value: Number | None = None
    reason: Code | None = None


class PostedVerdict(_Posted):
    """One verdict, as `Verdict.to_dict()` has it."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, populate_by_name=True)

    request_id: str
    status: Status
    reasons: Codes = []
    score: Number | None = None
    threshold: Number | None = None
    p_value: Number | None = None
    first_alarm_step: Count | None = None
    steps_seen: Count | None = None
    steps_expected: Count | None = None
    rule: Rule = "final"
    bundle: Code | None = None
    accepted: Codes = []
    judged_steps: Count | None = None
    ended: Ended | None = None
    group: Text | None = None
    parts: Annotated[list[PostedPart], Field(max_length=MOST_CODES)] = []
    # `schema` is a method of every model.
    version: Literal[1, 2] = Field(default=1, alias="schema")

    @model_validator(mode="after")
    def _of_its_schema(self) -> Self:
        later = [name for name in ("judged_steps", "ended", "group", "parts") if getattr(self, name)]
        if self.version == 1 and later:
            raise ValueError(f"schema 1 has no {', '.join(later)}; schema 2 has")
        return self

    def verdict(self, where: str) -> Verdict:
        """As the SDK has it.

        Raises:
            Refusal: the request id is no id.
        """
        found = {name: getattr(self, name) for name in type(self).model_fields if name not in ("version", "parts")}
        return Verdict(
            **found
            | {
                "request_id": bounded(self.request_id, f"{where}.request_id"),
                "reasons": tuple(self.reasons),
                "accepted": tuple(self.accepted),
                "parts": tuple(PartVerdict(**dict(each)) for each in self.parts),
                "schema": self.version,
            }
        )


class PostedVerdicts(_Posted):
    """The body of `POST /v1/verdicts`."""

    verdicts: list[PostedVerdict]
    source: str = ""
    traceparents: dict[str, str] = {}
    """Request id -> trace it belongs to. Older clients send it; nobody reads it."""


class PostedCanary(BaseModel):
    """What a watch said of a prompt that it must flag; what else a source adds is kept as it is."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)

    status: Status | None
    """None = there was no verdict."""


class PostedHeartbeat(_Posted):
    """The body of `POST /v1/heartbeats`. Counts begin with the process."""

    source: str
    pid: Count = 0
    sent: Count = 0
    dropped: Count = 0
    waiting: Count = 0
    generations: Count | None = None
    without_verdict: Count | None = None
    canary: PostedCanary | None = None
    ended: bool = False


def read(model: type[M], value: Any, subject: str = "body") -> M:
    """A JSON value as what it should be.

    Raises:
        Refusal: it is something else; names the fields.
    """
    try:
        return model.model_validate(value)
    except ValidationError as err:
        wrong = err.errors(include_input=False, include_url=False, include_context=False)
        said = "; ".join(f"{_place(each['loc'], subject)}: {each['msg']}" for each in wrong[:SHOWN])
        more = f"; and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        raise Refusal(400, f"{said}{more}. GET /docs of this server has the form.") from err


def verdicts_of(posted: PostedVerdicts, most: int) -> list[Verdict]:
    """The verdicts of a post, all of them right.

    Raises:
        Refusal: one has no usable id; there are too many.
    """
    if len(posted.verdicts) > most:
        raise Refusal(413, f"verdicts: {len(posted.verdicts)} of them; allowed: {most} at once. Send fewer.")
    return [each.verdict(f"verdicts.{row}") for row, each in enumerate(posted.verdicts)]


def choice(sent: str | None, allowed: Iterable[str], subject: str) -> str | None:
    """A parameter that has few values; None = not sent.

    Raises:
        Refusal: another value.
    """
    if sent is None or sent in (allowed := tuple(allowed)):
        return sent
    raise Refusal(400, f"{subject}: another word; allowed: {', '.join(allowed)}. Leave it out for the default.")


def known(query: Mapping[str, str], allowed: Sequence[str]) -> Mapping[str, str]:
    """The parameters of a request, all of them known: one that is misspelt would otherwise limit nothing.

    Raises:
        Refusal: another one.
    """
    if unknown := [each for each in query if each not in allowed]:
        raise Refusal(400, f"query: {ascii(unknown[0])[:40]} is unknown; allowed: {', '.join(allowed)}.")
    return query


def whole(sent: str | None, subject: str, default: int, most: int) -> int:
    """A parameter that is a whole number, at most `most`; None = `default`.

    Raises:
        Refusal: something else.
    """
    if sent is None:
        return default
    if not sent.isascii() or not sent.isdigit() or len(sent) > 18:
        raise Refusal(400, f"{subject}: not a whole number; allowed: 0 to {most}. Write digits only.")
    return min(int(sent), most)


STATUSES: tuple[str, ...] = get_args(Status)


def _place(where: tuple[int | str, ...], subject: str) -> str:
    # A key that nobody declared is the sender's own text.
    return ".".join(str(each)[:40] if ascii(each).isprintable() else "?" for each in where) or subject
