"""The model's own denoising loop, taken apart so that one step can be had at a time.

Masks, temperatures, acceptance and the rule that leaves a canvas are transformers' own objects; only the random numbers
are drawn here, row by row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import DynamicCache
from transformers.models.diffusion_gemma.generation_diffusion_gemma import EntropyBoundSamplerConfig

import sri_sdk
from sri_plugin_diffusion_gemma.profile import Profile
from sri_sdk.structure import cache_argument, unwrapped


class Loop:
    """A batch that is being generated.

    Attributes:
        guess: [B, canvas] int64, the likeliest tokens after the last step; of finished rows, those they finished with.
        finished: [B] bool, rows that are done with the canvas in work.
        left: steps the canvas in work may still take.
        filler: token behind the end of a response.
    """

    def __init__(self, hook: sri_sdk.Hook, options: Profile, prompts: sri_sdk.Encoded, seeds: Sequence[int]) -> None:
        self._model, self._inner = hook.model, unwrapped(hook.model)
        self._config, _ = self._inner._prepare_generation_config(
            None, max_new_tokens=options.canvases * options.canvas_length, max_denoising_steps=options.steps,
            sampler_config=EntropyBoundSamplerConfig(options.entropy_bound), t_min=options.t_min, t_max=options.t_max,
            stability_threshold=options.stability_threshold, confidence_threshold=options.confidence_threshold,
        )  # fmt: skip
        self._device = prompts.input_ids.device
        self._rows = [torch.Generator(self._device).manual_seed(seed) for seed in seeds]
        self._size = options.canvas_length
        self._vocabulary = self._inner.config.get_text_config().vocab_size
        self._ends = torch.tensor(hook.eos_ids(), dtype=torch.long, device=self._device)
        self._pad = self._config.pad_token_id
        self.filler = self._pad if self._pad is not None else int(next(iter(hook.eos_ids()), 0))
        self._sampler = self._inner._prepare_sampler(self._config)
        self._cool = self._inner._prepare_logits_processor(self._config)
        self._may_leave = self._inner._prepare_diffusion_stopping_criteria(self._config)
        cache = DynamicCache(config=self._inner.config.get_text_config(decoder=True))
        self._cached: dict[str, Any] = {cache_argument(self._inner): cache}
        self._ids, self._seen = prompts.input_ids, 0
        self._attention = prompts.attention_mask.bool()

    @torch.no_grad()
    def begin(self, ended: torch.Tensor) -> None:
        """Reads what is new of the text, and lays out the next canvas.

        Args:
            ended: [B] bool, rows that have their response; they draw no more numbers.
        """
        batch, length = self._ids.shape
        places = torch.arange(self._seen, length, dtype=torch.int32, device=self._device)[None]
        new, masks = self._inner._prepare_encoder_inputs(
            input_ids=self._ids, attention_mask=self._attention, encoder_position_ids=places,
            is_prefill=not self._seen, canvas_length=self._size, batch_size=batch, **self._cached,
        )  # fmt: skip
        self._inner.model.encoder(input_ids=new, attention_mask=masks, position_ids=places, **self._cached)
        self._seen = length
        self._places = torch.arange(length, length + self._size, dtype=torch.int32, device=self._device)[None]
        self._canvas = self._noise(~ended)
        self._masks = self._inner.model.decoder.create_diffusion_decoder_attention_mask(
            config=self._inner.config, inputs_embeds=self._canvas[..., None],
            decoder_attention_mask=torch.nn.functional.pad(self._attention, (0, self._size), value=True),
            **self._cached,
        )  # fmt: skip
        self._believed: torch.Tensor | None = None
        self.guess, self.finished, self.left = self._canvas, torch.zeros_like(ended), self._config.max_denoising_steps
        self._may_leave.reset()

    @torch.no_grad()
    def step(self, active: torch.Tensor) -> None:
        """One denoising step of the active rows ([B] bool); the others are forwarded and stay what they are."""
        logits = self._model(
            decoder_input_ids=self._canvas, self_conditioning_logits=self._believed, decoder_attention_mask=self._masks,
            decoder_position_ids=self._places, **self._cached,
        ).logits  # fmt: skip
        step = torch.tensor(self.left, dtype=torch.int32, device=self._device)  # counted down
        logits = self._cool(self._ids, logits, cur_step=step)
        chances = torch.softmax(logits, dim=-1, dtype=torch.float32)
        drawn = self._drawn(active, lambda row, stream: torch.multinomial(chances[row], 1, generator=stream)[:, 0])
        canvas = self._sampler.accept_canvas(self._canvas, drawn, logits, step)
        canvas = torch.where(self._sampler.accepted_token_mask, canvas, self._noise(active))
        guess, idle = logits.argmax(-1), ~active
        if self._believed is not None:
            logits = torch.where(idle[:, None, None], self._believed.to(logits.dtype), logits)
        self._canvas = torch.where(idle[:, None], self._canvas, canvas)
        self.guess = torch.where(idle[:, None], self.guess, guess)
        self.finished = self.finished | self._may_leave(self.guess, logits)
        self._believed = logits.to(self._inner.model.decoder.embed_tokens.weight.dtype)
        self.left -= 1

    def ending(self, canvas: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """[B, canvas] tokens with nothing behind the first end token, and [B] bool: whether there is one."""
        ends = torch.isin(canvas, self._ends)
        behind = (ends.long().cumsum(1) - ends.long()) > 0
        return (canvas if self._pad is None else canvas.masked_fill(behind, self._pad)), ends.any(1)

    def commit(self, canvas: torch.Tensor) -> None:
        """Appends a finished canvas ([B, canvas]) to the text."""
        self._ids = torch.cat([self._ids, canvas], dim=1)
        self._attention = torch.nn.functional.pad(self._attention, (0, self._size), value=True)

    def _noise(self, active: torch.Tensor) -> torch.Tensor:
        """[B, canvas] random tokens."""
        size, most = (1, self._size), self._vocabulary
        return self._drawn(
            active, lambda _, stream: torch.randint(0, most, size, device=self._device, generator=stream)[0]
        )

    def _drawn(self, active: torch.Tensor, draw: Callable[[int, torch.Generator], Any]) -> torch.Tensor:
        """[B, canvas] tokens, each row from its own stream; only active rows draw, as they would alone."""
        rows = [
            draw(row, stream) if on else self._ids.new_zeros(self._size)
            for row, (on, stream) in enumerate(zip(active.tolist(), self._rows, strict=True))
        ]
        return torch.stack(rows)
