"""A masked family of a few numbers, in every shape the samplers know: shifted or not, with blocks of its own or not."""

import pytest
import torch
from torch import nn

from sri_sdk import Encoded, Hook, Match, StepPlan
from sri_sdk.records import PADDING, ForwardOutput

PAD, MASK, END, WORDS = 0, 1, 2, 23
WIDTH = 16


class TinyModel(nn.Module):
    """One layer of attention over what a position may see; random weights, drawn sharp enough to disagree."""

    def __init__(self, block, seed):
        super().__init__()
        self.block = block
        self.embed, self.places = nn.Embedding(WORDS, WIDTH), nn.Embedding(128, WIDTH)
        self.query, self.key, self.value = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WORDS, bias=False)
        draws = torch.Generator().manual_seed(seed)
        for weight in self.parameters():
            weight.data = torch.randn(weight.shape, generator=draws) * 0.6
        self.places.weight.data *= 3

    def forward(self, input_ids, attention_mask=None):
        """[B, L] ids and their mask -> [B, L, V] logits; positions and blocks are counted from the first real token."""
        real = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        where = (real.cumsum(1) - 1).clamp(min=0)
        sees = (real[:, None, :] == 1).expand(-1, input_ids.shape[1], -1)
        if self.block is not None:
            sees = sees & (where[:, None, :] // self.block <= where[:, :, None] // self.block)
        states = self.embed(input_ids) + self.places(where)
        scores = self.query(states) @ self.key(states).transpose(1, 2) / 4
        states = states + scores.masked_fill(~sees, -1e9).softmax(-1) @ self.value(states)
        logits = self.head(self.norm(states))
        logits[..., [PAD, MASK]] = -1e9
        return logits


class TinyHook(Hook):
    scheme = "masked"
    capabilities = frozenset({"phi", "input_ids", "committed"})

    def __init__(self, model, shift=0, ends=()):
        super().__init__(model)
        self._shift, self._ends = shift, ends

    @classmethod
    def fits(cls, model):
        return Match(isinstance(model, TinyModel), "the tiny model")

    def final_norm(self):
        return self.model.norm

    def layers(self):
        return [self.model.value]

    def embedding(self):
        return self.model.embed

    def hidden_size(self):
        return WIDTH

    def plan(self, call, run):
        """By the contract of families with blocks: rows behind a request's own block in work belong to nothing."""
        ids, held = call.input_ids, run.memory
        holes = ids == MASK
        if "start" not in held:
            held["start"] = int(holes.any(0).nonzero()[0])
            held["lengths"] = (ids[:, : held["start"]] != PAD).sum(1)
        start = held["start"]
        positions = (torch.arange(ids.shape[1]) - start).expand(ids.shape)
        if self.model.block is not None:
            block = (positions + held["lengths"][:, None]) // self.model.block
            current = block.gather(1, holes.int().argmax(1, keepdim=True))
            positions = positions.masked_fill((block > current) & holes.any(1, keepdim=True), PADDING)
        positions = positions.masked_fill((ids == PAD) & (positions < 0), PADDING)
        return StepPlan(positions, shift=self._shift, committed=~holes[:, start:], active=holes[:, start:].any(1))

    def forward(self, input_ids, attention_mask=None, cache=None, *, use_cache=False):
        return ForwardOutput(self.model(input_ids, attention_mask))

    def block_length(self):
        return self.model.block

    def shift(self):
        return self._shift

    def mask_id(self):
        return MASK

    def eos_ids(self):
        return self._ends


@pytest.fixture
def family():
    """Makes a hook: family(shift=, block=, ends=, seed=)."""

    def make(*, shift=0, block=None, ends=(), seed=0):
        return TinyHook(TinyModel(block, seed).eval(), shift, ends)

    return make


@pytest.fixture
def prompts():
    """Three prompts of 5, 9 and 3 tokens, padded on the left."""
    lengths = (5, 9, 3)
    rows = [[PAD] * (9 - n) + [3 + (7 * n + 5 * i) % (WORDS - 3) for i in range(n)] for n in lengths]
    ids = torch.tensor(rows)
    return Encoded(ids, (ids != PAD).long())


@pytest.fixture
def run():
    """Runs a sampler to its end: run(sampler, hook, prompts, rows=, interventions=, seed=) -> all steps.

    `interventions` maps a step to what is asked for after it; `rows` picks prompts and drops columns that are padding
    for all of them.
    """

    def go(sampler, hook, prompts, *, rows=(0, 1, 2), interventions=None, seed=0):
        used = prompts.attention_mask[list(rows)].bool().any(0)
        picked = Encoded(prompts.input_ids[list(rows)][:, used], prompts.attention_mask[list(rows)][:, used])
        made = []
        with torch.inference_mode():
            steps = sampler.steps(hook, picked, ["abc"[row] for row in rows], seed)
            try:
                made.append(next(steps))
                while True:
                    made.append(steps.send((interventions or {}).get(made[-1].index)))
            except StopIteration:
                return made

    return go
