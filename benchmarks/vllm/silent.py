"""Hooks that fall silent, and options that would keep them so."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.vllm.engine import listening, serve, start


def run(model: Path, guard: Path, folder: Path, prompts: list[list[int]], *, tokens: int) -> dict[str, Any]:
    """What is said of requests whose passes the tap did not hear, and of an engine with compiled code."""
    llm = start(model, guard, folder, max_model_len=256, max_num_seqs=16)
    tap, heard = listening()
    serve(llm, prompts, seed=2, tokens=tokens, name="heard")
    hooks = taken_off(llm)
    serve(llm, prompts, seed=2, tokens=tokens, name="silent")
    put_back(hooks)
    halfway(llm, prompts, tokens)
    assert tap.desk.flush(120)
    by = {
        kind: [v for name, v in heard.verdicts.items() if name.startswith(kind)] for kind in ("heard", "silent", "half")
    }
    return {
        kind: {
            "requests": len(verdicts), "statuses": dict(Counter(v.status for v in verdicts)),
            "first_reasons": dict(Counter(v.reasons[0] if v.reasons else "none" for v in verdicts)),
            "tap_silent": sum("tap_silent" in v.reasons for v in verdicts),
        }
        for kind, verdicts in by.items()
    } | {"compiled": compiled(model, guard, folder)}  # fmt: skip


def taken_off(llm: Any) -> list[tuple[Any, Any]]:
    """Takes all module hooks off the engine's model; what `put_back` needs."""
    (model,) = llm.apply_model(lambda each: each)
    found = []
    for module in model.modules():
        if module._forward_hooks:
            found.append((module, module._forward_hooks.copy()))
            module._forward_hooks.clear()
    return found


def put_back(hooks: list[tuple[Any, Any]]) -> None:
    """Puts them on again."""
    for module, its in hooks:
        module._forward_hooks.update(its)


def halfway(llm: Any, prompts: list[list[int]], tokens: int) -> None:
    """Requests that begin under the tap and go on without it."""
    from vllm import SamplingParams

    engine = llm.llm_engine
    for number, ids in enumerate(prompts[:16]):
        engine.add_request(
            f"half{number}", {"prompt_token_ids": ids}, SamplingParams(temperature=0, max_tokens=tokens)
        )  # fmt: skip
    for _ in range(6):
        engine.step()
    hooks = taken_off(llm)
    while engine.has_unfinished_requests():
        engine.step()
    put_back(hooks)


def compiled(model: Path, guard: Path, folder: Path) -> str:
    """What an engine that compiles says, in place of starting."""
    from sri_plugin_vllm.blind import blinding, refuse_blindness

    from sri_sdk.engine.settings import read_engine_settings
    from sri_sdk.errors import ConfigError
    from vllm.engine.arg_utils import EngineArgs

    config = EngineArgs(model=str(model), dtype="float32", max_model_len=256).create_engine_config()
    assert list(blinding(config))
    try:
        refuse_blindness(read_engine_settings(folder / "sri.yaml"), config)
    except ConfigError as err:
        return str(err)
    return "started"
