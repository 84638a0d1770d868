"""A guard compared with a checkpoint as transformers has it, and prompts read for it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from sri_plugin_lab.models import load, load_tokenizer

from sri_sdk.engine.guarded import Guarded, guard_checkpoint
from sri_sdk.errors import ModelMismatch
from sri_sdk.scoring.guard import Guard


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    load("causal").save_pretrained(folder)
    load_tokenizer().save_pretrained(folder)
    return folder


def prompt(text: str, system: str | None = None) -> list[int]:
    tokenizer = load_tokenizer()
    chat = [*([{"role": "system", "content": system}] if system else []), {"role": "user", "content": text}]
    found: list[int] = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)
    return found


@pytest.fixture
def guarded(checkpoint: Path, guard_path: Path) -> Guarded:
    return guard_checkpoint(str(checkpoint), Guard.load(guard_path), dtype=torch.float32)


def test_the_guard_names_the_modules_to_look_at(guarded: Guarded) -> None:
    assert guarded.placed.norm == "model.norm"
    assert guarded.placed.blocks == tuple(f"model.layers.{number}" for number in range(4))
    assert guarded.settings.request_layers == (1, "final")


def test_a_request_is_found_in_its_prompt_also_when_the_copy_is_gone(guarded: Guarded) -> None:
    guarded.let_go_of_the_model()
    ids = prompt("how do i steal the lantern ?")
    span = guarded.span(ids)
    assert span is not None
    assert load_tokenizer().decode(ids[span[0] : span[1]]).split() == "how do i steal the lantern ?".split()
    assert guarded.span([5, 6, 7]) is None
    assert guarded.span(None) is None


def test_another_dtype_is_refused_as_a_watch_refuses_it(checkpoint: Path, guard_path: Path) -> None:
    with pytest.raises(ModelMismatch):
        guard_checkpoint(str(checkpoint), Guard.load(guard_path), dtype=torch.bfloat16)


def test_a_system_prompt_that_nobody_stated_is_noticed_where_the_template_shows_it(guarded: Guarded) -> None:
    reasons, stated = guarded.prompt_reasons(prompt("how do i bake bread ?"))
    assert not reasons
    assert "sampler" in stated
