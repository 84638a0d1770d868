"""What this plugin says where transformers has no DiffusionGemma, and where it has."""

from importlib import metadata

import pytest
import torch
from packaging.version import Version
from sri_plugin_diffusion_gemma.hook import DiffusionGemmaHook
from sri_plugin_diffusion_gemma.sampler import DiffusionGemmaSampler

from sri_sdk.errors import ConfigError, ConformanceError

FOUND = metadata.version("transformers")
TOO_OLD = Version(FOUND) < Version("5.11")


@pytest.mark.skipif(not TOO_OLD, reason=f"transformers {FOUND} has DiffusionGemma")
@pytest.mark.parametrize("plugin", [DiffusionGemmaHook, DiffusionGemmaSampler])
def test_the_kit_is_told_which_release_is_needed(plugin) -> None:
    with pytest.raises(ConformanceError, match=rf"needs transformers>=5\.11, transformers {FOUND} is installed"):
        plugin.example()


@pytest.mark.skipif(not TOO_OLD, reason=f"transformers {FOUND} has DiffusionGemma")
def test_loading_says_which_release_is_needed() -> None:
    with pytest.raises(ConfigError, match=rf"transformers {FOUND} is installed.*transformers>=5\.11"):
        DiffusionGemmaHook.load(DiffusionGemmaHook.Config(source="google/diffusiongemma-26B-A4B-it"))


@pytest.mark.parametrize("name", ["DiffusionGemmaForBlockDiffusion", "DiffusionGemmaModel", "LlamaForCausalLM"])
def test_a_class_name_alone_is_not_enough(name: str) -> None:
    fit = DiffusionGemmaHook.fits(type(name, (torch.nn.Module,), {})())
    assert not fit.ok and name in fit.why and "transformers>=5.11" in fit.why


def test_a_release_whose_loop_is_made_otherwise_is_refused_by_name_of_what_is_missing() -> None:
    fit = DiffusionGemmaHook.fits(type("DiffusionGemmaForBlockDiffusion", (torch.nn.Module,), {})())
    assert "without model.decoder.norm" in fit.why and "_denoising_step" in fit.why
