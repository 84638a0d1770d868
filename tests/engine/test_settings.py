"""The file of an engine's tap: every mistake at once, before an engine starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from sri_sdk.engine.settings import read_engine_settings, sinks_of
from sri_sdk.errors import ConfigError

GOOD = "version: 1\nguard: {path: out/guard}\nsinks: [{name: jsonl, options: {path: v.jsonl}}]\n"


def written(folder: Path, text: str) -> Path:
    file = folder / "sri.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_short_file_is_enough(tmp_path: Path) -> None:
    found = read_engine_settings(written(tmp_path, GOOD))
    assert (found.rule, found.if_blind, found.block_sums_mb, found.store) == ("final", "refuse", 64, None)
    (sink,) = sinks_of(found)
    assert type(sink).__name__ == "JsonlSink"
    sink.close()


def test_a_store_is_options_of_the_client(tmp_path: Path) -> None:
    text = "version: 1\nguard: {path: g}\nstore: {url: 'http://127.0.0.1:9', source: engine}\n"
    found = read_engine_settings(written(tmp_path, text))
    assert found.store is not None
    assert found.store.source == "engine"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("version: 1\nguard: {path: g}\n", "store and sinks are both missing"),
        (GOOD + "rule: sometimes\n", "rule: "),
        (GOOD + "ruel: final\n", "ruel"),
        (GOOD + "accept: [everything]\n", "accept.0"),
        (GOOD.replace("jsonl", "jsnol"), "sinks.0.name"),
        (GOOD.replace("path: v.jsonl", "paht: v.jsonl"), "sinks.0.options"),
        ("version: 2\nguard: {path: g}\n", "version"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(tmp_path: Path, text: str, problem: str) -> None:
    file = written(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        read_engine_settings(file)
    assert problem in str(caught.value)
    assert all(each.startswith(str(file)) for each in caught.value.problems)
