"""Models that insert and delete tokens: refused before anything runs, or noticed once their number changes."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from sri_plugin_dream.hook import DreamHook
from sri_plugin_dream.stand_ins.model import MASK, DreamModel, build
from sri_plugin_llada.stand_ins.model import LLaDAModelLM
from sri_plugin_llada.stand_ins.model import build as build_llada
from sri_plugin_toy.hook import ToyHook
from sri_plugin_toy.model import build as build_toy

import sri_sdk
from sri_sdk.edit_flows import mentions_of_moves, moves_tokens
from sri_sdk.errors import ModelMismatch


def edit_flow() -> Any:
    """As dllm has it: a subclass of Dream's model, with heads for what is inserted and how often."""
    model = build(0, type("EditFlowDreamModel", (DreamModel,), {"forward": lambda self, input_ids: None}))
    model.rate_heads, model.ins_logits = torch.nn.Linear(2, 3), torch.nn.Linear(2, 3)
    return model


def dream_on() -> Any:
    """As DreamOn has it: Dream's own class, and two more special tokens."""
    model = build(0)
    model.generation_config = SimpleNamespace(mask_token_id=MASK, expand_token_id=3, delete_token_id=4)
    return model


def flexible() -> Any:
    return build_llada(type("FlexMDMLLaDA", (LLaDAModelLM,), {}))


def indel() -> Any:
    def generate(self, inputs, delete_id: int = 1, split_id: int = 2):
        return inputs

    return build_llada(type("LLaDAModelLM", (LLaDAModelLM,), {"generate": generate}))


@pytest.mark.parametrize("named", [False, True], ids=["chosen", "named"])
@pytest.mark.parametrize(
    ("make", "hook", "said"),
    [
        (
            edit_flow,
            "dream",
            "inserts and deletes tokens.*class EditFlowDreamModel, module ins_logits",
        ),
        (dream_on, "dream", "generation_config.expand_token_id, generation_config.delete_token_id"),
        (flexible, "llada", "class FlexMDMLLaDA"),
        (indel, "llada", r"generate\(delete_id=\), generate\(split_id=\)"),
    ],
    ids=["edit flow", "DreamOn", "FlexMDM", "indel"],
)
def test_a_model_that_says_so_is_refused_also_where_a_hook_is_named(make, hook, said, named) -> None:
    with pytest.raises(ModelMismatch, match=said) as raised, sri_sdk.watch(make(), hook=hook if named else None):
        raise AssertionError("must not run")
    assert "Watched are models whose tokens keep their positions" in str(raised.value)


def test_it_is_refused_with_a_hook_that_was_built_by_hand() -> None:
    hook = DreamHook(dream_on())
    with pytest.raises(ModelMismatch, match="no hook reads it"), sri_sdk.watch(hook.model, hook=hook):
        raise AssertionError("must not run")


def test_a_hook_that_follows_moves_is_left_to_itself() -> None:
    kind = type("Follows", (ToyHook,), {"follows_moves": True})
    model = build_toy(0)
    model.config = SimpleNamespace(**vars(model.config), delete_token_id=1)
    with sri_sdk.watch(model, hook=kind(model)):
        pass
    with pytest.raises(ModelMismatch), sri_sdk.watch(model, hook=ToyHook(model)):
        raise AssertionError("must not run")


@pytest.mark.parametrize(
    "make", [lambda: build(0), lambda: build_llada(LLaDAModelLM), lambda: build_toy(0)], ids=["dream", "llada", "toy"]
)
def test_families_whose_tokens_stay_say_nothing_of_the_kind(make) -> None:
    assert moves_tokens(make()) == ""


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"indel": False, "expand_budget": 0, "delete_token_id": -1, "insert_id": None}, ""),
        ({"expand_budget": 2}, "config.expand_budget"),
        ({"delete_token_id": 0}, "config.delete_token_id"),
        ({"insert_ids": [5]}, "config.insert_ids"),
    ],
)
def test_only_what_is_switched_on_counts(fields: dict[str, Any], said: str) -> None:
    assert moves_tokens(SimpleNamespace(config=SimpleNamespace(**fields))) == said


def test_names_that_only_mention_moves_are_listed_and_refuse_no_model() -> None:
    class Model:
        config = SimpleNamespace(max_deletions=0, split_token="|", split_qkv=True, indels=None, hidden_size=8)

        def generate(self, inputs: Any, insert_bias: float = 0.0) -> Any:
            return inputs

    assert mentions_of_moves(Model()) == ["indels", "insert_bias", "max_deletions", "split_token"]
    assert moves_tokens(Model()) == ""


@pytest.mark.parametrize("change", [lambda ids: torch.cat([ids, ids[:, -1:]], 1), lambda ids: ids[:, :-1]])
def test_a_canvas_that_grows_or_shrinks_unannounced_is_unmonitored_with_its_own_reason(change) -> None:
    model = build(0)
    ids = torch.tensor([[5, 6, 7, MASK, MASK, MASK, MASK]])
    with sri_sdk.watch(model, hook="dream") as run, torch.no_grad():
        for _ in range(2):
            model(input_ids=ids, attention_mask="full")
            ids = change(ids)
    assert run.traces[0].reasons[0] == "tokens_moved"
    assert "inserts and deletes tokens" in str(run.failure)
