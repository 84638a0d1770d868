import pytest

from sri_sdk.errors import ModelMismatch
from sri_sdk.fingerprint import Fingerprint

GUARD = Fingerprint({"architecture": "a", "grid": {"cells": 4}}, {"dtype": "float32", "torch": "2"})


def test_equal_fingerprints_are_admitted_and_nothing_needs_accepting():
    assert GUARD.admit(Fingerprint.from_dict(GUARD.to_dict()), subject="signals") == ()


@pytest.mark.parametrize("hard", [{"architecture": "b", "grid": {"cells": 4}}, {"architecture": "a"}])
def test_a_hard_field_that_differs_or_lacks_is_refused_even_if_accepted(hard):
    with pytest.raises(ModelMismatch, match=r"signals: (architecture|grid) is"):
        GUARD.admit(Fingerprint(hard, GUARD.soft), subject="signals", accept=["architecture", "grid"])


def test_a_soft_field_must_be_accepted_by_name():
    other = Fingerprint(GUARD.hard, {"dtype": "bfloat16", "torch": "2"})
    with pytest.raises(ModelMismatch, match="--accept dtype"):
        GUARD.admit(other, subject="signals", accept=["torch"])
    assert GUARD.admit(other, subject="signals", accept=["dtype", "torch"]) == ("dtype",)


def test_the_digest_covers_hard_fields_in_any_order_and_no_soft_ones():
    turned = Fingerprint({"grid": {"cells": 4}, "architecture": "a"}, {})
    assert turned.digest == GUARD.digest
    assert Fingerprint({**GUARD.hard, "architecture": "b"}, GUARD.soft).digest != GUARD.digest


def test_something_else_is_not_a_fingerprint():
    with pytest.raises(ModelMismatch, match="found keys"):
        Fingerprint.from_dict({"hard": 1})


@pytest.mark.parametrize("dtype", ["float16", "uint8"])
def test_weights_that_differ_by_their_dtype_are_refused_with_both_dtypes_in_words(dtype):
    guard = Fingerprint({"weights_digest": "a" * 64}, {"dtype": "float32"})
    with pytest.raises(ModelMismatch, match=rf"weights_digest.*are in {dtype} here.*float32.*dtype='float32'"):
        guard.admit(Fingerprint({"weights_digest": "b" * 64}, {"dtype": dtype}), subject="watch(Model)")


def test_a_dtype_that_changes_no_digest_is_not_blamed_for_other_weights():
    guard = Fingerprint({"weights_digest": "a" * 64}, {"dtype": "float32"})
    with pytest.raises(ModelMismatch) as caught:
        guard.admit(Fingerprint({"weights_digest": "b" * 64}, {"dtype": "bfloat16"}), subject="watch(Model)")
    assert "bfloat16" not in str(caught.value)


def test_of_long_facts_the_member_that_differs_is_named():
    layers = list(range(40))
    guard = Fingerprint({"request": {"layers": layers, "template": "t" * 64, "system_prompt": "a" * 64}}, {})
    call = Fingerprint({"request": {**guard.hard["request"], "system_prompt": None}}, {})
    with pytest.raises(ModelMismatch, match=r"watch: request\.system_prompt is None, .* on aaaaaaaaaaaa\. .*state it"):
        guard.admit(call, subject="watch")
    call = Fingerprint({"request": {**guard.hard["request"], "layers": layers[1:]}}, {})
    with pytest.raises(ModelMismatch, match=r"request\.layers is \[1, 2, .*, the guard was fitted on \[0, 1, "):
        guard.admit(call, subject="watch")


@pytest.mark.parametrize(("mine", "its"), [({"a": 1}, {"a": 1, "b": 2}), ({"a": 1, "b": 2}, {"a": 1})])
def test_a_member_that_one_side_lacks_is_named_and_called_missing(mine, its):
    with pytest.raises(ModelMismatch, match=r"sampler\.b is .*(missing|2)"):
        Fingerprint({"sampler": mine}, {}).admit(Fingerprint({"sampler": its}, {}), subject="signals")
