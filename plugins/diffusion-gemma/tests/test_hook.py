"""The hook under transformers' own `generate`: which passes are steps, of which rows, and where they lie."""

import copy

import pytest
import torch

import sri_sdk
from sri_sdk.structure import cache_argument, cache_of

pytest.importorskip("transformers", minversion="5.11")

from sri_plugin_diffusion_gemma.hook import DiffusionGemmaHook
from sri_plugin_diffusion_gemma.stand_ins.example import case, prompts
from sri_plugin_diffusion_gemma.stand_ins.model import CANVAS, GREEDY, PAD, build, passes

from sri_sdk.capture.identity import weights_digest
from sri_sdk.testing import hook_checks
from sri_sdk.testing._hook_measure import measure_hook


@pytest.mark.parametrize("check", hook_checks(DiffusionGemmaHook.example, lazy=True), ids=str)
def test_the_hook_keeps_its_promises(check) -> None:
    check()


def watched(model, generate, encoded=None, **options):
    """A watched generation, the number of decoder passes that `generate` counted per row, and the plans."""
    encoded = prompts() if encoded is None else encoded
    hook, plans = DiffusionGemmaHook(model), []
    inner = hook.plan
    hook.plan = lambda call, run: plans.append(inner(call, run)) or plans[-1]
    with sri_sdk.watch(model, hook=hook) as run:
        output = generate(model, encoded, **options)
    return run, output, plans


def counted(run) -> tuple[list[int], list[int | None]]:
    """Steps seen, and steps expected."""
    return [trace.steps for trace in run.traces], [trace.expected for trace in run.traces]


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("temperature", [GREEDY, {"t_min": 0.01, "t_max": 0.02}, {"t_min": 0.4, "t_max": 0.8}])
def test_steps_of_each_row_are_those_that_generate_itself_counted(generate, seed: int, temperature) -> None:
    run, output, plans = watched(build(seed), generate, seed=seed, **temperature)
    official = passes(output, 5)
    assert counted(run) == (official, official) and not any(trace.reasons for trace in run.traces)
    assert len(plans) >= max(official), "a pass was not planned"


def test_rows_leave_their_canvas_at_different_steps_and_are_not_counted_while_they_wait(generate) -> None:
    run, output, plans = watched(build(2), generate)
    assert len(set(passes(output, 5))) > 1 and len(plans) > max(passes(output, 5)), "the case shows nothing"
    idle = [plan for plan in plans if plan.active is not None and not plan.active.all()]
    assert len(idle) >= len(plans) - min(trace.steps for trace in run.traces)


def test_a_row_that_ended_on_an_earlier_canvas_has_no_more_steps(generate) -> None:
    model = build(2)
    free = generate(model, prompts()).sequences[:, 5:]
    model.generation_config.eos_token_id = next(
        token for token in free[0, :CANVAS].tolist() if token not in free[1:].flatten().tolist()
    )
    run, output, plans = watched(model, generate)
    assert counted(run) == (passes(output, 5), passes(output, 5))
    assert (output.sequences[0, 5 + CANVAS :] == PAD).all() and run.traces[0].steps < min(passes(output, 5)[1:])
    late = [plan for plan in plans if plan.positions[0, 0] >= CANVAS]
    assert late and not any(plan.active[0] for plan in late)


@pytest.mark.parametrize("how", ["named", "configured", "without a padding token"])
def test_an_end_token_that_only_the_call_was_given_counts(generate, how: str) -> None:
    model = build(2)
    if how == "without a padding token":
        model.generation_config.pad_token_id = None
    token = int(generate(model, prompts()).sequences[0, 5 + 2])
    options = {"eos_token_id": token}
    if how == "configured":
        options = {"generation_config": copy.deepcopy(model.generation_config)}
        options["generation_config"].eos_token_id = token
    run, output, _ = watched(model, generate, **options)
    official = passes(output, 5, model.generation_config.pad_token_id)
    assert run.traces[0].steps < CANVAS + 5 and counted(run) == (official, official)


def test_encoder_passes_are_no_steps_and_positions_go_on_from_canvas_to_canvas(generate) -> None:
    model, encoder, decoder = build(2), [], []
    model.model.encoder.language_model.norm.register_forward_hook(lambda *_: encoder.append(1))
    model.model.decoder.norm.register_forward_hook(lambda *_: decoder.append(1))
    _, _, plans = watched(model, generate)
    assert len(encoder) == 3 and len(decoder) == len(plans)
    firsts = [int(plan.positions[0, 0]) for plan in plans]
    assert sorted(set(firsts)) == [0, CANVAS, 2 * CANVAS] and firsts == sorted(firsts)
    assert {plan.canvas for plan in plans} == {3 * CANVAS} and all(plan.shift == 0 for plan in plans)


@pytest.mark.parametrize("given", [False, True])
def test_a_streamer_is_the_callers_affair(generate, given: bool) -> None:
    class Streamer:
        def __init__(self) -> None:
            self.drafts = 0

        def put(self, value) -> None: ...

        def end(self) -> None: ...

        def put_draft(self, value) -> None:
            self.drafts += 1

    streamer = Streamer() if given else None
    free = generate(build(2), prompts())
    run, output, plans = watched(build(2), generate, streamer=streamer)
    assert torch.equal(free.sequences, output.sequences) and not run.traces[0].reasons
    assert streamer is None or streamer.drafts == len(plans)


def test_tokens_are_the_same_with_and_without_a_watch_when_they_are_drawn(generate) -> None:
    for seed in range(2):
        free = generate(build(0), prompts(), seed=seed, t_min=0.2, t_max=0.9)
        _, output, _ = watched(build(0), generate, seed=seed, t_min=0.2, t_max=0.9)
        assert torch.equal(free.sequences, output.sequences)


def test_a_plain_tensor_is_taken_as_well_as_an_output(generate) -> None:
    run, output, _ = watched(build(2), generate, return_dict_in_generate=False)
    assert isinstance(output, torch.Tensor) and counted(run)[0] == counted(run)[1] and not run.traces[0].reasons


def test_a_second_turn_on_the_cache_of_the_first_is_watched_from_its_own_prompt(generate) -> None:
    model = build(2)
    one = sri_sdk.Encoded(torch.tensor([[5, 6, 7]]), torch.ones(1, 3, dtype=torch.long))
    cache = cache_of(generate(model, one, max_new_tokens=CANVAS))
    held = cache.get_seq_length()
    more = sri_sdk.Encoded(torch.tensor([[9, 10]]), torch.ones(1, held + 2, dtype=torch.long))
    run, output, plans = watched(model, generate, more, max_new_tokens=2 * CANVAS, **{cache_argument(model): cache})
    assert output.sequences.shape[1] == 2 + 2 * CANVAS and int(plans[0].positions[0, 0]) == 0
    assert counted(run) == (passes(output, 2), passes(output, 2)) and not run.traces[0].reasons


def test_a_second_generation_in_one_watch_is_not_taken_for_the_first(generate) -> None:
    model = build(2)
    with sri_sdk.watch(model) as run:
        first = generate(model, prompts())
        second = generate(model, prompts())
    assert torch.equal(first.sequences, second.sequences), "generation must go on"
    assert "hook_failed" in run.traces[0].reasons and "second generation" in run.failure


def test_a_decoder_that_runs_unseen_on_the_second_canvas_is_incomplete_and_never_whole(generate) -> None:
    model = build(2)
    other = copy.deepcopy(model)
    finalize = model._finalize_canvas

    def leave(**options):
        model.model.decoder.forward = other.model.decoder.forward  # The tapped norm does not run from here on.
        return finalize(**options)

    model._finalize_canvas = leave
    run, output, _ = watched(model, generate)
    assert all("incomplete_coverage" in trace.reasons for trace in run.traces)
    assert counted(run)[1] == passes(output, 5)
    assert all(trace.steps < trace.expected for trace in run.traces)


def own_loop(model, batch: int) -> None:
    """Two canvases of three steps with nothing but the model itself, as diffusers' pipeline does it."""
    from transformers import DynamicCache

    text, generator = torch.full((batch, 4), 9), torch.Generator().manual_seed(0)
    cache = DynamicCache(config=model.config.get_text_config(decoder=True))
    with torch.no_grad():
        for _ in range(2):
            model.model.encoder(input_ids=text, **{cache_argument(model): cache})
            canvas = torch.randint(0, 128, (batch, CANVAS), generator=generator)
            for _ in range(3):
                canvas = model(decoder_input_ids=canvas, **{cache_argument(model): cache}).logits.argmax(-1)
            text = canvas


def test_a_loop_of_ones_own_is_watched_with_one_prompt_and_told_apart_by_its_cache() -> None:
    model, hook, firsts = build(2), None, []
    hook = DiffusionGemmaHook(model)
    inner = hook.plan

    def plan(call, run):
        made = inner(call, run)
        firsts.append(int(made.positions[0, 0]))
        return made

    hook.plan = plan
    with sri_sdk.watch(model, hook=hook) as run:
        own_loop(model, 1)
    assert run.traces[0].steps == 6 and not run.traces[0].reasons and firsts == [0, 0, 0, 8, 8, 8]


def test_in_a_loop_of_ones_own_a_batch_is_unmonitored_since_nothing_says_who_waits() -> None:
    model = build(2)
    with sri_sdk.watch(model) as run:
        own_loop(model, 2)
    assert "hook_failed" in run.traces[0].reasons and "one prompt at a time" in run.failure


def test_a_model_with_lora_is_watched_row_by_row(generate) -> None:
    peft = pytest.importorskip("peft")
    lora = peft.LoraConfig(target_modules=r".*decoder\.layers\..*\.q_proj", init_lora_weights=False)
    wrapped = peft.get_peft_model(build(2), lora).eval()
    assert DiffusionGemmaHook.fits(wrapped).ok
    run, output, _ = watched(wrapped, generate)
    assert counted(run) == (passes(output, 5), passes(output, 5)) and not run.traces[0].reasons
    assert "_denoising_step" not in vars(wrapped.get_base_model())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_pooled_state_is_the_mean_of_the_canvas_in_float32_and_bfloat16(dtype, capsys) -> None:
    measured = measure_hook(case(DiffusionGemmaHook, dtype))
    with capsys.disabled():
        print(f"\nDiffusionGemma, {dtype}: {measured}")
    assert measured.gap < 1e-5 and measured.unchanged and not measured.reasons
    assert measured.seen == measured.expected


def test_only_this_hook_fits_and_it_fits_nothing_else() -> None:
    from sri_sdk import registry

    found = [info.name for info in registry.installed("hooks") if registry.load("hooks", info.name).fits(build(0)).ok]
    assert found == ["diffusion-gemma"]
    assert not DiffusionGemmaHook.fits(torch.nn.Linear(2, 2)).ok
    assert not DiffusionGemmaHook.fits(build(0).model).ok


def test_a_guards_model_is_the_same_model_after_it_has_compiled_parts_of_itself() -> None:
    model = build(0)
    before = weights_digest(model)
    model._compiled_encoder = torch.compile(model.model.encoder, backend="eager")
    assert any("_orig_mod" in name for name in model.state_dict())
    assert weights_digest(model) == before


def test_a_saved_checkpoint_is_loaded_and_generates_the_same(generate, tmp_path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    from transformers import PreTrainedTokenizerFast

    words = {word: number for number, word in enumerate(["<pad>", "<eos>", "<unk>", "user", "hello", "there"])}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="<unk>"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    template = "{% for message in messages %}{{ message['role'] }} {{ message['content'] }} {% endfor %}"
    PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>", chat_template=template
    ).save_pretrained(tmp_path)
    model = build(2)
    model.save_pretrained(tmp_path)
    loaded = DiffusionGemmaHook.load(DiffusionGemmaHook.Config(source=str(tmp_path), offline=True))
    hook = DiffusionGemmaHook(loaded.model)
    encoded = hook.encode(loaded.tokenizer, ["hello there", "hello"])
    assert encoded.input_ids.tolist() == [[3, 4, 5], [0, 3, 4]]
    free, output = generate(model, encoded), generate(loaded.model, encoded)
    assert torch.equal(free.sequences, output.sequences) and DiffusionGemmaHook.fits(loaded.model).ok
    assert len(hook.decode(loaded.tokenizer, output.sequences[:, 3:])) == 2
