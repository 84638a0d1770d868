"""Passes kept on the device by tensor operations alone, so that they survive whatever runs no Python.

A CUDA graph replays kernels. What a watch needs of a pass must therefore be done by kernels too: `DeviceTape` puts
hooks on the model that copy the tokens of every pass, and the states of the tapped layers, into memory that is there
already, at a place that a counter on the device says. Nothing of it asks the host, waits, or makes memory that
outlives the pass; so it can be recorded into a graph, by `torch.compile` or by hand, and each replay writes the next
pass. The watch reads the tape once, at the end, and goes through its passes as if they ran then.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

import torch

from sri_sdk.capture.choose import choose_hook
from sri_sdk.capture.compiled import EMBEDDING, STATE, Placed
from sri_sdk.capture.conclude import INCOMPLETE, SILENT, TWICE
from sri_sdk.capture.run import Run
from sri_sdk.capture.settings import Layers
from sri_sdk.capture.tap import tap_of
from sri_sdk.capture.tape import Tape
from sri_sdk.errors import CaptureError, ConfigError
from sri_sdk.hook import Hook

_keys = itertools.count(-(1 << 62), 1)
"""Of our hooks in the tables of modules: torch counts up from 0, the tap down from there."""


class DeviceTape(Tape):
    """Keeps the passes of a model on its device, for watches over CUDA graphs and other code that runs no Python.

        with sri_sdk.DeviceTape(model, tokens=8192):
            model.compile(mode="reduce-overhead")  # or record a graph by hand
            with sri_sdk.watch(model, guard=guard) as run:
                run.returned(generate(model, ids))

    Open it before the model is compiled or recorded, and keep it open as long as that code is used: compiled code is
    the same with and without a watch, and every pass of the model writes. Record a graph by hand outside of watches.

    A watch reads the tape when the generation has returned, so nothing is decided meanwhile: rules other than `final`,
    horizons, and policies that stop a generation are refused, as are guards that read requests. Passes of other threads
    are not told apart, and what a graph replays has one set of inputs anyway: one generation at a time. The hook sees
    no arguments of a pass but its tokens.

    Memory: `tokens` times width times bytes per value, for each layer. 128 tokens behind a prompt of 64 in 32 steps of
    a masked model are 6,144 tokens; at width 4,096 in bfloat16, 50 MB.
    """

    def __init__(
        self, model: Any, *, tokens: int, layers: Layers = ("final",), hook: Hook | str | None = None
    ) -> None:  # fmt: skip
        """Makes the memory; nothing is on the model before `with`.

        Args:
            model: the loaded model, on one device.
            tokens: of all passes of one generation together, prompt and batch included; a longer one is `unmonitored`.
            layers: what watches may tap, `final` or block numbers.
            hook: a hook, or its plugin name; None = the installed hook that fits.

        Raises:
            ConfigError: the family, the layers or the devices do not suit.
        """
        family = hook if isinstance(hook, Hook) else choose_hook(model, hook)
        if family.model is not model:
            raise ConfigError("DeviceTape: the hook was built on another model object: nothing of this one is kept.")
        if tokens < 1:
            raise ConfigError(f"DeviceTape: tokens {tokens}; allowed: 1 or more, all passes of a generation together.")
        if family.observed_methods or family.firings != 1:
            raise ConfigError(
                f"DeviceTape: {type(family).__name__} needs more of a generation than its passes show. Watch the model "
                "eagerly, or compiled without CUDA graphs."
            )
        self.layers = tuple(dict.fromkeys((*layers, "final")))
        self._model, self._hook, self._tokens = model, family, tokens
        self._modules = self._tapped(family.layers())
        home = self._home()
        embedding = next(family.embedding().parameters()).dtype
        kinds = dict.fromkeys(self.layers, embedding)
        for weight in self._modules["final"].parameters():
            # A norm in float32 answers in float32.
            kinds["final"] = torch.promote_types(embedding, weight.dtype)
        # One row more than passes may fill: what is too much lands there.
        rows, width = tokens + 1, family.hidden_size()
        with torch.inference_mode(False), torch.device(home):
            self._states = {layer: torch.zeros((rows, width), dtype=kind) for layer, kind in kinds.items()}
            self._ids = torch.zeros(rows, dtype=torch.int64)
            self._shapes = torch.zeros((rows, 2), dtype=torch.int64)
            self._offsets = torch.arange(tokens)
            # Passes begun, tokens of those that ended, tensors of a shape or dtype that no place suits.
            self._begun, self._at, self._lost = (torch.zeros(1, dtype=torch.int64) for _ in range(3))
            # Of each pass, counted from 1: how many rows the layer gave. Before the first one: what lies at 0.
            self._rows = {layer: torch.zeros(rows, dtype=torch.int64) for layer in self.layers}
        if home.type == "cuda":
            # Otherwise Inductor takes them for inputs that may move, and refuses to record code that writes to them.
            memory = (*self._states.values(), self._ids, self._offsets, *self._counters)
            for tensor in memory:
                torch._dynamo.mark_static_address(tensor, guard=False)
        self._stack = ExitStack()
        self._reader: Run | None = None
        self._told = 0, 0
        self._broken = False

    @property
    def _counters(self) -> tuple[torch.Tensor, ...]:
        return self._begun, self._at, self._lost, self._shapes, *self._rows.values()

    def _tapped(self, blocks: Sequence[torch.nn.Module]) -> dict[str | int, torch.nn.Module]:
        for layer in self.layers:
            if layer != "final" and not (isinstance(layer, int) and 0 <= layer < len(blocks)):
                raise ConfigError(
                    f"DeviceTape: layer {layer!r}; {type(self._hook).__name__} has blocks 0 to {len(blocks) - 1}, and "
                    "`final` for the states after the last norm."
                )
        return {layer: self._hook.final_norm() if layer == "final" else blocks[int(layer)] for layer in self.layers}

    def _home(self) -> torch.device:
        modules = (self._hook.embedding(), *self._modules.values())
        homes = {weight.device for module in modules for weight in module.parameters()}
        if len(homes) != 1 or "meta" in {home.type for home in homes}:
            raise ConfigError(
                f"DeviceTape: what it reads lies on {', '.join(sorted(map(str, homes))) or 'no device'}; allowed: one "
                "device that has the weights. Load the model onto one device."
            )
        return homes.pop()

    # -- on the model ----------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        tap = tap_of(self._model)
        if tap.tape is not None:
            raise ConfigError("DeviceTape: this model has one already; use that, or close it first.")
        tap.tape = self
        self._stack.callback(setattr, tap, "tape", None)
        self._put(self._hook.embedding(), EMBEDDING, self._on_embedding())
        for layer, module in self._modules.items():
            self._put(module, STATE, self._on_state(layer))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _put(self, module: torch.nn.Module, kind: str, hook: Callable[..., None]) -> None:
        self._stack.callback(Placed(module, kind, hook, next(_keys)).remove)

    def _on_embedding(self) -> Callable[..., None]:
        # Tensors and numbers only: a compiler keeps them, and nothing else of the tape.
        begun, lost, at, offsets, most = self._begun, self._lost, self._at, self._offsets, self._tokens
        kept, shapes = self._ids, self._shapes

        def on_embedding(_module: Any, args: Any, *rest: Any) -> None:
            ids = args[0] if args else next(iter(rest[0].values()))
            count = ids.numel()
            if ids.dim() != 2 or count > most:
                lost.add_(1)
                return
            place = (at + offsets[:count]).clamp_(max=most)
            kept.index_copy_(0, place, ids.reshape(-1).to(kept.dtype))
            shape = torch.cat([begun.new_full((1, 1), size) for size in ids.shape], dim=1)
            shapes.index_copy_(0, begun.clamp(max=most), shape)
            begun.add_(1)

        return on_embedding

    def _on_state(self, layer: str | int) -> Callable[..., None]:
        begun, lost, at, offsets, most = self._begun, self._lost, self._at, self._offsets, self._tokens
        kept, rows, ends = self._states[layer], self._rows[layer], layer == "final"

        def on_state(_module: Any, _args: Any, output: Any) -> None:
            states = output[0] if isinstance(output, tuple) else output
            count = states.shape[0] * states.shape[1]
            exact = torch.promote_types(states.dtype, kept.dtype) == kept.dtype
            if states.dim() != 3 or count > most or states.shape[2] != kept.shape[1] or not exact:
                lost.add_(1)
                return
            place = (at + offsets[:count]).clamp_(max=most)
            kept.index_copy_(0, place, states.detach().reshape(count, -1).to(kept.dtype))
            rows.index_add_(0, begun.clamp(max=most), begun.new_full((1,), count))
            if ends:
                at.add_(count)

        return on_state

    # -- for one watch ---------------------------------------------------------------------------------------

    def begin(self, run: Run) -> None:
        """From now on the passes are those of `run`.

        Raises:
            ConfigError: somebody else reads the tape, or it has not what the run needs.
        """
        if self._reader is not None:
            raise ConfigError(
                "watch: this model keeps its passes on a DeviceTape, and another watch reads it. Watch one generation "
                "at a time."
            )
        if run.decides_meanwhile:
            raise ConfigError(
                "watch: this model keeps its passes on a DeviceTape, which is read at the end, so nothing can be "
                "decided meanwhile. Use the rule 'final' and a policy that stops nothing, without a horizon; or close "
                "the tape and run without CUDA graphs."
            )
        if run.reads_requests:
            raise ConfigError(
                "watch: this guard reads requests, which a DeviceTape does not keep. Close the tape and run without "
                "CUDA graphs, or use a guard without a request column."
            )
        if missing := [layer for layer in run.layers if layer not in self.layers]:
            raise ConfigError(
                f"watch: layers {missing} are not on the DeviceTape, which has {list(self.layers)}. Open it with "
                "layers=... that has them all."
            )
        if differs := self._differs(run.hook, run.layers):
            raise ConfigError(
                f"watch: {type(run.hook).__name__} reads {differs} elsewhere than {type(self._hook).__name__}, hook "
                "of this model's DeviceTape. Open the tape with hook=... of the watch, or watch with the tape's hook."
            )
        self._reader, self._told, self._broken = run, (0, 0), False
        with torch.no_grad():
            for counter in self._counters:
                counter.zero_()

    def listens(self) -> bool:
        """Whether a run reads it."""
        return self._reader is not None

    def end(self, run: Run) -> None:
        """Tells what is left, and lets go of `run`."""
        run.catch_up()
        self._reader = None

    def tell(self, run: Run) -> None:
        """Goes through the passes since `begin` or the last time. Waits for the device, once."""
        if self._broken or run is not self._reader:
            return
        begun, at, lost, *rows = torch.cat([self._begun, self._at, self._lost, *self._gaps()]).tolist()
        (told, start), self._told = self._told, (begun, at)
        if at > self._tokens or begun > self._tokens:
            self._spoilt(run, INCOMPLETE, f"{at} tokens in {begun} passes on a tape of {self._tokens}: open it larger")
            return
        fewer, more = dict(zip(self._rows, rows[::2], strict=True)), dict(zip(self._rows, rows[1::2], strict=True))
        if lost or any(fewer.values()):
            short = [
                f"layer {layer} ran in {begun - fewer[layer]}" for layer in fewer if layer != "final" and fewer[layer]
            ]
            ran = [f"{begun} passes began", f"{begun - fewer['final']} reached the last norm", *short]
            self._spoilt(run, SILENT, f"{', '.join(ran)}, {lost} tensors had no place")
            return
        if any(more.values()):
            often = ", ".join(f"layer {layer} in {count}" for layer, count in more.items() if count)
            self._spoilt(run, TWICE, f"{begun} passes began, and more rows than their tokens came from {often} of them")
            return
        for batch, length in self._shapes[told:begun].tolist():
            stop = start + batch * length
            # A copy, since steps keep what they were given, and the next generation writes here again.
            run.begin(self._ids[start:stop].view(batch, length).clone())
            for layer in dict.fromkeys((*(each for each in run.layers if each != "final"), "final")):
                run.state(layer, self._states[layer][start:stop].view(batch, length, -1))
            start = stop

    def _differs(self, hook: Hook, layers: Layers) -> str:
        """What `hook` reads of a pass that the tape does not, for people; empty = nothing."""
        own, blocks = self._hook, hook.layers()
        pairs: dict[str, tuple[Any, Any]] = {
            "the embedding": (hook.embedding(), own.embedding()),
            "the last norm": (hook.final_norm(), self._modules["final"]),
            **{
                f"block {layer}": (blocks[layer] if 0 <= layer < len(blocks) else None, self._modules[layer])
                for layer in layers
                if isinstance(layer, int)
            },
        }
        said = [name for name, (found, kept) in pairs.items() if found is not kept]
        if hook.firings != own.firings or tuple(hook.observed_methods) != tuple(own.observed_methods):
            said.append("more than a pass shows (`firings`, `observed_methods`)")
        return " and ".join(said)

    def _gaps(self) -> list[torch.Tensor]:
        """Per layer two int64 tensors [N], N = 1: passes in which it gave fewer rows than tokens came, and more.

        Not how often it ran in all: what is missing in one pass may be too much in another.
        """
        shown = self._shapes[:-1].prod(1)
        found: list[torch.Tensor] = []
        for rows in self._rows.values():
            more = (rows[1:] > shown).sum() + (rows[0] > 0)
            found += [(rows[1:] < shown).sum().view(1), more.view(1)]
        return found

    def _spoilt(self, run: Run, reason: str, why: str) -> None:
        self._broken = True
        run.spoilt(CaptureError(f"DeviceTape: {why}"), reason)
