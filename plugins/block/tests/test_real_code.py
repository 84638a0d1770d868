"""The families' real modelling code and samplers, with tiny random weights: opt-in, SRI_MODEL_CODE names the folder.

Layout and commits are in the plugin's README. What this machine lacks is put in its place for the import alone:
flash_attn (attention and RMS norm in plain torch), einops, a training loss written in triton.
"""

import importlib.util
import os
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypedDict

import pytest
import sri_plugin_block.stand_ins.example as doubles
import torch
from sri_plugin_block.fast_dllm import FastDllmHook
from sri_plugin_block.sdar import SdarHook

import sri_sdk
from sri_sdk import registry
from sri_sdk.errors import ConfigError
from sri_sdk.records import Encoded
from sri_sdk.testing import HookCase, hook_checks
from sri_sdk.testing._hook_measure import measure_hook

transformers = pytest.importorskip("transformers")
CODE = os.environ.get("SRI_MODEL_CODE")
MASK, END, VOCAB = 95, 1, 96
SDAR = {
    "SDAR": ("SDAR/training/model/SDAR-4B-Chat", "SDAR/generate.py"),
    "TraDo": ("dLLM-RL/models/sdar", "dLLM-RL/generate.py"),
}
FAST = "DualDiffusion/FastDLLM_inferencing/Fast_dLLM_v2_7B"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def code(path: str) -> Path:
    if CODE is None:
        pytest.skip("SRI_MODEL_CODE is not set; plugins/block/README.md says which repositories belong there")
    if int(transformers.__version__.partition(".")[0]) > 4:
        pytest.skip(f"the families' code does not run on transformers {transformers.__version__}; load() says so")
    found = Path(CODE) / path
    if not found.exists():
        pytest.skip(f"{found} is not there; plugins/block/README.md says where it comes from")
    return found


def module(name: str, **members: Any) -> types.ModuleType:
    made = types.ModuleType(name)
    made.__path__ = []
    # transformers looks packages up by their spec.
    made.__spec__ = importlib.util.spec_from_loader(name, None)
    vars(made).update(members)
    return made


def load(file: Path, name: str) -> Any:
    """A file as a module; in a package of its folder, so that its relative imports work. Once: it takes seconds."""
    if name in sys.modules:
        return sys.modules[name]
    package = name.rpartition(".")[0]
    if package and package not in sys.modules:
        sys.modules[package] = module(package)
        sys.modules[package].__path__ = [str(file.parent)]
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules[name] = made
    try:
        spec.loader.exec_module(made)
    except Exception as err:
        del sys.modules[name]
        pytest.skip(f"{file.name} does not load on transformers {transformers.__version__}: {err}")
    return made


def norm(states: torch.Tensor, weight: torch.Tensor, bias: None, eps: float) -> torch.Tensor:
    wide = states.float()
    return weight * (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps)).to(states.dtype)


def attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, causal: bool, softmax_scale: float) -> Any:
    """[B, L, heads, D], grouped heads allowed."""
    q, k, v = (t.transpose(1, 2) for t in (query, key, value))
    made = torch.nn.functional.scaled_dot_product_attention(
        q, k, v, is_causal=causal, scale=softmax_scale, enable_gqa=True
    )
    return made.transpose(1, 2)


def rearrange(states: torch.Tensor, pattern: str) -> torch.Tensor:
    if pattern == "b h l d -> b l (h d)":
        return states.transpose(1, 2).flatten(2)
    assert pattern == "b l h d -> b l (h d)", pattern
    return states.flatten(2)


class LossKwargs(TypedDict, total=False):
    num_items_in_batch: Any


@pytest.fixture(autouse=True, scope="module")
def stand_ins() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        put_in_place(patch)
        yield
    for name in [name for name in sys.modules if name.startswith("real_")]:
        del sys.modules[name]


def put_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    made = {
        "flash_attn": module("flash_attn", flash_attn_func=attend, flash_attn_varlen_func=None),
        "flash_attn.ops": module("flash_attn.ops"),
        "flash_attn.ops.triton": module("flash_attn.ops.triton"),
        "flash_attn.ops.triton.layer_norm": module("flash_attn.ops.triton.layer_norm", rms_norm_fn=norm),
        "flash_attn.bert_padding": module(
            "flash_attn.bert_padding", index_first_axis=None, pad_input=None, unpad_input=None
        ),
        "real_SDAR.fused_linear_diffusion_cross_entropy": module(
            "real_SDAR.fused_linear_diffusion_cross_entropy", FusedLinearDiffusionCrossEntropyLoss=None
        ),
    }
    if importlib.util.find_spec("einops") is None:
        made["einops"] = module("einops", rearrange=rearrange, repeat=None)
    for name, stand_in in made.items():
        monkeypatch.setitem(sys.modules, name, stand_in)
    for name, value in {"LossKwargs": LossKwargs}.items():
        if not hasattr(transformers.utils, name):
            monkeypatch.setattr(transformers.utils, name, value, raising=False)
    from transformers import cache_utils

    if not hasattr(cache_utils.DynamicCache, "__getitem__"):
        monkeypatch.setattr(
            cache_utils.DynamicCache, "__getitem__", lambda self, i: (self.layers[i].keys, self.layers[i].values),
            raising=False,
        )  # fmt: skip


def tiny(kind: Any, config: Any, dtype: torch.dtype, seed: int) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = kind(config).eval()
    model.lm_head.weight.data.mul_(12)
    model.lm_head.weight.data[[MASK, 0]] = 0
    model.generation_config.eos_token_id = [END]
    return model.to(dtype)


SHAPE = {
    "vocab_size": VOCAB, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 512, "pad_token_id": 0, "initializer_range": 0.1,
}  # fmt: skip


def surest(logits: torch.Tensor, **_: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """In place of SDAR's draw, which knows no greedy one: with top_k=1 it makes every confidence 1."""
    probability, token = logits.softmax(-1).max(-1)
    return token, probability


class SdarWorld:
    """SDAR's model class and sampler."""

    def __init__(self, which: str, dtype: str = "float32", seed: int = 0) -> None:
        folder, sampler = (code(path) for path in SDAR[which])
        config = load(folder / "configuration_sdar.py", f"real_{which}.configuration_sdar").SDARConfig(
            **SHAPE, head_dim=16, block_size=4, mask_token_id=MASK, fuse_cross_entropy=False, use_cache=False
        )
        kind = load(folder / "modeling_sdar.py", f"real_{which}.modeling_sdar").SDARForCausalLM
        self.model = tiny(kind, config, DTYPES[dtype], seed)
        self.sampler = load(sampler, f"real_{which}_generate")
        self.hook = SdarHook(self.model)

    def greedy(self, patch: pytest.MonkeyPatch) -> "SdarWorld":
        patch.setattr(self.sampler, "sample_with_temperature_topk_topp", surest)
        return self

    def generate(self, encoded: Encoded, **options: Any) -> torch.Tensor:
        settings = {"gen_length": 14, "block_length": 4, "denoising_steps": 4, "confidence_threshold": 0.5, **options}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(5)
            prompt = {"input_ids": encoded.input_ids}
            return self.sampler.block_diffusion_generate(self.model, prompt, MASK, **settings)

    def case(self, length: int, **options: Any) -> HookCase:
        calls: list[bool] = []
        encoded = doubles.prompts(length)
        handle = self.model.register_forward_pre_hook(
            lambda _m, _a, kwargs: calls.append(kwargs["store_kv"]), with_kwargs=True
        )
        self.generate(encoded, **options)
        handle.remove()
        return HookCase(
            self.hook, encoded, lambda e: self.generate(e, **options), steps=calls.count(False), batched=False
        )


class FastWorld:
    """Fast-dLLM v2's model class, with its own `generate`."""

    def __init__(self, dtype: str = "float32", seed: int = 0) -> None:
        folder = code(FAST)
        config = load(folder / "configuration.py", "real_fast.configuration").Fast_dLLM_QwenConfig(
            **SHAPE, bd_size=8, mask_token_id=MASK
        )
        self.model = tiny(
            load(folder / "modeling.py", "real_fast.modeling").Fast_dLLM_QwenForCausalLM, config, DTYPES[dtype], seed
        )
        self.model.model.gradient_checkpointing = False
        self.hook = FastDllmHook(self.model)

    def generate(self, encoded: Encoded, **options: Any) -> torch.Tensor:
        settings = {"max_new_tokens": 32, "mask_id": MASK, "stop_token": END, "block_size": 8, "small_block_size": 4}
        return self.model.generate(encoded.input_ids, **{**settings, "threshold": 0.9, **options})[0]

    def case(self, length: int, **options: Any) -> HookCase:
        encoded = doubles.prompts(length)
        masks: list[bool] = []
        handle = self.model.model.embed_tokens.register_forward_pre_hook(
            lambda _m, args: masks.append(bool((args[0] == MASK).any()))
        )
        self.generate(encoded, **options)
        handle.remove()
        return HookCase(self.hook, encoded, lambda e: self.generate(e, **options), steps=sum(masks), batched=False)


def measured(name: str, case: HookCase, gap: float = 1e-5) -> None:
    found = measure_hook(case)
    print(f"\n{name}, transformers {transformers.__version__}: {found}")
    assert found.seen == (case.steps,) and found.gap <= gap and found.unchanged and not found.reasons


STRATEGIES = ["low_confidence_dynamic", "low_confidence_static", "sequential"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("which", SDAR)
def test_every_step_of_the_real_sdar_is_seen(which: str, dtype: str) -> None:
    world = SdarWorld(which, dtype)
    for strategy in STRATEGIES:
        # Shorter than a block; whole blocks; blocks and a rest.
        for length in (3, 8, 13):
            case = world.case(length, remasking_strategy=strategy)
            measured(f"{which} {dtype} {strategy}, prompt of {length}", case)


@pytest.mark.parametrize("which", SDAR)
def test_the_hook_keeps_its_promises_on_the_real_sdar(which: str, monkeypatch: pytest.MonkeyPatch) -> None:
    SdarWorld(which)  # Skips here; inside a check that would be a plugin that leaves.
    # Greedy: threads of the kit share torch's random numbers.
    for check in hook_checks(lambda: SdarWorld(which).greedy(monkeypatch).case(6)):
        check()


@pytest.mark.parametrize("which", SDAR)
def test_the_real_sdar_stops_at_an_end_token_and_the_run_is_whole(which: str, monkeypatch: pytest.MonkeyPatch) -> None:
    world, encoded = SdarWorld(which).greedy(monkeypatch), doubles.prompts(6)
    free = world.generate(encoded)
    end = int(free[0, 6 + 7])
    world.model.generation_config.eos_token_id = [end]
    with sri_sdk.watch(world.model) as run:
        tokens = run.returned(world.generate(encoded, stopping_criteria_idx=[end]))
    assert (tokens == MASK).any() and run._coverage.ended == (True,) and not run.traces[0].reasons


@pytest.mark.parametrize("which", SDAR)
def test_a_driven_pass_of_the_real_sdar_says_what_its_cached_pass_says(which: str) -> None:
    world, encoded = SdarWorld(which), doubles.prompts(6, 9)
    for row, length in enumerate((6, 9)):
        own = encoded.input_ids[row : row + 1, 9 - length :]
        logits: list[torch.Tensor] = []
        handle = world.model.lm_head.register_forward_hook(lambda _m, _a, out, to=logits: to.append(out))
        world.generate(Encoded(own, torch.ones_like(own)))
        handle.remove()
        window = encoded.input_ids.new_full((2, 6), MASK)
        mask = torch.cat([encoded.attention_mask, torch.ones_like(window)], 1)
        driven = world.hook.forward(torch.cat([encoded.input_ids, window], 1), mask).logits[row, 9:]
        first = logits[1][0, length % 4 :]  # behind the prefill, the first block: the rest of the prompt, then holes
        torch.testing.assert_close(driven[: len(first)], first, atol=1e-4, rtol=1e-4)


def driven(hook: Any, encoded: Encoded, name: str, **options: Any) -> torch.Tensor:
    sampler = registry.build("samplers", name, {"steps": 60, **options})
    with torch.inference_mode():
        *_, last = sampler.steps(hook, encoded, [str(row) for row in range(len(encoded.input_ids))])
    return last.draft


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("which", SDAR)
def test_our_samplers_write_the_real_sdars_tokens(which: str, strategy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    world = SdarWorld(which).greedy(monkeypatch)
    world.model.generation_config.eos_token_id = []
    lengths = (3, 8, 13)
    encoded = doubles.prompts(*lengths)
    options = {"threshold": 0.5} if strategy.endswith("dynamic") else {}
    name = "left-to-right" if strategy == "sequential" else "low-confidence"
    ours = driven(world.hook, encoded, name, tokens=14, block_steps=4, **options)
    for row, length in enumerate(lengths):
        own = encoded.input_ids[row : row + 1, 13 - length :]
        official = world.generate(Encoded(own, torch.ones_like(own)), remasking_strategy=strategy)
        assert torch.equal(ours[row], official[0, length : length + 14])


def test_our_left_to_right_sampler_writes_the_real_fast_dllms_tokens() -> None:
    world, lengths = FastWorld(), (3, 13, 16)
    world.model.generation_config.eos_token_id = []
    encoded = doubles.prompts(*lengths)
    ours = driven(world.hook, encoded, "left-to-right", tokens=12, block_steps=8)
    for row, length in enumerate(lengths):
        own = encoded.input_ids[row : row + 1, 16 - length :]
        official = world.generate(Encoded(own, torch.ones_like(own)), small_block_size=1, stop_token=-1, threshold=2)
        assert torch.equal(ours[row], official[0, length : length + 12])


def checkpoint(folder: Path, world: Any, home: Path, files: dict[str, str]) -> None:
    """What is on a hub: weights, config, tokenizer and the code itself."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    config = world.model.config
    config.auto_map = files
    config.architectures = [type(world.model).__name__]
    world.model.save_pretrained(folder)
    for file in {name.partition(".")[0] for name in files.values()}:
        (folder / f"{file}.py").write_text((home / f"{file}.py").read_text(encoding="utf-8"), encoding="utf-8")
    words = {f"w{number}": number for number in range(MASK)} | {"<mask>": MASK}
    made = Tokenizer(models.WordLevel(words, unk_token="w3"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="w0", eos_token="w1", mask_token="<mask>"
    ).save_pretrained(folder)


def test_the_real_fast_dllm_is_loaded_from_a_checkpoint_and_watched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = FastWorld()
    checkpoint(
        tmp_path, world, code(FAST),
        {"AutoConfig": "configuration.Fast_dLLM_QwenConfig",
         "AutoModelForCausalLM": "modeling.Fast_dLLM_QwenForCausalLM"},
    )  # fmt: skip
    pretend(monkeypatch, einops="0.8.1")
    options = {"source": str(tmp_path), "dtype": "float32"}
    with pytest.raises(ConfigError, match="trust_remote_code"):
        FastDllmHook.load(FastDllmHook.Config(**options))
    loaded = FastDllmHook.load(FastDllmHook.Config(**options, trust_remote_code=True))
    encoded = doubles.prompts(11)
    with sri_sdk.watch(loaded.model) as run:
        tokens = loaded.model.generate(
            encoded.input_ids, max_new_tokens=16, mask_id=MASK, stop_token=-1, block_size=8, small_block_size=4
        )[0]
    assert run.why.startswith("FastDllmHook") and run.failure is None and run.traces[0].steps > 0
    assert torch.equal(tokens, world.generate(encoded, max_new_tokens=16, stop_token=-1, threshold=1))


@pytest.mark.parametrize("which", SDAR)
def test_the_real_sdar_is_loaded_from_a_checkpoint_and_watched(
    which: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, home = SdarWorld(which), code(SDAR[which][0])
    world.model.config.block_size = None
    checkpoint(
        tmp_path, world, home,
        {"AutoConfig": "configuration_sdar.SDARConfig", "AutoModelForCausalLM": "modeling_sdar.SDARForCausalLM"},
    )  # fmt: skip
    if which == "SDAR":
        (tmp_path / "fused_linear_diffusion_cross_entropy.py").write_text("FusedLinearDiffusionCrossEntropyLoss = None")
    pretend(monkeypatch, einops="0.8.1", flash_attn="2.8.3")
    if (release := transformers.__version__) > "4.53":
        monkeypatch.delattr(transformers.utils, "LossKwargs")
    options = {"source": str(tmp_path), "dtype": "float32", "trust_remote_code": True, "block": 4}
    hook = SdarHook(SdarHook.load(config := SdarHook.Config(**options)).model, config)
    assert (hook.mask_id(), hook.block_length()) == (MASK, 4), release
    world.model, encoded = hook.model, doubles.prompts(6)
    with sri_sdk.watch(hook.model) as run:
        world.generate(encoded)
    assert run.why.startswith("SdarHook") and run.failure is None and run.traces[0].steps > 0


def pretend(monkeypatch: pytest.MonkeyPatch, **versions: str) -> None:
    """Lets packages that have a stand-in count as installed."""
    from importlib import metadata

    real = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: versions.get(name.replace("-", "_")) or real(name))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("block_cache", [False, True])
def test_every_step_of_the_real_fast_dllm_is_seen(dtype: str, block_cache: bool) -> None:
    world = FastWorld(dtype)
    for length in (3, 13, 16):
        case = world.case(length, use_block_cache=block_cache)
        measured(f"Fast-dLLM v2 {dtype} block cache {block_cache}, prompt of {length}", case)


@pytest.mark.parametrize("block_cache", [False, True])
def test_the_hook_keeps_its_promises_on_the_real_fast_dllm(block_cache: bool) -> None:
    FastWorld()  # Skips here; inside a check that would be a plugin that leaves.
    for check in hook_checks(lambda: FastWorld().case(11, use_block_cache=block_cache)):
        check()
