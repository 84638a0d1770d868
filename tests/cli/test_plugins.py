"""`sri plugins list`."""

import json

import pytest
from click.testing import CliRunner

from sri_sdk import registry
from sri_sdk.cli import main
from sri_sdk.errors import PluginLoadFailed


def test_the_table_names_kind_plugin_target_and_distribution() -> None:
    done = CliRunner().invoke(main, ["plugins", "list", "--kind", "hooks"])
    assert done.exit_code == 0
    header, *rows = [line.split() for line in done.output.splitlines()]
    assert header == ["KIND", "NAME", "TARGET", "DISTRIBUTION", "VERSION"]
    assert ["hooks", "toy", "sri_plugin_toy.hook:ToyHook", "sri-sdk"] in [row[:4] for row in rows]
    assert {row[0] for row in rows} == {"hooks"}


def test_json_holds_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    found = json.loads(CliRunner().invoke(main, ["plugins", "list", "--json"]).output)
    assert {info["kind"] for info in found} >= {"hooks", "samplers", "detectors", "exporters", "judges", "datasets"}
    assert set(found[0]) == {"kind", "name", "target", "distribution", "version"}


def test_check_names_what_does_not_load_and_exits_with_1(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(kind: str, name: str) -> type:
        if name == "toy":
            raise PluginLoadFailed("toy: broken")
        return object

    monkeypatch.setattr(registry, "load", load)
    done = CliRunner().invoke(main, ["plugins", "list", "--kind", "hooks", "--check"])
    assert done.exit_code == 1
    assert done.stderr == "error: toy: broken\n"
    loads = {line.split()[1]: line.split()[-1] for line in done.stdout.splitlines()}
    assert (loads["toy"], loads["lab-causal"]) == ("no", "yes")
