"""The toy model and its tokenizer."""

import time

import torch
from sri_plugin_toy.model import CANVAS, LETTERS, MASK, ToyTokenizer, build


def test_the_same_seed_builds_the_same_model_and_leaves_other_randomness_alone() -> None:
    torch.manual_seed(1)
    untouched = torch.rand(1)
    torch.manual_seed(1)
    first, second, other = build(7), build(7), build(8)
    assert torch.equal(torch.rand(1), untouched)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert not torch.equal(first.head.weight, other.head.weight)


def test_it_is_built_in_milliseconds() -> None:
    build(0)
    start = time.perf_counter()
    build(0)
    assert time.perf_counter() - start < 0.5


def test_generate_fills_the_canvas_and_keeps_the_prompt() -> None:
    prompt = torch.tensor([[5, 6, 7]])
    ids = build(0).generate(prompt)
    assert ids.shape == (1, 3 + CANVAS)
    assert torch.equal(ids[:, :3], prompt)
    assert not (ids == MASK).any()


def test_padding_on_the_left_does_not_change_what_is_generated() -> None:
    model = build(0)
    alone = model.generate(torch.tensor([[5, 6]]))
    padded = model.generate(torch.tensor([[0, 0, 5, 6]]), torch.tensor([[0, 0, 1, 1]]))
    assert torch.equal(alone[:, 2:], padded[:, 4:])


def test_text_survives_the_tokenizer() -> None:
    tokenizer = ToyTokenizer()
    assert tokenizer.decode(tokenizer.encode(LETTERS)) == LETTERS
    assert tokenizer.decode([0, MASK, *tokenizer.encode("Hi!")]) == "hi"
