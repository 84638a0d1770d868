"""Small models of the family, and their own call."""

from collections.abc import Callable
from typing import Any

import pytest
import torch


@pytest.fixture
def generate() -> Callable[..., Any]:
    """(model, encoded, **options) -> what `model.generate` returns, cold and with a fixed seed."""
    pytest.importorskip("transformers", minversion="5.11")
    from sri_plugin_diffusion_gemma.stand_ins.model import CANVAS, GREEDY

    def call(model: Any, encoded: Any, seed: int = 7, **options: Any) -> Any:
        given = {**GREEDY, "max_new_tokens": 3 * CANVAS, "max_denoising_steps": 12, **options}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return model.generate(encoded.input_ids, attention_mask=encoded.attention_mask, **given)

    return call
