"""The family's real modelling code with tiny random weights, under the kit. Opt-in: see the plugin's README.

SRI_MODEL_CODE names a folder with the repositories; nothing of them is copied here. Newer releases of transformers have
dropped what this code expects, so each test puts it back for itself.
"""

import importlib
import os
import shutil
import sys
import types
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import torch
from sri_plugin_llada2.hook import Llada2Hook

import sri_sdk
from sri_sdk import Encoded, registry
from sri_sdk.capture.run import Run
from sri_sdk.capture.settings import WatchSettings
from sri_sdk.capture.tap import tap_of
from sri_sdk.errors import ConfigError
from sri_sdk.testing import HookCase, hook_checks
from sri_sdk.testing._hook_measure import measure_hook

MODELS = {
    "2.0-dllm": ("dllm/dllm/pipelines/llada2/models", "llada2_moe"),
    "2.0-dfactory": ("dFactory/models/llada2_moe", "llada2_moe"),
    "2.1-dllm": ("dllm/dllm/pipelines/llada21/models", "llada21_moe"),
}
VOCABULARY, MASK, END, BLOCK = 96, 95, 94, 32
PROMPT = torch.arange(5, 44)[None]
"""39 tokens: the first block ends inside the response."""


def root() -> Path:
    """The folder with the repositories."""
    found = os.environ.get("SRI_MODEL_CODE")
    if found is None:
        pytest.skip("SRI_MODEL_CODE is not set: it names a folder with the family's repositories")
    return Path(found)


def package(name: str, folder: Path, needs: str) -> None:
    """A package that is only a place to import from: its own __init__ imports the world."""
    if not (folder / needs).exists():
        pytest.skip(f"SRI_MODEL_CODE has no {folder.relative_to(root())}/{needs}")
    if name not in sys.modules:
        sys.modules[name] = types.ModuleType(name)
        sys.modules[name].__path__ = [str(folder)]


@pytest.fixture(autouse=True)
def _older_transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    """What transformers 5 has no more: the rope `default`, and a question about torch.fx."""
    transformers = pytest.importorskip("transformers")
    rules = transformers.modeling_rope_utils.ROPE_INIT_FUNCTIONS

    def plain(config: Any, device: Any = None, **_: Any) -> tuple[torch.Tensor, float]:
        width = int(config.head_dim * config.partial_rotary_factor)
        return 1.0 / config.rope_theta ** (torch.arange(0, width, 2, device=device).float() / width), 1.0

    # In all releases: transformers 4 reads a width of its own from this config, as its own models do not.
    monkeypatch.setitem(rules, "default", rules.get("default", plain))
    attend = torch.nn.functional.scaled_dot_product_attention

    def attend_in_one_format(query: torch.Tensor, *args: Any, attn_mask: Any = None, **more: Any) -> torch.Tensor:
        # The published loops make a bfloat16 mask whatever the weights are, and torch refuses it beside float32.
        return attend(query, *args, attn_mask=None if attn_mask is None else attn_mask.to(query.dtype), **more)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", attend_in_one_format)
    utils, pytorch = transformers.utils.import_utils, importlib.import_module("transformers.pytorch_utils")
    monkeypatch.setattr(utils, "is_torch_fx_available", lambda: True, raising=False)
    monkeypatch.setattr(pytorch, "is_torch_greater_or_equal_than_1_13", True, raising=False)


def training_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    """dFactory imports its training stack; nothing of it runs where experts are modules, as in published weights."""

    def module(name: str, **names: Any) -> None:
        made = types.ModuleType(name)
        vars(made).update(names)
        monkeypatch.setitem(sys.modules, name, made)

    import logging

    for name in ("veomni", "veomni.distributed", "veomni.utils"):
        module(name, __path__=[], logging=types.SimpleNamespace(get_logger=logging.getLogger))
    module("veomni.ops", causallm_loss_function=None, fused_moe_forward=None)
    module("veomni.distributed.parallel_state", get_parallel_state=None)
    module("veomni.utils.import_utils", is_liger_kernel_available=lambda: False)


def imported(name: str) -> Any:
    """A module of the published code; the test is skipped where the release lacks what it imports."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as err:
        if not (err.name or "").startswith("transformers."):
            raise
        pytest.skip(f"{name} does not load on transformers {metadata.version('transformers')}: {err}")


def build(name: str, monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype = torch.float32, seed: int = 1) -> Any:
    """The real class: two layers of width 64, the second with 8 experts; sure enough of itself to meet thresholds.

    With the default seed nothing edits away, in LLaDA2.1, the tokens that the kit plants to prove the rows.
    """
    folder, stem = MODELS[name]
    if "dfactory" in name:
        training_stack(monkeypatch)
    package(f"real_{stem}_{name[-4:]}", root() / folder, f"modeling_{stem}.py")
    modelling = imported(f"real_{stem}_{name[-4:]}.modeling_{stem}")
    config = modelling.LLaDA2MoeConfig(
        vocab_size=VOCABULARY, hidden_size=64, intermediate_size=96, moe_intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, head_dim=16, num_experts=8, num_experts_per_tok=2,
        num_shared_experts=1, n_group=4, topk_group=2, first_k_dense_replace=1, max_position_embeddings=512,
        pad_token_id=0, use_cache=False, use_bias=False, initializer_range=0.3, mask_token_id=MASK, eos_token_id=END,
        attn_implementation="sdpa",
    )  # fmt: skip
    config.model_type = stem  # dFactory's own says that experts are fused, as in its training.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = modelling.LLaDA2MoeModelLM(config)
        for parameter in model.parameters():
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=0.3)
    with torch.no_grad():
        # What is filled in is mostly predicted again, as by a trained model; the mask itself never leads.
        model.lm_head.weight += 0.5 * model.get_input_embeddings().weight
        model.lm_head.weight[MASK] = -model.lm_head.weight[:MASK].mean(0)
    return model.to(dtype).eval()


def options(name: str) -> dict[str, Any]:
    """Of the official call."""
    given: dict[str, Any] = {"gen_length": 40, "threshold": 0.7, "eos_id": END, "mask_id": MASK}
    return {**given, "editing_threshold": 0.5} if name.startswith("2.1") else given


def counted(model: Any, call: Any) -> int:
    """Passes through the trunk of one call."""
    seen: list[None] = []
    handle = model.model.norm.register_forward_hook(lambda _m, _a, _o: seen.append(None))
    try:
        call()
    finally:
        handle.remove()
    return len(seen)


def case_of(model: Any, name: str, prompt: torch.Tensor = PROMPT, **more: Any) -> HookCase:
    """The official `generate` on one prompt: every pass of it is a step."""

    def generate(prompts: Encoded) -> torch.Tensor:
        with torch.random.fork_rng(devices=[]):
            # dFactory's copy draws its tokens, also at temperature 0.
            torch.manual_seed(7)
            return model.generate(prompts.input_ids, **options(name), **more)

    encoded = Encoded(prompt, torch.ones_like(prompt))
    return HookCase(
        Llada2Hook(model), encoded, generate, steps=[counted(model, lambda: generate(encoded))], batched=False
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("name", MODELS)
def test_every_pass_of_the_official_loop_is_a_step(name, dtype, monkeypatch):
    found = measure_hook(case_of(build(name, monkeypatch, dtype), name))
    print(f"LLaDA{name} {dtype}: {found}")
    assert found.seen == found.expected and found.unchanged and not found.reasons
    assert found.gap <= 1e-5


@pytest.mark.parametrize("name", MODELS)
def test_the_real_model_passes_the_kit(name, monkeypatch):
    build(name, monkeypatch)  # Skips here; inside a check that would be a plugin that leaves.
    for check in hook_checks(lambda: case_of(build(name, monkeypatch), name)):
        # Two threads that draw from torch's one generator get other tokens than one alone, watched or not.
        if not (name == "2.0-dfactory" and check.name == "two-runs-coexist"):
            check()


@pytest.mark.parametrize("name", MODELS)
def test_an_early_stop_ends_the_run_with_and_without_a_prompt_in_front(name, monkeypatch):
    model = build(name, monkeypatch)
    case = case_of(model, name)
    end = int(case.generate(case.encoded)[0, 6])
    early = {**options(name), "eos_id": end, "eos_early_stop": True}
    hook, torch_seed = Llada2Hook(model), torch.manual_seed(7)
    passes = counted(model, lambda: model.generate(PROMPT, **early))
    torch_seed.manual_seed(7)
    run = Run(hook, WatchSettings("response", budget=200, keep_states=True), ["a"])
    tap = tap_of(model)
    with tap.installed(hook, run), tap.owned_by(run):
        tokens = model.generate(PROMPT, **early)
    run.finish()
    # First published, now in dFactory: what stops early comes with its prompt, what does not without.
    assert torch.equal(tokens[:, : PROMPT.shape[1]], PROMPT) == (name == "2.0-dfactory")
    assert run.traces[0].steps == passes and not run.traces[0].reasons


@pytest.mark.parametrize("version", ["20", "21"])
def test_the_samplers_of_dllm_are_watched_like_the_model_s_own_loop(version, monkeypatch):
    name = {"20": "2.0-dllm", "21": "2.1-dllm"}[version]
    model, family = build(name, monkeypatch), {"20": "llada2", "21": "llada21"}[version]
    for part in ("", "/core", "/core/samplers", "/pipelines", f"/pipelines/{family}"):
        package(f"dllm{part.replace('/', '.')}", root() / f"dllm/dllm{part}", ".")
    sampler = imported(f"dllm.pipelines.{family}.sampler")
    tokenizer = types.SimpleNamespace(mask_token_id=MASK, eos_token_id=END)
    made = getattr(sampler, {"20": "LLaDA2Sampler", "21": "LLaDA21Sampler"}[version])(model, tokenizer)
    asked = {key: value for key, value in options(name).items() if "threshold" in key}
    asked |= {"max_new_tokens": 40, "return_dict": False}
    rows = [PROMPT[0], PROMPT[0] + 40][: 2 if version == "20" else 1]
    alone = [counted(model, lambda row=row: made.sample([row], **asked)) for row in rows]
    free = made.sample(rows, **asked)
    with sri_sdk.watch(model, hook=Llada2Hook(model)) as run:
        watched = run.returned(made.sample(rows, **asked))
    assert torch.equal(free, watched)
    assert [trace.steps for trace in run.traces] == alone
    assert not any(trace.reasons for trace in run.traces)


@pytest.mark.parametrize("name", MODELS)
def test_the_pipeline_of_diffusers_calls_back_once_per_step(name, monkeypatch):
    diffusers = pytest.importorskip("diffusers", minversion="0.42")
    model = build(name, monkeypatch)
    pipe = diffusers.LLaDA2Pipeline(model=model, scheduler=diffusers.BlockRefinementScheduler())
    pipe.set_progress_bar_config(disable=True)
    reported: list[int] = []

    def report(_pipe: Any, step: int, _index: int, _state: dict[str, Any]) -> dict[str, Any]:
        reported.append(step)
        return {}

    asked = {
        "gen_length": 40, "threshold": 0.7, "sampling_method": "greedy", "eos_token_id": END, "mask_token_id": MASK,
        "editing_threshold": 0.5 if name.startswith("2.1") else None, "output_type": "seq",
    }  # fmt: skip
    free = pipe(input_ids=PROMPT, **asked).sequences
    with sri_sdk.watch(model, hook=Llada2Hook(model)) as run:
        watched = run.returned(pipe(input_ids=PROMPT, callback_on_step_end=report, **asked).sequences)
    print(f"LLaDA{name} in diffusers {diffusers.__version__}: steps {run.traces[0].steps} of {len(reported)}")
    assert torch.equal(free, watched) and not run.traces[0].reasons
    assert run.traces[0].steps == len(reported)


def test_a_driven_sampler_gives_the_official_tokens(monkeypatch):
    name = "2.0-dllm"  # dFactory's copy is never greedy.
    model = build(name, monkeypatch)
    hook = Llada2Hook(model)
    widths = (39, 20, 64)
    rows = [torch.arange(5, 5 + width) % 90 + 3 for width in widths]
    official = [model.generate(row[None], **options(name))[0].tolist() for row in rows]
    ids = torch.stack([torch.cat([row.new_zeros(max(widths) - len(row)), row]) for row in rows])
    mask = torch.stack([torch.arange(max(widths)) >= max(widths) - width for width in widths]).long()
    profile = {"steps": 96, "tokens": 40, "block_steps": 32, "threshold": 0.7}
    sampler = registry.build("samplers", "low-confidence", profile)
    with torch.inference_mode():
        *_, last = sampler.steps(hook, Encoded(ids, mask), ["a", "b", "c"])
    for found, wanted in zip(last.draft.tolist(), official, strict=True):
        assert found[: len(wanted)] == wanted


def checkpoint(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A tiny checkpoint with its own code and a tokenizer, as the hub has them; returns the model."""
    tokenizers, transformers = pytest.importorskip("tokenizers"), pytest.importorskip("transformers")
    model, (where, stem) = build(name, monkeypatch), MODELS[name]
    model.config.auto_map = {
        "AutoConfig": f"configuration_{stem}.LLaDA2MoeConfig",
        "AutoModelForCausalLM": f"modeling_{stem}.LLaDA2MoeModelLM",
    }
    model.save_pretrained(folder)
    for part in ("modeling", "configuration"):
        shutil.copy(root() / where / f"{part}_{stem}.py", folder)
    words = {f"w{number}": number for number in range(VOCABULARY)}
    core = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="w1"))
    core.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=core, pad_token="w0", unk_token="w1")
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }} {% endfor %}w2"
    tokenizer.save_pretrained(folder)
    return model


@pytest.mark.parametrize("name", ["2.0-dllm", "2.1-dllm"])
def test_a_checkpoint_with_its_own_code_is_loaded_and_driven(name, monkeypatch, tmp_path):
    transformers = pytest.importorskip("transformers")
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    (tmp_path / "tiny").mkdir()
    config = Llada2Hook.Config(source=str(tmp_path / "tiny"), trust_remote_code=True, offline=True, dtype="float32")
    if int(transformers.__version__.split(".")[0]) >= 5:
        with pytest.raises(ConfigError, match=r"transformers>=4\.57"):
            Llada2Hook.load(config)
        return
    saved = checkpoint(tmp_path / "tiny", name, monkeypatch)
    loaded = Llada2Hook.load(config)
    hook = Llada2Hook(loaded.model, config)
    encoded = hook.encode(loaded.tokenizer, ["w5 w6 w7", "w9"], "w3 w4")
    assert encoded.input_ids.tolist() == [[3, 4, 5, 6, 7, 2], [0, 0, 3, 4, 9, 2]]
    ids = encoded.input_ids[:1]
    with torch.no_grad():
        assert torch.equal(hook.forward(ids).logits, Llada2Hook(saved).forward(ids).logits)
    sampler = registry.build("samplers", "low-confidence", {"steps": 48, "tokens": 8, "block_steps": 8})
    asked = [sri_sdk.Prompt(text, text, "harmless") for text in ("w5 w6 w7", "w9")]
    batch = sri_sdk.drive(hook, loaded, sampler, asked, WatchSettings("response", budget=48, keep_states=True))
    for _ in batch:
        pass
    assert not any(trace.reasons for trace in batch.run.traces) and all(batch.texts)
