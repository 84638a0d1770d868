"""Loading by name: what is not possible is said in one sentence, with its cure."""

from importlib import metadata

import pytest
from sri_plugin_dream.hook import DreamHook

from sri_sdk import registry
from sri_sdk.config.load import load_config
from sri_sdk.errors import ConfigError

OPTIONS = {"source": "Dream-org/Dream-v0-Instruct-7B", "revision": "main", "offline": True}
MODERN = int(metadata.version("transformers").split(".")[0]) >= 5
CONFIGS = ("dream-v0-instruct-7b", "diffucoder-7b-instruct", "dream-coder-v0-instruct-7b")


@pytest.mark.skipif(not MODERN, reason="needs transformers 5")
def test_another_release_of_transformers_is_named_with_the_one_to_install() -> None:
    with pytest.raises(ConfigError, match=r"hook dream: transformers 5\..* is installed.*pip install \"transformers"):
        DreamHook.load(DreamHook.Config(**OPTIONS, trust_remote_code=True))


@pytest.mark.skipif(MODERN, reason="transformers 5 is refused before")
def test_code_from_a_checkpoint_runs_only_where_somebody_said_so() -> None:
    with pytest.raises(ConfigError, match="trust_remote_code: dream checkpoints bring their own model code"):
        DreamHook.load(DreamHook.Config(**OPTIONS))


@pytest.mark.skipif(MODERN, reason="transformers 5 is refused before")
def test_a_checkpoint_that_is_not_there_is_named(tmp_path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        DreamHook.load(
            DreamHook.Config(source=str(tmp_path / "nothing"), revision="main", offline=True, trust_remote_code=True)
        )


@pytest.mark.parametrize("name", CONFIGS)
def test_a_shipped_file_has_the_papers_profile_and_runs_no_code_by_itself(name: str, pytestconfig) -> None:
    config = load_config(pytestconfig.rootpath / "configs" / f"{name}.yaml")
    assert config.model.hook == "dream" and config.model.options["trust_remote_code"] is False
    sampler = registry.build("samplers", config.sampler.name, config.sampler.options)
    assert (sampler.budget(), sampler.canvas(), config.tap.pooling) == (32, 128, "response")
