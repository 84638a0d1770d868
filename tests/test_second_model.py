"""A second model: loaded by its hook, and one error for whatever cannot be had, with whose it is."""

from typing import Any

import pytest

from sri_sdk import registry
from sri_sdk.errors import ConfigError
from sri_sdk.second_model import SecondModelConfig, load_second_model


def test_the_hook_is_bound_to_the_model_it_loaded() -> None:
    hook, loaded = load_second_model(SecondModelConfig(hook="toy"), whose="judge x")
    assert isinstance(hook, registry.load("hooks", "toy"))
    assert hook.model is loaded.model and hook.encode(loaded.tokenizer, ["a"]).input_ids.ndim == 2


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"hook": "tpy"}, "judge x: hooks plugin 'tpy' is not installed.*Did you mean 'toy'"),
        ({"hook": "toy", "options": {"colour": "red"}}, "judge x: options of hooks plugin 'toy': colour: unknown key"),
        ({"hook": "causal", "options": {"source": "./nowhere"}}, "judge x: .*folder ./nowhere does not exist"),
    ],
)
def test_what_cannot_be_had_is_a_config_error_that_says_whose_it_is(wanted: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_second_model(SecondModelConfig(**wanted), whose="judge x")
