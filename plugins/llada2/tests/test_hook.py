"""The hook on the structural double: every trait of the family that moves rows or hides passes."""

import inspect
from typing import Any

import pytest
import torch
from sri_plugin_llada2.hook import Llada2Hook
from sri_plugin_llada2.stand_ins.model import BLOCK, MASK, PAD, LLaDA2MoeModelLM, LLaDA21, build

import sri_sdk
from sri_sdk import Encoded, registry
from sri_sdk.capture.run import Run
from sri_sdk.capture.settings import WatchSettings
from sri_sdk.capture.tap import tap_of
from sri_sdk.errors import ConfigError
from sri_sdk.grid import StepGrid
from sri_sdk.records import PADDING
from sri_sdk.testing import HookCase, hook_checks

LENGTHS = (13, BLOCK, 3)
"""Inside a block, at its end, and shorter than one."""
OFFICIAL: dict[str, Any] = {"gen_length": 20, "threshold": 0.7}


def prompt(length: int, first: int = 5) -> torch.Tensor:
    return torch.arange(first, first + length)[None]


def padded(rows: list[torch.Tensor]) -> Encoded:
    width = max(row.shape[1] for row in rows)
    ids = torch.cat([torch.cat([row.new_full((1, width - row.shape[1]), PAD), row], dim=1) for row in rows])
    return Encoded(ids, (ids != PAD).long())


def watched(hook: Llada2Hook, call: Any, budget: int = 200, pooling: str = "response") -> tuple[Any, Run]:
    """The call under watch with a budget of steps, as a guard brings one: an end that was not seen shows."""
    run, tap = Run(hook, WatchSettings(pooling, budget=budget, keep_states=True)), tap_of(hook.model)
    with tap.installed(hook, run), tap.owned_by(run):
        result = call()
    run.finish()
    return result, run


def case_20() -> HookCase:
    hook = Llada2Hook(build(1))
    encoded = Encoded(prompt(13), torch.ones(1, 13, dtype=torch.long))

    def generate(prompts: Encoded) -> torch.Tensor:
        return hook.model.generate(prompts.input_ids, **OFFICIAL)

    generate(encoded)
    return HookCase(hook, encoded, generate, steps=[hook.model.passes], batched=False)


def driven(hook: Llada2Hook, prompts: Encoded, **options: Any) -> torch.Tensor:
    profile = {"steps": 48, "tokens": 20, "block_steps": BLOCK, "threshold": 0.7, **options}
    sampler = registry.build("samplers", "low-confidence", profile)
    with torch.inference_mode():
        *_, last = sampler.steps(hook, prompts, [str(row) for row in range(len(prompts.input_ids))])
    return last.draft


def case_driven() -> HookCase:
    hook = Llada2Hook(build(1))
    return HookCase(hook, padded([prompt(n) for n in LENGTHS]), lambda e: driven(hook, e).clone(), steps=None)


@pytest.mark.parametrize("make", [Llada2Hook.example, case_20, case_driven], ids=["2.1", "2.0", "driven in a batch"])
def test_the_hook_keeps_its_promises(make):
    for check in hook_checks(make):
        check()


# -- which passes are steps, and which rows they hold --------------------------------------------------------


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("family", [LLaDA2MoeModelLM, LLaDA21])
def test_every_pass_of_the_model_s_own_loop_is_a_step_and_its_end_is_seen(family, length):
    model = build(1, family)
    tokens, run = watched(Llada2Hook(model), lambda: model.generate(prompt(length), **OFFICIAL))
    assert run.traces[0].steps == model.passes and not run.traces[0].reasons
    assert tokens.shape[1] == OFFICIAL["gen_length"]


@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize("family", [LLaDA2MoeModelLM, LLaDA21])
def test_an_end_token_inside_a_block_ends_the_run(family, early):
    model = build(1, family)
    end = int(model.generate(prompt(13), **OFFICIAL)[0, 4])
    model.passes = 0
    _, run = watched(
        Llada2Hook(model), lambda: model.generate(prompt(13), **OFFICIAL, eos_id=end, eos_early_stop=early)
    )
    assert run.traces[0].steps == model.passes and not run.traces[0].reasons


def test_a_response_without_the_passes_that_made_it_is_not_whole():
    model = build(1)
    tokens = model.generate(prompt(13), **OFFICIAL)

    def part() -> None:
        model.generate(prompt(13), **{**OFFICIAL, "gen_length": 3})

    hook = Llada2Hook(model)
    run, tap = Run(hook, WatchSettings("response", budget=200, keep_states=True)), tap_of(model)
    with tap.installed(hook, run), tap.owned_by(run):
        part()
        run.returned(tokens)
    run.finish()
    assert run.traces[0].reasons == ("end_not_seen",)


def test_the_window_grows_and_the_prompt_is_in_no_mean():
    model = build(1)
    hook, plans = Llada2Hook(model), []
    inner = hook.plan
    vars(hook)["plan"] = lambda call, run: plans.append(inner(call, run)) or plans[-1]
    watched(hook, lambda: model.generate(prompt(13), **OFFICIAL))
    widths = [plan.positions.shape[1] for plan in plans]
    assert sorted(set(widths)) == [16, 24, 32, 40] and widths == sorted(widths)
    for plan, width in zip(plans, widths, strict=True):
        assert plan.positions[0].tolist() == list(range(-13, width - 13))
        assert plan.span == (13, width) and plan.committed.shape == (1, width - 13)
    assert [int(plan.committed.sum()) for plan in plans] == sorted(int(plan.committed.sum()) for plan in plans)
    assert not plans[0].committed.any()


def test_generated_pooling_is_the_mean_of_what_is_filled_in():
    model = build(1)
    hook, states, ids = Llada2Hook(model), [], []
    model.model.norm.register_forward_hook(lambda _m, _a, output: states.append(output[0].double()))
    model.model.word_embeddings.register_forward_hook(lambda _m, args, _o: ids.append(args[0][0].clone()))
    _, run = watched(hook, lambda: model.generate(prompt(13), **OFFICIAL), pooling="generated")
    after = [*ids[1:], torch.zeros(40, dtype=torch.long)]
    for step, (state, now) in enumerate(zip(states, after, strict=True)):
        filled = (now[: len(state)] != MASK) & (torch.arange(len(state)) >= 13)
        wanted = state[filled].mean(0)
        assert torch.allclose(torch.from_numpy(run.traces[0].phi[step, 0]).double(), wanted, atol=1e-5)


def test_editing_passes_over_a_filled_block_are_steps_and_reading_the_text_is_none():
    model = build(1, LLaDA21)
    seen: list[int] = []
    model.model.word_embeddings.register_forward_hook(lambda _m, args, _o: seen.append(int((args[0] == MASK).sum())))
    options = {**OFFICIAL, "gen_length": 19, "editing_threshold": 0.5}  # the last block ends with the response

    def call() -> torch.Tensor:
        tokens = model.generate(prompt(13), **options)
        whole = torch.cat([prompt(13), tokens], dim=1)
        model(whole)
        model(input_ids=whole, position_ids=torch.arange(whole.shape[1])[None])
        return tokens

    _, run = watched(Llada2Hook(model), call)
    assert seen.count(0) > 5, "the double edits"
    assert run.traces[0].steps == model.passes - 2 and not run.traces[0].reasons


def test_llada20_has_no_pass_over_a_filled_block():
    model = build(1)

    def call() -> None:
        tokens = model.generate(prompt(13), **{**OFFICIAL, "gen_length": 19})
        model(torch.cat([prompt(13), tokens], dim=1))

    _, run = watched(Llada2Hook(model), call)
    assert run.traces[0].steps == model.passes - 1 and not run.traces[0].reasons


@pytest.mark.parametrize("second", [prompt(13), prompt(13, 30), prompt(3)], ids=["same", "other", "shorter"])
def test_a_second_generation_is_noticed_and_not_disturbed(second):
    model = build(1)
    free = model.generate(second, **OFFICIAL)
    hook = Llada2Hook(model)

    def twice() -> torch.Tensor:
        model.generate(prompt(13), **OFFICIAL)
        return model.generate(second, **OFFICIAL)

    tokens, run = watched(hook, twice)
    assert torch.equal(tokens, free) and "hook_failed" in run.traces[0].reasons
    assert "second generation" in str(run.failure)


def test_a_loop_outside_the_model_that_begins_anew_is_noticed():
    hook = Llada2Hook(build(1))
    prompts = padded([prompt(13)])
    _, run = watched(hook, lambda: (driven(hook, prompts), driven(hook, prompts)))
    assert "second generation" in str(run.failure)


def test_holes_inside_a_text_are_refused():
    model = build(1)
    ids = prompt(13)
    ids[0, 4] = MASK
    _, run = watched(Llada2Hook(model), lambda: model(ids))
    assert "filling holes inside a text" in str(run.failure)


def test_rows_that_move_are_noticed():
    class Moving(LLaDA21):
        def generate(self, inputs: torch.Tensor, mask_id: int = MASK, max_post_steps: int = 16) -> torch.Tensor:
            ids = torch.cat([inputs, inputs.new_full((1, 8), mask_id)], dim=1)
            self.forward(ids)
            ids[0, -4:] = 9
            self.forward(ids)
            ids[0, -2:] = mask_id
            self.forward(ids)
            return ids

    model = build(1, Moving)
    _, run = watched(Llada2Hook(model), lambda: model.generate(prompt(8)))
    assert "LLaDA2.2" in str(run.failure)


# -- batches -------------------------------------------------------------------------------------------------


def test_behind_a_row_s_own_block_is_nothing_yet():
    hook, plans = Llada2Hook(build(1)), []
    inner = hook.plan
    vars(hook)["plan"] = lambda call, run: plans.append(inner(call, run)) or plans[-1]
    watched(hook, lambda: driven(hook, padded([prompt(n) for n in LENGTHS])))
    # 13 tokens leave 3 of their second block, 8 a whole one, 3 leave 5: the window is as wide as the widest.
    first = plans[0].positions
    assert first.shape == (3, 13 + 8)
    assert [int((row >= 0).sum()) for row in first] == [3, 8, 5]
    assert all(int((row == PADDING).sum()) == missing for row, missing in zip(first, (5, 5, 13), strict=True))


@pytest.mark.parametrize("width", [1, 3], ids=["alone", "in a batch"])
def test_a_driven_sampler_gives_the_official_tokens_in_as_many_steps(width):
    hook = Llada2Hook(build(1))
    # All responses end with a block: what a block holds beyond one, the official loop fills in as well, ours does not.
    rows = [prompt(n, first) for n, first in zip((16, 8, 24), (5, 20, 33), strict=True)][:width]
    tokens, run = watched(hook, lambda: driven(hook, padded(rows), tokens=16))
    for row, ids in enumerate(rows):
        wanted, alone = watched(hook, lambda ids=ids: hook.model.generate(ids, **{**OFFICIAL, "gen_length": 16}))
        assert torch.equal(tokens[row], wanted[0])
        assert run.traces[row].steps == alone.traces[0].steps
        assert torch.allclose(torch.tensor(run.traces[row].phi), torch.tensor(alone.traces[0].phi), atol=1e-4)


@pytest.mark.parametrize("width", [1, 3], ids=["alone", "in a batch"])
def test_a_driven_sampler_stops_where_the_official_response_ends(width):
    model = build(1)
    rows = [prompt(n, first) for n, first in zip(LENGTHS, (5, 20, 33), strict=True)][:width]
    model.config.eos_token_id = end = int(model.generate(rows[0], **OFFICIAL)[0, 14])
    hook, official = Llada2Hook(model), []
    for row in rows:
        call = {**OFFICIAL, "eos_id": end, "eos_early_stop": True}
        tokens, run = watched(hook, lambda row=row, call=call: model.generate(row, **call))
        said = tokens[0].tolist()
        said = said[row.shape[1] :] if said[: row.shape[1]] == row[0].tolist() else said
        official.append((said[: said.index(end) + 1 if end in said else None], run.traces[0].steps))
    tokens, run = watched(hook, lambda: driven(hook, padded(rows), stop_at_end=True))
    for row, (wanted, steps) in enumerate(official):
        assert tokens[row, : len(wanted)].tolist() == wanted
        # The official loop looks for the end only when it writes one, so it may run on for holes behind it.
        assert run.traces[row].steps <= steps
    assert len(official[0][0]) < OFFICIAL["gen_length"]


class Tokenizer:
    """As much of one as driving takes: a token per character."""

    def apply_chat_template(self, chats: Any, **_: Any) -> dict[str, torch.Tensor]:
        rows = [torch.tensor([[5 + ord(sign) % 40 for sign in chat[-1]["content"]]]) for chat in chats]
        batch = padded(rows)
        return {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}

    def batch_decode(self, rows: Any, **_: Any) -> list[str]:
        return [" ".join(map(str, row)) for row in rows]


@pytest.mark.parametrize("pooling", ["response", "generated"])
def test_a_driven_batch_is_seen_whole(pooling):
    model = build(1)
    hook = Llada2Hook(model)
    sampler = registry.build("samplers", "low-confidence", {"steps": 48, "tokens": 20, "block_steps": 8})
    asked = [sri_sdk.Prompt(name, name * 3, "harmless") for name in ("a", "how are you?", "open")]
    loaded = sri_sdk.LoadedModel(model, Tokenizer(), "a double")
    batch = sri_sdk.drive(hook, loaded, sampler, asked, WatchSettings(pooling, budget=48, keep_states=True))
    for _ in batch:
        pass
    assert not any(trace.reasons for trace in batch.run.traces), batch.run.failure
    assert [trace.steps for trace in batch.run.traces] == [trace.expected for trace in batch.run.traces]


@pytest.mark.parametrize("pooling", ["response", "generated"])
def test_the_first_steps_of_a_longer_response_are_those_of_a_shorter_one(pooling):
    model, found = build(1), []
    loaded = sri_sdk.LoadedModel(model, Tokenizer(), "a double")
    asked = [sri_sdk.Prompt(name, name * 3, "harmless") for name in ("a", "how are you?", "open")]
    settings = WatchSettings(pooling, grid=StepGrid(6, "step", 12), budget=12, horizon=12, keep_states=True)
    for tokens, steps in ((16, 48), (48, 80)):
        options = {"steps": steps, "tokens": tokens, "block_steps": 8}
        sampler = registry.build("samplers", "low-confidence", options)
        batch = sri_sdk.drive(Llada2Hook(model), loaded, sampler, asked, settings)
        for _ in batch:
            pass
        assert not any(trace.reasons for trace in batch.run.traces), batch.run.failure
        found.append((sampler.pace(), batch.run.traces))
    (one, short), (two, long) = found
    assert one == two
    for brief, whole in zip(short, long, strict=True):
        assert whole.steps > brief.steps > 12 and len(whole.phi) == 12
        assert torch.equal(torch.tensor(whole.phi), torch.tensor(brief.phi))


def test_padding_changes_no_logits():
    hook = Llada2Hook(build(1))
    rows = [torch.cat([prompt(n), torch.full((1, 11), MASK)], dim=1) for n in LENGTHS]
    batch = padded(rows)
    together = hook.forward(batch.input_ids, batch.attention_mask).logits
    for row, ids in enumerate(rows):
        alone = hook.forward(ids).logits[0]
        assert torch.allclose(together[row, -len(alone) :], alone, atol=1e-4)
    assert not together.isnan().any()


def test_a_block_sees_itself_and_what_is_before_it():
    hook = Llada2Hook(build(1))
    ids = prompt(3 * BLOCK)
    other = ids.clone()
    other[0, 2 * BLOCK - 1] = 1
    changed = (hook.forward(ids).logits != hook.forward(other).logits).any(-1)[0].tolist()
    assert changed == [False] * BLOCK + [True] * 2 * BLOCK


# -- finding the parts ---------------------------------------------------------------------------------------


def test_a_lora_wrapped_model_is_watched_alike():
    peft = pytest.importorskip("peft")
    plain = build(1)
    with sri_sdk.watch(plain, hook=Llada2Hook(plain)) as bare:
        wanted = plain.generate(prompt(13), **OFFICIAL)
    model = peft.get_peft_model(build(1), peft.LoraConfig(target_modules=["query_key_value"], r=2))
    assert Llada2Hook.fits(model).ok
    hook = Llada2Hook(model)
    # A fresh adapter changes nothing.
    tokens, run = watched(hook, lambda: model.generate(prompt(13), **OFFICIAL))
    assert torch.equal(tokens, wanted) and not run.traces[0].reasons
    assert torch.allclose(torch.tensor(run.traces[0].phi), torch.tensor(bare.traces[0].phi), atol=1e-5)
    batch = padded([prompt(n) for n in LENGTHS])
    assert torch.equal(driven(hook, batch), driven(Llada2Hook(plain), batch))


def test_llada22_is_refused_with_the_reason():
    class Indel(LLaDA21):
        def generate(self, inputs: torch.Tensor, delete_id: int = 1, split_id: int = 2) -> torch.Tensor:
            return inputs

    fit = Llada2Hook.fits(build(1, Indel))
    assert not fit.ok and "delete_id, split_id" in fit.why


def test_no_other_hook_claims_the_family():
    with sri_sdk.watch(build(1)) as run:
        pass
    assert run.why.startswith("Llada2Hook: class LLaDA2MoeModelLM")


def test_what_is_not_of_the_family_is_refused():
    assert "LLaDA2MoeModelLM" in Llada2Hook.fits(torch.nn.Linear(2, 2)).why
    broken = build(1)
    del broken.model.norm
    assert "model.norm" in Llada2Hook.fits(broken).why


def test_mask_end_and_block_come_from_the_model_or_the_call():
    model = build(1)
    hook = Llada2Hook(model)
    defaults = {name: p.default for name, p in inspect.signature(type(model).generate).parameters.items()}
    assert (hook.mask_id(), hook.eos_ids(), hook.block_length()) == (
        defaults["mask_id"], (defaults["eos_id"],), defaults["block_length"],
    )  # fmt: skip
    model.config.mask_token_id, model.config.eos_token_id = 41, [42, 43]
    option = Llada2Hook.Config(source="x", block_length=4)
    assert (hook.mask_id(), hook.eos_ids(), Llada2Hook(model, option).block_length()) == (41, (42, 43), 4)
    # What the call says counts for that call.
    _, run = watched(hook, lambda: model.generate(prompt(13), **OFFICIAL, mask_id=MASK))
    assert run.traces[0].steps == model.passes and not run.traces[0].reasons


def test_checkpoints_are_loaded_only_where_their_code_may_run():
    pytest.importorskip("transformers")
    with pytest.raises(ConfigError, match=r"trust_remote_code|transformers"):
        Llada2Hook.load(Llada2Hook.Config(source="nowhere/at-all", offline=True))


def test_the_steps_of_a_cache_are_refused():
    hook = Llada2Hook(build(1))
    with pytest.raises(sri_sdk.SriError, match="keeps no cache"):
        hook.forward(prompt(8), use_cache=True)
