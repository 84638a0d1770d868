"""The sampler against transformers' own `generate`, row by row."""

import pytest
import torch

import sri_sdk

pytest.importorskip("transformers", minversion="5.11")

from sri_plugin_diffusion_gemma.hook import DiffusionGemmaHook
from sri_plugin_diffusion_gemma.sampler import DiffusionGemmaSampler
from sri_plugin_diffusion_gemma.stand_ins.example import prompts
from sri_plugin_diffusion_gemma.stand_ins.model import CANVAS, GREEDY, PAD, build, passes

from sri_sdk.errors import ConfigError, SriError
from sri_sdk.testing import sampler_checks

IDS = ["a", "b", "c"]
WARM = {"t_min": 0.05, "t_max": 0.1}


@pytest.mark.parametrize("check", sampler_checks(DiffusionGemmaSampler.example, lazy=True), ids=str)
def test_the_sampler_keeps_its_promises(check) -> None:
    check()


def sampler(**options) -> DiffusionGemmaSampler:
    given = {"canvas_length": CANVAS, "steps": 12, **options}
    return DiffusionGemmaSampler(DiffusionGemmaSampler.Config(**given))


def run(model, made: DiffusionGemmaSampler, encoded=None) -> list[sri_sdk.SamplerStep]:
    with torch.inference_mode():
        return list(made.steps(DiffusionGemmaHook(model), prompts() if encoded is None else encoded, IDS, seed=1))


def official(model, made: DiffusionGemmaSampler, row: int):
    """What `generate` does with one prompt alone, from the row's seed: tokens and number of passes."""
    encoded, config = prompts(), made.config
    ids = encoded.input_ids[row][encoded.attention_mask[row].bool()][None]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(DiffusionGemmaSampler.row_seed(1, IDS[row]))
        output = model.generate(
            ids, max_new_tokens=made.canvas(), max_denoising_steps=config.steps, t_min=config.t_min, t_max=config.t_max
        )
    return output.sequences[0, ids.shape[1] :], passes(output, ids.shape[1])[0]


@pytest.mark.parametrize("canvases", [1, 3])
@pytest.mark.parametrize("temperature", [GREEDY, WARM, {}], ids=["cold", "warm", "usual"])
@pytest.mark.parametrize("ends", [False, True])
def test_each_row_of_a_padded_batch_is_what_generate_makes_of_its_prompt_alone(canvases, temperature, ends) -> None:
    model, made = build(2), sampler(canvases=canvases, **temperature)
    if ends:
        model.generation_config.eos_token_id = int(run(model, made)[-1].draft[0, 3])
    steps = run(model, made)
    taken = torch.stack([step.active for step in steps]).sum(0).tolist()
    for row in range(len(IDS)):
        tokens, count = official(model, made, row)
        draft = steps[-1].draft[row]
        assert torch.equal(draft[: len(tokens)], tokens) and (draft[len(tokens) :] == PAD).all()
        assert taken[row] == count
    if ends and canvases > 1:
        assert taken[0] <= 12 < max(taken), "the case shows no row that ends before the others"


def test_the_random_state_of_everybody_else_is_left_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    run(build(2), sampler(canvases=2))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_driven_batch_is_covered_step_by_step_also_where_rows_wait_for_others() -> None:
    from sri_sdk.capture.drive import drive
    from sri_sdk.capture.settings import watch_settings

    class Letters:
        def batch_decode(self, rows, skip_special_tokens: bool) -> list[str]:
            return ["".join(chr(33 + token % 90) for token in row) for row in rows]

    class Hook(DiffusionGemmaHook):
        def encode(self, tokenizer, texts, system_prompt=None):
            return prompts()

    model, made = build(2), sampler(canvases=3, **GREEDY)
    hook = Hook(model)
    loaded = sri_sdk.LoadedModel(model, Letters(), "tiny")
    asked = [sri_sdk.Prompt(name, "text", "harmless") for name in IDS]
    batch = drive(hook, loaded, made, asked, watch_settings(hook), seed=1)
    for _ in batch:
        pass
    assert [trace.steps for trace in batch.run.traces] == [official(model, made, row)[1] for row in range(3)]
    assert [trace.expected for trace in batch.run.traces] == [trace.steps for trace in batch.run.traces]
    assert not any(trace.reasons for trace in batch.run.traces) and len(set(batch.texts)) == 3


def test_a_canvas_of_another_length_than_the_models_is_refused_by_its_number() -> None:
    with pytest.raises(ConfigError, match=r"canvas_length: 16, and the model's canvas has 8"):
        run(build(0), sampler(canvas_length=16))


def test_another_familys_model_is_refused() -> None:
    from sri_plugin_toy.hook import ToyHook
    from sri_plugin_toy.model import build as toy

    with pytest.raises(ConfigError, match="drives DiffusionGemma only, this is ToyHook on ToyModel"):
        next(sampler().steps(ToyHook(toy(0)), prompts(), IDS))


def test_nothing_can_be_opened_again() -> None:
    steps = sampler().steps(DiffusionGemmaHook(build(0)), prompts(), IDS)
    next(steps)
    with pytest.raises(SriError, match="Abort the row instead"):
        steps.send(sri_sdk.Intervention(remask=torch.ones(3, CANVAS, dtype=torch.bool)))


def test_a_temperature_that_rises_is_refused() -> None:
    with pytest.raises(ValueError, match="the temperature falls"):
        DiffusionGemmaSampler.Config(t_min=0.8, t_max=0.4)
