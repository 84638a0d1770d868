"""The reference implementation as one side: its own wrapper, run as its README says a new model is added."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from benchmarks.real import reference_code
from benchmarks.real.reference_side import STEPS, Floats, Made
from sri_sdk.records import Prompt


class Theirs:
    """One prompt at a time, which is all it can."""

    def __init__(self, code: Path, model: Path) -> None:
        wrapper, self._utils = reference_code.modules(code)
        self._states: dict[str, tuple[torch.Tensor, bool]] = {}
        self._tokens: dict[str, list[int]] = {}
        self.kept: dict[str, Made] = {}
        self._folders = count()
        self._wrapper: Any = _on(wrapper.LlamaModelWrapper, model, self._states, self._tokens)(
            generation_profile=self._utils.GenerationProfile(steps=STEPS), device="cpu"
        )
        self._wrapper._load_model()

    def warm(self, prompt: Prompt) -> None:
        """Its loop, for two steps, and its signal."""
        usual = self._wrapper.generation_profile
        self._wrapper.generation_profile = self._utils.GenerationProfile(steps=2)
        self._wrapper._collectActivationsAndRefusals([prompt.text])
        self._states.clear()
        self._wrapper.generation_profile = usual

    def anchors(self, prompts: Sequence[Prompt]) -> tuple[Floats, Floats]:
        """Its own, from `generateCenter`."""
        harmless, harmful = self._centers(
            [p.text for p in prompts if p.label == "harmless"], [p.text for p in prompts if p.label == "harmful"]
        )
        return harmless, harmful

    def _centers(self, harmless: Sequence[str], harmful: Sequence[str]) -> tuple[Floats, Floats]:
        self._wrapper.FILE_NAME = str(next(self._folders))  # it takes centers that it finds there as they are
        found, refused = self._wrapper.generateCenter(harmless, harmful)
        return found.numpy(), refused.numpy()

    def signals(self, prompts: Sequence[Prompt]) -> Floats:
        """By `generateSignal`, from the states of its own loop, which are the same each time."""
        sigma = _stacked(self._wrapper.generateSignal([p.text for p in prompts]))
        for p in prompts:
            phi, refused = self._states[p.text]
            self.kept[p.id] = Made(self._tokens[p.text], phi.numpy(), refused)
        return sigma

    def signals_of(self, states: Sequence[Floats], harmless: Sequence[Prompt], harmful: Sequence[Prompt]) -> Floats:
        """By `generateCenter` and `generateSignal` again; states that no prompt has are given to it as a prompt's."""
        before = self._wrapper.FILE_NAME
        self._centers([p.text for p in harmless], [p.text for p in harmful])
        names = [f"states {number}" for number in range(len(states))]
        self._states.update({name: (torch.from_numpy(phi), False) for name, phi in zip(names, states, strict=True)})
        sigma = _stacked(self._wrapper.generateSignal(names))
        for name in names:
            del self._states[name]
        self._wrapper.FILE_NAME = before
        return sigma

    def encoded(self, prompt: Prompt) -> Sequence[int]:
        """By its own helper."""
        ids, _ = self._utils.get_prompt_tensor(prompt.text, self._wrapper.tokenizer, "cpu")
        found: list[int] = ids[0].tolist()
        return found


def _stacked(signals: Sequence[torch.Tensor]) -> Floats:
    """[N, T] of a list of [T]."""
    return np.stack([signal.numpy() for signal in signals]).astype(np.float32)


def _on(base: Any, model: Path, states: dict[str, tuple[torch.Tensor, bool]], tokens: dict[str, list[int]]) -> Any:
    """A class of its wrapper that loads a folder in float32, notes what it collects, and collects nothing twice."""

    class OnFolder(base):  # type: ignore[misc]
        def _load_model(self) -> None:
            self.tokenizer = AutoTokenizer.from_pretrained(model, local_files_only=True)
            self.model = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32, local_files_only=True).eval()
            decode = self.tokenizer.batch_decode
            self.decoded: list[list[int]] = []

            def noting(ids: torch.Tensor, **options: Any) -> list[str]:
                self.decoded.append(ids[0].tolist())
                found: list[str] = decode(ids, **options)
                return found

            self.tokenizer.batch_decode = noting

        def _collectActivationsAndRefusals(self, prompts: Sequence[str]) -> tuple[list[torch.Tensor], list[bool]]:  # noqa: N802
            new = [prompt for prompt in prompts if prompt not in states]
            if new:
                self.decoded.clear()
                found, refused = super()._collectActivationsAndRefusals(new)
                states.update(zip(new, zip(found, refused, strict=True), strict=True))
                tokens.update(zip(new, self.decoded, strict=True))
            return [states[prompt][0] for prompt in prompts], [states[prompt][1] for prompt in prompts]

    return OnFolder
