"""Every YAML file we ship is right."""

from pathlib import Path

import pytest

from sri_sdk.config.load import load_any

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))


def test_configs_are_shipped() -> None:
    assert CONFIGS


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_a_shipped_config_is_right(file: Path) -> None:
    load_any(file)
