"""Hook `diffusion-gemma`: DiffusionGemma, which denoises one canvas of random tokens after the other."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import sri_sdk
from sri_plugin_diffusion_gemma.rows import ROWS
from sri_sdk.canvas import SteadyPasses, SteadySteps
from sri_sdk.checkpoint import CheckpointConfig, load_checkpoint
from sri_sdk.errors import ConformanceError, SriError
from sri_sdk.structure import FixedPaths, ModulePaths, missing_paths, module_at, modules_at, not_of_family, unwrapped

if TYPE_CHECKING:
    import torch

    from sri_sdk.records import ForwardOutput

SRI_PLUGIN_API = 2

WORKS_WITH = "transformers>=5.11"
FAMILY = "DiffusionGemmaForBlockDiffusion"
ENCODER = "model.encoder.language_model"
METHODS = ("generate", "_prepare_generation_config", "_prepare_generated_length", "_denoising_step", "_finalize_canvas")
"""What the hook asks of the model's generation. A release that lacks one is refused by `fits` and not misread."""
GENERATE = ("input_ids", "past_key_values", "streamer", "generation_config", "logits_processor", "stopping_criteria")
"""Arguments of `generate` in their order."""


class DiffusionGemmaHook(FixedPaths, sri_sdk.Hook):
    """Every decoder pass is one denoising step of one canvas; encoder passes are none.

    Encoder and decoder share their weights and are separate modules: the decoder's norm and its embedding run once per
    decoder pass, the encoder's on the prompt and on each finished canvas. Nothing on a canvas is a hole, so nothing is
    `committed`.
    """

    # The encoder's norm and embedding run on the prompt and on finished canvases, the decoder's on the canvas alone:
    # self-conditioning reads the weight of its embedding and does not call it.
    PATHS: ClassVar = ModulePaths("model.decoder.norm", "model.decoder.layers", "model.decoder.embed_tokens")
    PARTS: ClassVar = ("model.encoder",)
    scheme: ClassVar[Literal["canvas"]] = "canvas"
    capabilities: ClassVar = frozenset({"phi", "input_ids", "clock", "request"})
    observed_methods: ClassVar = ("_denoising_step", "_finalize_canvas")

    class Config(CheckpointConfig):
        """Where the weights are."""

    # -- which models, and where to look ---------------------------------------------------------------------

    @classmethod
    def fits(cls, model: Any) -> sri_sdk.Match:
        """By class name, structure, and the methods that its generation is made of."""
        looked, found = f"{FAMILY} ({WORKS_WITH})", type(unwrapped(model)).__name__
        stranger = not_of_family(model, (FAMILY,), METHODS, looked=f"a {looked}")
        if stranger is not None and not stranger.if_named:
            return stranger
        missing = missing_paths(model, (*cls.PATHS, *cls.PARTS))
        missing += [name for name in METHODS if not callable(getattr(unwrapped(model), name, None))]
        if missing:
            return sri_sdk.Match(False, f"looked for a {looked}, found {found} without {', '.join(missing)}")
        return stranger or sri_sdk.Match(True, f"class {found}, final norm of the decoder at {cls.PATHS.norm}")

    def hidden_size(self) -> int:
        """Width of the text model."""
        return int(unwrapped(self.model).config.get_text_config().hidden_size)

    def block_length(self) -> int:
        """Tokens of a canvas."""
        return int(unwrapped(self.model).config.canvas_length)

    # -- what one forward pass means -------------------------------------------------------------------------

    def on_call(self, call: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], run: sri_sdk.RunView) -> None:
        """Notes what passes do not show: the prompt's length, the most canvases, what ends a response."""
        given = {**dict(zip(GENERATE, args, strict=False)), **kwargs}
        ids = given.get("input_ids")
        if ids is None:
            return  # The model itself says that it cannot do without.
        # A second one is not refused, only noticed: the first one's run is the one that fails.
        run.memory["again"] = "size" in run.memory
        model, cached = unwrapped(self.model), given.get("past_key_values")
        before = ids.shape[1] + (0 if cached is None else cached.get_seq_length())
        others = {name: value for name, value in given.items() if name not in GENERATE}
        config, _ = model._prepare_generation_config(given.get("generation_config"), **others)
        _, tokens = model._prepare_generated_length(config, before)
        run.prompt = ids.shape[1]
        run.memory["size"] = math.ceil(tokens / self.block_length()) * self.block_length()
        run.eos_ids = _tuple(config.eos_token_id)

    def plan(self, call: sri_sdk.ForwardCall, run: sri_sdk.RunView) -> sri_sdk.StepPlan | None:
        """All rows of a pass are the canvas in work; rows that are done with it are forwarded, and frozen."""
        import torch

        ids, memory, ours = call.input_ids, run.memory, ROWS.current()
        if memory.get("again"):
            raise SriError("a second generation in one watch; watch one generation at a time")
        batch, length = ids.shape
        if ours is not None:
            canvas, active = ours.canvas, ours.active
        elif memory.get("unreported"):
            canvas, active = self._in_a_foreign_loop(call, memory), None
        else:
            canvas, active = memory.get("canvas", 0), memory.get("active")
        memory["unreported"], memory["in work"] = ours is None, canvas
        positions = (canvas * length + torch.arange(length, device=ids.device)).expand(batch, length)
        return sri_sdk.StepPlan(positions, shift=0, active=active, span=(0, length), canvas=memory.get("size"))

    def steady(self, plan: sri_sdk.StepPlan, run: sri_sdk.RunView) -> SteadyPasses | None:
        """Passes over one canvas; the loop says by itself which rows are done with it."""
        return _OneCanvas(run)

    def prompt_modules(self) -> tuple[torch.nn.Module, Sequence[torch.nn.Module], torch.nn.Module]:
        """The encoder's language model: it reads the prompt, then each finished canvas."""
        return (
            module_at(self.model, f"{ENCODER}.embed_tokens"), modules_at(self.model, f"{ENCODER}.layers"),
            module_at(self.model, f"{ENCODER}.norm"),
        )  # fmt: skip

    def prompt_columns(
        self, call: sri_sdk.ForwardCall, plan: sri_sdk.StepPlan | None, run: sri_sdk.RunView
    ) -> torch.Tensor | None:
        """[R, L] of the encoder's first pass; later ones read what was generated."""
        import torch

        ids = call.input_ids
        if plan is not None:
            return None
        if run.steps:
            # The canvas that the last decoder pass worked on is finished.
            length = ids.shape[1]
            run.shows((run.memory["in work"] * length + torch.arange(length, device=ids.device)).expand(ids.shape))
            return None
        return torch.arange(ids.shape[1], device=ids.device).expand(ids.shape)

    def on_method_result(self, call: str, result: Any, run: sri_sdk.RunView) -> None:
        """The loop's own account: rows that are done with their canvas, or their response. Nothing is waited for."""
        import torch

        memory = run.memory
        if call == "_finalize_canvas":
            memory["done"] = result[1].clone()
            memory["active"] = ~memory["done"]
            memory["canvas"] = memory.get("canvas", 0) + 1
            return
        # A copy: the model goes on writing into this tensor.
        finished = result[3].clone()
        active = memory.get("active")
        steps = torch.ones_like(finished) if active is None else active
        run.taken = steps.long() if run.taken is None else run.taken + steps
        memory["active"] = ~finished if memory.get("done") is None else ~(finished | memory["done"])
        memory["unreported"] = False

    def _in_a_foreign_loop(self, call: sri_sdk.ForwardCall, memory: dict[str, Any]) -> Any:
        """Number of finished canvases, read off the cache, in a loop that is neither the model's nor ours."""
        if len(call.input_ids) > 1:
            raise SriError(
                "decoder passes outside the model's own generate(): nothing says which rows of the batch are done with "
                "their canvas. Generate with generate(), or one prompt at a time"
            )
        cache = call.kwargs.get("past_key_values")
        cached = 0 if cache is None else cache.get_seq_length()
        return (cached - memory.setdefault("cached", cached)) // self.block_length()

    def expected_steps(self, budget: int) -> int | None:
        """Unknown in advance: a canvas is left as soon as it is stable and the model sure of it."""
        return None

    # -- for the conformance kit -----------------------------------------------------------------------------

    @classmethod
    def example(cls) -> Any:
        """transformers' own class with random weights: rows that leave their canvas early, one response that ends.

        Raises:
            ConformanceError: the transformers that is installed has no DiffusionGemma.
        """
        from importlib import metadata

        from packaging.requirements import Requirement

        found = metadata.version("transformers")
        if found not in Requirement(WORKS_WITH).specifier:
            raise ConformanceError(f"hook diffusion-gemma needs {WORKS_WITH}, transformers {found} is installed.")
        from sri_plugin_diffusion_gemma.stand_ins.example import case

        return case(cls)

    # -- for driven sampling ---------------------------------------------------------------------------------

    @classmethod
    def load(cls, config: Any) -> sri_sdk.LoadedModel:
        """The checkpoint, with transformers' own class; text only, images need the processor and generate()."""
        return load_checkpoint(config, family="diffusion-gemma", works_with=WORKS_WITH, auto=f"transformers:{FAMILY}")

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None, cache: Any = None,
        *, use_cache: bool = False,
    ) -> ForwardOutput:  # fmt: skip
        """Always refused: [B, L] token ids are not enough.

        A step sees a canvas, the cache of what came before it, and its own last guess.
        """
        raise SriError(
            "DiffusionGemma cannot be run on tokens alone: a pass takes canvas, encoder cache and last guess. Use the "
            "sampler diffusion-gemma, or the model's own generate()."
        )

    def eos_ids(self) -> tuple[int, ...]:
        """Ids that end a response, as generate() finds them: some releases have defaults of their own."""
        config = unwrapped(self.model).generation_config
        defaults: dict[str, Any] = getattr(config, "_get_default_generation_params", dict)()
        return _tuple(config.eos_token_id if config.eos_token_id is not None else defaults.get("eos_token_id"))


class _OneCanvas(SteadyPasses):
    """Denoising passes of one canvas, all of which show all of it."""

    def __init__(self, run: sri_sdk.RunView) -> None:
        self._memory, self._canvas = run.memory, run.memory["in work"]
        self._active: list[torch.Tensor | None] = []

    def goes_on(self, call: sri_sdk.ForwardCall) -> bool:
        """Whether a pass works on the same canvas, in the same loop."""
        memory, ours = self._memory, ROWS.current()
        if memory.get("again") or (ours is None and memory["unreported"]):
            return False
        if (memory.get("canvas", 0) if ours is None else ours.canvas) != self._canvas:
            return False
        self._active.append(memory.get("active") if ours is None else ours.active)
        memory["unreported"] = ours is None
        return True

    def read(self, input_ids: torch.Tensor) -> SteadySteps:
        """[S, B, L] int64 tensor: who was active as each of these passes began."""
        import torch

        noted, self._active = self._active[: len(input_ids)], self._active[len(input_ids) :]
        if all(each is None for each in noted):
            return SteadySteps()
        every = torch.ones(input_ids.shape[1], dtype=torch.bool, device=input_ids.device)
        return SteadySteps(active=torch.stack([every if each is None else each for each in noted]))


def _tuple(ids: Any) -> tuple[int, ...]:
    return () if ids is None else (int(ids),) if isinstance(ids, int) else tuple(int(token) for token in ids)
