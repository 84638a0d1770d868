"""Sampler `diffusion-gemma`: the model's own sampling, one denoising step at a time, with a random stream per row."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any, ClassVar

import sri_sdk
from sri_plugin_diffusion_gemma.profile import Profile
from sri_plugin_diffusion_gemma.rows import ROWS, Rows
from sri_sdk.errors import ConfigError, SriError
from sri_sdk.structure import unwrapped

SRI_PLUGIN_API = 1


class DiffusionGemmaSampler(sri_sdk.Sampler):
    """Accept what is sure, put noise where it is not, until the canvas is stable; then the next canvas.

    A row draws from a stream of its own: what it generates is what `generate` does with that prompt alone, after
    `torch.manual_seed(sampler.row_seed(seed, prompt_id))` on the same device, up to the rounding of another batch.
    """

    schemes: ClassVar = frozenset({"canvas"})

    class Config(Profile):
        """The generation profile; the defaults are those of transformers."""

    config: Config

    @classmethod
    def example(cls) -> Any:
        """A small model of the family, and a profile that suits it.

        Raises:
            ConformanceError: the transformers that is installed has no DiffusionGemma.
        """
        from sri_plugin_diffusion_gemma.hook import DiffusionGemmaHook
        from sri_sdk.testing import SamplerCase

        case = DiffusionGemmaHook.example()
        from sri_plugin_diffusion_gemma.stand_ins.model import CANVAS, GREEDY

        sampler = cls(cls.Config.model_validate({"canvas_length": CANVAS, "steps": 12, **GREEDY}))
        return SamplerCase(sampler, case.hook, case.encoded, ["first", "second", "third"])

    def budget(self) -> int:
        """Denoising steps, if no canvas is left early."""
        return self.config.canvases * self.config.steps

    def pace(self) -> Mapping[str, Any]:
        """A canvas depends on those before it, and not on how many may follow."""
        return self.config.model_dump(mode="json", exclude={"canvases"})

    def canvas(self) -> int:
        """Response tokens of all canvases."""
        return self.config.canvases * self.config.canvas_length

    def steps(
        self, hook: sri_sdk.Hook, prompts: sri_sdk.Encoded, prompt_ids: Sequence[str], seed: int = 0
    ) -> Generator[sri_sdk.SamplerStep, sri_sdk.Intervention | None, None]:
        """Denoises a batch. A row that is done with its canvas waits for the others, not active until the next one."""
        import torch

        self._check(hook)
        from sri_plugin_diffusion_gemma.loop import Loop

        loop = Loop(hook, self.config, prompts, [self.row_seed(seed, prompt_id) for prompt_id in prompt_ids])
        batch, size, index = len(prompt_ids), self.config.canvas_length, 0
        draft = prompts.input_ids.new_full((batch, self.canvas()), loop.filler)
        committed = torch.zeros(draft.shape, dtype=torch.bool, device=draft.device)
        ended = committed.new_zeros(batch)
        for canvas in range(self.config.canvases):
            place = slice(canvas * size, (canvas + 1) * size)
            loop.begin(ended)
            while bool((active := ~(ended | loop.finished)).any()) and loop.left:
                with ROWS.attached(Rows(canvas, active)):
                    loop.step(active)
                fixed = active & (loop.finished if loop.left else True)
                draft, committed = draft.clone(), committed.clone()
                guess, over = loop.ending(loop.guess)
                draft[active, place] = torch.where(fixed[:, None], guess, loop.guess)[active]
                committed[fixed, place] = True
                ended = ended | (fixed & over)
                intervention = yield sri_sdk.SamplerStep(index, draft, committed, active)
                index += 1
                if intervention is not None:
                    if intervention.remask is not None:
                        raise SriError(
                            "sampler diffusion-gemma: nothing on a canvas is fixed before all of it is, so nothing can "
                            "be opened again. Abort the row instead."
                        )
                    ended = ended.clone()
                    ended[list(intervention.abort)] = True
            if bool(ended.all()):
                return
            loop.commit(draft[:, place])

    def _check(self, hook: sri_sdk.Hook) -> None:
        from sri_plugin_diffusion_gemma.hook import DiffusionGemmaHook

        if not isinstance(hook, DiffusionGemmaHook):
            raise ConfigError(
                f"sampler diffusion-gemma drives DiffusionGemma only, this is {type(hook).__name__} on "
                f"{type(unwrapped(hook.model)).__name__}. Use a sampler of its family."
            )
        if hook.block_length() != self.config.canvas_length:
            raise ConfigError(
                f"sampler.options.canvas_length: {self.config.canvas_length}, and the model's canvas has "
                f"{hook.block_length()} tokens. Write that number."
            )
