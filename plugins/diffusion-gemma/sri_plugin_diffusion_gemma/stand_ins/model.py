"""transformers' own DiffusionGemma with small sizes and random weights, for the kit and the tests."""

from __future__ import annotations

from typing import Any

import torch
from transformers import DiffusionGemmaConfig, DiffusionGemmaForBlockDiffusion
from transformers.models.diffusion_gemma.generation_diffusion_gemma import EntropyBoundSampler

CANVAS = 8
"""Tokens of a canvas."""
PAD = 0
GREEDY = {"t_min": 1e-6, "t_max": 2e-6}
"""So cold that a token is drawn for certain: every guess is accepted, and no noise is put back."""
TEXT = {
    "vocab_size": 128, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "head_dim": 16, "global_head_dim": 16, "num_global_key_value_heads": 1,
    "layer_types": ["sliding_attention", "full_attention"], "sliding_window": 16, "max_position_embeddings": 512,
    "num_experts": 4, "top_k_experts": 2, "moe_intermediate_size": 16, "use_bidirectional_attention": "vision",
}  # fmt: skip
VISION = {
    "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
    "num_key_value_heads": 2, "head_dim": 8,
}  # fmt: skip


def build(seed: int, family: type[DiffusionGemmaForBlockDiffusion] = DiffusionGemmaForBlockDiffusion) -> Any:
    """The model; the same seed gives the same weights, and no other randomness is touched."""
    config = DiffusionGemmaConfig(
        text_config=dict(TEXT), vision_config=dict(VISION), canvas_length=CANVAS,
        image_token_id=120, boi_token_id=121, eoi_token_id=122,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = family(config).eval()
    model.generation_config.pad_token_id = PAD
    return model


class _SameNoise(EntropyBoundSampler):  # type: ignore[misc]  # mypy does not follow transformers
    """Every canvas of every request begins as the same random tokens."""

    def initialize_canvas(self, batch_size: int, device: torch.device) -> torch.Tensor:
        """[B, canvas] token ids."""
        generator = torch.Generator().manual_seed(3)
        one = torch.randint(0, self.vocab_size, (1, self.canvas_length), generator=generator)
        return one.repeat(batch_size, 1).to(device)


class SameNoiseDiffusionGemma(DiffusionGemmaForBlockDiffusion):  # type: ignore[misc]  # mypy does not follow transformers
    """One whose requests can be compared with themselves alone. DiffusionGemma draws the canvases of a batch from one
    random stream, so that a request depends on its company; this one begins every canvas alike."""

    def _prepare_sampler(self, generation_config: Any) -> EntropyBoundSampler:
        return _SameNoise(
            generation_config.sampler_config, self.config.canvas_length, self.config.text_config.vocab_size,
            generation_config.max_denoising_steps,
        )  # fmt: skip


def passes(output: Any, prompt: int, pad: int | None = PAD) -> list[int]:
    """Decoder passes of each row, as `generate` itself counted them: it reports tokens per pass."""
    new = output.sequences[:, prompt:]
    tokens = (new != pad).sum(1) if pad is not None else torch.full((len(new),), new.shape[1])
    return [round(count) for count in (tokens / output.tokens_per_forward).tolist()]
