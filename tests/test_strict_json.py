"""The grammar of all JSON that is read, held by the vectors that every reader shares."""

import json
from base64 import b64decode
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sri_sdk.bundle.manifest import NO_DIGEST, Manifest
from sri_sdk.errors import BundleError, ScoringError
from sri_sdk.files import sha256
from sri_sdk.scoring.signal_files import read_signals
from sri_sdk.strict_json import LEVELS, JsonError, json_from_array, json_to_array, parse, write
from sri_sdk.strict_json import VALUES as MOST
from tests.runtimes.sealing import all_escaped

VECTORS = Path(__file__).parents[1] / "exporters/onnx/runtimes/vectors"
REFUSALS = json.loads((VECTORS / "refusals.json").read_text())
MANIFEST = (VECTORS / "autoencoder/bundle/manifest.json").read_bytes()


def cases(*keys):
    found = REFUSALS
    for key in keys:
        found = found[key]
    return [pytest.param(case, id=case["name"]) for case in found]


@pytest.mark.parametrize("case", cases("grammar", "refused"))
def test_what_readers_would_disagree_on_is_refused(case):
    with pytest.raises(JsonError):
        parse(b64decode(case["base64"]))


@pytest.mark.parametrize("case", cases("grammar", "accepted"))
def test_what_is_plain_json_is_read_as_the_standard_library_reads_it(case):
    content = b64decode(case["base64"])
    assert repr(parse(content)) == repr(json.loads(content))


def with_value(path, text):
    """A manifest with the text of one value replaced, and its digest corrected."""
    value = json.loads(MANIFEST)
    place = value
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = "@"
    value["digest"] = NO_DIGEST
    content = json.dumps(value, sort_keys=True, indent=1).replace('"@"', text, 1).encode() + b"\n"
    return content.replace(NO_DIGEST.encode(), sha256(content).encode(), 1)


@pytest.mark.parametrize("case", cases("manifest", "refused"))
def test_a_manifest_with_such_a_value_is_refused(case):
    with pytest.raises(BundleError, match=r"^x: ") as caught:
        Manifest.from_bytes(with_value(case["path"], case["json"]), "x")
    assert "its own digest" not in str(caught.value)


@pytest.mark.parametrize("case", cases("manifest", "accepted"))
def test_a_manifest_with_another_fine_value_is_read(case):
    place = Manifest.from_bytes(with_value(case["path"], case["json"]), "x").model_dump(mode="json")
    for key in case["path"]:
        place = place[key]
    assert place == json.loads(case["json"])


def test_a_manifest_may_spell_every_text_with_escapes():
    plain, escaped = (Manifest.from_bytes(content, "x") for content in (MANIFEST, all_escaped(MANIFEST)))
    assert escaped == plain.model_copy(update={"digest": escaped.digest})


@pytest.mark.parametrize("case", cases("signal_lines", "refused"))
def test_a_line_of_signals_is_refused(tmp_path, case):
    path = tmp_path / "s.jsonl"
    path.write_bytes(b64decode(REFUSALS["signal_lines"]["before"]) + b64decode(case["base64"]))
    with pytest.raises(ScoringError, match=r"s\.jsonl, line 2"):
        read_signals(path)


@pytest.mark.parametrize("case", cases("signal_lines", "accepted"))
def test_a_line_of_signals_is_read(tmp_path, case):
    path = tmp_path / "s.jsonl"
    path.write_bytes(b64decode(REFUSALS["signal_lines"]["before"]) + b64decode(case["base64"]))
    assert read_signals(path).sigma.shape == (2, 16, 1)


@pytest.mark.parametrize("case", cases("signal_heads", "accepted"))
def test_a_head_of_signals_is_read(tmp_path, case):
    path = tmp_path / "s.jsonl"
    path.write_bytes(b64decode(case["base64"]) + b64decode(REFUSALS["signal_heads"]["after"]))
    assert len(read_signals(path)) == 1


@pytest.mark.parametrize("case", cases("signal_files", "refused"))
def test_a_file_of_signals_is_refused(tmp_path, case):
    path = tmp_path / "s.jsonl"
    path.write_bytes(b64decode(case["base64"]))
    with pytest.raises(ScoringError, match=r"s\.jsonl"):
        read_signals(path)


@pytest.mark.parametrize("case", cases("signal_files", "accepted"))
def test_a_file_of_signals_is_read(tmp_path, case):
    path = tmp_path / "s.jsonl"
    path.write_bytes(b64decode(case["base64"]))
    assert list(read_signals(path).ids) == case["ids"]


@pytest.mark.parametrize("case", cases("signal_heads", "refused"))
def test_a_head_of_signals_is_refused(tmp_path, case):
    path = tmp_path / "s.jsonl"
    path.write_bytes(b64decode(case["base64"]) + b64decode(REFUSALS["signal_heads"]["after"]))
    with pytest.raises(ScoringError, match=r"s\.jsonl, line 1"):
        read_signals(path)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
)  # fmt: skip


@given(ANYTHING, st.booleans())
def test_what_is_written_is_read_back(value, ascii_only):
    assert parse(json.dumps(value, ensure_ascii=ascii_only).encode()) == value
    assert json_from_array(json_to_array(value)) == value


@given(st.binary() | st.text(st.characters(exclude_categories=())) | st.text('[]{}",:\\u0d8 1e.-'))
def test_any_bytes_are_a_value_or_one_kind_of_error(content):
    try:
        parse(content)
    except JsonError as err:
        assert str(err)


def test_values_are_counted_and_keys_and_commas_in_texts_are_not():
    for fine in ("[" + ",".join("1" * (MOST - 1)) + "]", '{"a": "' + ",[{" * MOST + '"}'):
        parse(fine)
    for much in ("[" + ",".join("1" * MOST) + "]", "[" + ",".join(["[]"] * MOST) + "]"):
        with pytest.raises(JsonError, match="values"):
            parse(much)
    for nested in ('["a", "b"]', "[ ]", "[[ ], {\n}, [1]]", '{"[": [[]], "]": {}}'):
        count = {'["a", "b"]': 3, "[ ]": 1}.get(nested, 5 if nested.startswith("[[") else 4)
        parse(nested, values=count)
        with pytest.raises(JsonError, match="values"):
            parse(nested, values=count - 1)
    keyed = '{"a":{"b":1},"c":[2,3]}'
    assert parse(keyed, values=6) == {"a": {"b": 1}, "c": [2, 3]}
    with pytest.raises(JsonError, match="more than 5 values"):
        parse(keyed, values=5)


def test_values_are_counted_before_the_parser_makes_any(monkeypatch):
    monkeypatch.setattr(json, "loads", None)
    with pytest.raises(JsonError, match="more than 9 values"):
        parse("[" + "[]," * 10 + "0]", values=9)


@given(st.integers(1, 3 * LEVELS))
def test_levels_are_counted_whatever_lies_between(levels):
    text = '[{"]}": "[{\\"", "x": ' * levels + "1" + "}]" * levels
    if 2 * levels <= LEVELS:
        parse(text)
    else:
        with pytest.raises(JsonError, match="levels"):
            parse(text)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"a": [1, {"b": 2**53}]}, f"a.1.b: {2**53} is an integer beyond {2**53 - 1}"),
        ([-(2**53)], f"0: -{2**53} is an integer"), ({"a": 10**5000}, "a: a number of 16610 bits is an integer"),
        ({"a": float("nan")}, "a: nan is not a JSON number"), ([float("-inf")], "0: -inf is not a JSON number"),
        (float("inf"), "inf is not"), ({"a": "\ud800"}, "a: '\\ud800' has half of a surrogate pair"),
        ({"a": {"\udc00": 1}}, "a: '\\udc00' has half"), ({1: 2}, "the key 1 is not text"),
        ({"a": {2}}, "a: set is not a type of JSON"),
        (np.float32(1), "float32 is not a type"), ([np.int64(1)], "0: int64 is not a type"),
        (json.loads("[" * 65 + "]" * 65), "more than 64 levels"), ([0] * MOST, "values"),
    ],
)  # fmt: skip
def test_what_would_not_be_read_back_is_not_written_and_its_place_is_named(value, said):
    with pytest.raises(JsonError) as caught:
        write(value)
    assert said in str(caught.value) and len(str(caught.value)) < 400
    with pytest.raises(JsonError):
        json_to_array(value)


@pytest.mark.parametrize("case", cases("grammar", "accepted"))
def test_whatever_is_read_can_be_written(case):
    value = parse(b64decode(case["base64"]))
    for layout in ({}, {"indent": 1, "sort_keys": True}, {"ensure_ascii": False, "separators": (",", ":")}):
        assert repr(parse(write(value, **layout).encode())) == repr(parse(json.dumps(value, **layout)))


@given(
    st.recursive(
        st.none() | st.integers() | st.floats() | st.text(st.characters()),
        lambda x: st.lists(x) | st.dictionaries(st.text(st.characters()), x),
    )
)
def test_a_value_is_written_exactly_if_it_is_read_back(value):
    try:
        text = json.dumps(value).encode()
        readable = repr(parse(text)) == repr(value)
    except JsonError:
        readable = False
    try:
        assert write(value).encode() == text and readable
    except JsonError:
        assert not readable
