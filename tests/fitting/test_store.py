"""Batches on disk: whole or absent, and found again only by what made them."""

import numpy as np
import pytest

from sri_sdk.fitting.store import Store
from sri_sdk.strict_json import JsonError

ARRAYS = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array([1, -1], dtype=np.int8)}


def test_what_was_saved_is_loaded(tmp_path):
    store = Store(tmp_path, "test", {"k": 1})
    store.save("0", ARRAYS, {"seconds": 0.5, "responses": ["sure \u2028 \U0001f600", ""]})
    arrays, notes = Store(tmp_path, "test", {"k": 1}).load("0")
    assert arrays.keys() == ARRAYS.keys() and all((arrays[k] == ARRAYS[k]).all() for k in ARRAYS)
    assert notes == {"seconds": 0.5, "responses": ["sure \u2028 \U0001f600", ""]}


def test_another_key_is_another_folder(tmp_path):
    Store(tmp_path, "test", {"k": 1}).save("0", ARRAYS, {})
    assert Store(tmp_path, "test", {"k": 2}).load("0") is None


def test_a_damaged_batch_counts_as_missing(tmp_path):
    store = Store(tmp_path, "test", {})
    store.save("0", ARRAYS, {})
    path = store.folder / "0.safetensors"
    whole = path.read_bytes()
    for damaged in (b"", whole[:20], whole[:-1], b"\xff" * 8 + whole[8:]):
        path.write_bytes(damaged)
        assert store.load("0") is None


def test_notes_come_back_and_damaged_ones_count_as_missing(tmp_path):
    store = Store(tmp_path, "learnt", {})
    assert store.load_notes("x") is None
    store.save_notes("x", {"suffix": ["a", "b"]})
    assert store.load_notes("x") == {"suffix": ["a", "b"]}
    for damaged in ("{", '{"a": 1, "a": 2}', "[NaN]", "[" * 100_000, '"\\ud800"'):
        (store.folder / "x.json").write_text(damaged)
        assert store.load_notes("x") is None


@pytest.mark.parametrize("notes", [{"x": float("nan")}, {"x": 2**53}, {"x": ["\ud800"]}, {1: 2}])
def test_notes_that_would_count_as_damaged_are_not_written(tmp_path, notes):
    store = Store(tmp_path, "test", {})
    with pytest.raises(JsonError):
        store.save("0", ARRAYS, notes)
    with pytest.raises(JsonError):
        store.save_notes("x", notes)
    assert list(store.folder.parent.rglob("*.*")) == []


def test_nothing_half_written_stays(tmp_path):
    store = Store(tmp_path, "test", {})
    store.save("0", ARRAYS, {})
    assert [path.name for path in store.folder.iterdir()] == ["0.safetensors"]


def test_what_is_private_is_readable_by_its_owner_alone(tmp_path):
    store = Store(tmp_path, "test", {"k": 1})
    store.save("directions", {"main": np.ones(2, np.float32)}, {}, private=True)
    file = store.folder / "directions.safetensors"
    assert file.stat().st_mode & 0o077 == 0 and store.load("directions") is not None
