"""A stand-in for MMaDA: LLaDA's, with methods of its own that generate."""

from __future__ import annotations

import torch

from sri_plugin_llada.stand_ins.model import MASK, LLaDAModelLM
from sri_plugin_llada.stand_ins.sampling import generate


class MMadaModelLM(LLaDAModelLM):
    """MMaDA: the same, with generation methods of its own, which call the model."""

    @torch.no_grad()
    def mmu_generate_fast(
        self, idx: torch.Tensor, max_new_tokens: int = 16, steps: int = 8, block_length: int = 8,
        eot_token: int | None = None, mask_id: int = MASK, attention_mask: torch.Tensor | None = None,
    ) -> torch.Tensor:  # fmt: skip
        """[B, L] prompts -> [B, L + max_new_tokens], the prompt first.

        Stops behind a block at whose end every row has `eot_token`; later blocks stay masked.
        """
        return generate(
            self, idx, attention_mask, steps=steps, gen_length=max_new_tokens, block_length=block_length,
            mask_id=mask_id, stop=eot_token,
        )  # fmt: skip

    def t2i_generate(self, input_ids: torch.Tensor) -> torch.Tensor:
        """Would draw an image; this one returns its [B, L] ids."""
        return input_ids
