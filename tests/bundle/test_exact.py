from typing import Annotated, Literal

import pytest

from sri_sdk.bundle.exact import Items, JsonValue, Model, Spelt, Within, Wrong


class Inner(Model):
    low: float
    high: float

    def _consistent(self) -> None:
        if self.low >= self.high:
            raise ValueError("low is not below high")


class Outer(Model):
    count: Annotated[int, Within(ge=1, le=9)]
    share: Annotated[float, Within(gt=0, lt=1)] | None
    name: Annotated[str, Spelt("[a-z]+")]
    kind: Literal["a", 1]
    shape: Annotated[tuple[int | str, ...], Items(most=3)]
    parts: Annotated[dict[Annotated[str, Spelt("[a-z]+")], Inner], Items(least=1)]
    fine: bool
    grid: JsonValue


GIVEN = {
    "count": 3, "share": 0.5, "name": "ab", "kind": "a", "shape": ["B", 3], "parts": {"x": {"low": 0, "high": 1.5}},
    "fine": True, "grid": {"any": [1, None]},
}  # fmt: skip


def test_a_record_is_what_its_json_says():
    found = Outer.model_validate(GIVEN)
    assert found.shape == ("B", 3) and isinstance(found.parts["x"].low, float)
    assert found.model_dump() == GIVEN and found == Outer.model_validate_json(found.model_dump_json())
    assert found == Outer(**{**GIVEN, "shape": ("B", 3), "parts": {"x": Inner(low=0.0, high=1.5)}})
    assert Outer.model_validate({**GIVEN, "share": None}).share is None


@pytest.mark.parametrize(
    ("key", "value", "place"),
    [
        ("count", 0, "count"), ("count", 10, "count"), ("count", 3.0, "count"), ("count", True, "count"),
        ("count", "3", "count"), ("count", None, "count"), ("share", 0, "share"), ("share", 1, "share"),
        ("share", float("nan"), "share"), ("share", "0.5", "share"), ("share", False, "share"), ("name", "", "name"),
        ("name", "ab\n", "name"), ("name", "aB", "name"), ("name", 1, "name"), ("kind", "b", "kind"),
        ("kind", True, "kind"), ("kind", 1.0, "kind"), ("kind", ["a"], "kind"), ("shape", "B3", "shape"),
        ("shape", {"0": 1}, "shape"), ("shape", [1, 2, 3, 4], "shape"), ("shape", [1, 2.0], "shape.1"),
        ("shape", [True], "shape.0"), ("parts", {}, "parts"), ("parts", [], "parts"),
        ("parts", {"x": 1}, "parts.x"), ("parts", {"X": {"low": 0, "high": 1}}, "parts.X"),
        ("parts", {"x": {"low": 0}}, "parts.x.high"), ("parts", {"x": {"low": 0, "high": "1"}}, "parts.x.high"),
        ("parts", {"x": {"low": 1, "high": 0}}, "parts.x"),
        ("parts", {"x": {"low": 0, "high": 1, "more": 1}}, "parts.x.more"), ("fine", 1, "fine"), ("fine", None, "fine"),
        ("self", 1, "self"), ("other", 1, "other"),
    ],
)  # fmt: skip
def test_what_a_field_does_not_take_is_refused_and_its_place_named(key, value, place):
    with pytest.raises(Wrong) as caught:
        Outer.model_validate({**GIVEN, key: value})
    assert ".".join(caught.value.place) == place and caught.value.problem


@pytest.mark.parametrize("missing", GIVEN)
def test_no_field_may_be_missing(missing):
    with pytest.raises(Wrong, match=f"{missing}: is missing"):
        Outer.model_validate({name: value for name, value in GIVEN.items() if name != missing})


def test_a_record_never_changes_but_has_changed_copies():
    found = Inner(low=0.0, high=1.0)
    with pytest.raises(AttributeError, match="is immutable"):
        found.low = 2.0
    with pytest.raises(AttributeError, match="is immutable"):
        del found.low
    assert found.model_copy(update={"low": 0.5}) == Inner(low=0.5, high=1.0) != found
    assert found.low == 0.0


@pytest.mark.parametrize("value", [None, [], "text", 1, {1: 2}])
def test_what_is_no_object_is_no_record(value):
    with pytest.raises(Wrong):
        Inner.model_validate(value)
