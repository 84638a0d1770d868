"""The family's real modelling code with tiny random weights, under the kit. Opt-in: see the plugin's README.

SRI_MODEL_CODE names a folder with the repositories; nothing of them is copied here. Newer releases of transformers have
dropped what this code expects, so each test puts it back for itself.
"""

import importlib
import json
import os
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from sri_plugin_dream.hook import DreamHook

import sri_sdk
from sri_sdk import Encoded, registry
from sri_sdk.testing import HookCase, hook_checks
from sri_sdk.testing._hook_measure import measure_hook

FOLDERS = {
    "dllm": "dllm/dllm/pipelines/dream/models",
    "fast-dllm": "Fast-dLLM/dream/model",
    "dllm-rl": "dLLM-RL/sample/dream",
}
PROMPTS = [[0, 0, 0, 5, 6], [0, 11, 12, 13, 14], [21, 22, 23, 24, 25]]
RULES = ("origin", "maskgit_plus", "topk_margin", "entropy")
GREEDY: dict[str, Any] = {"temperature": 0.0, "top_k": None}
"""Said in every call: transformers 4 fills settings that a checkpoint leaves out with temperature 1 and top_k 50."""


def code(name: str) -> types.SimpleNamespace:
    """The modules of one copy of the code, in a package made for them."""
    root = os.environ.get("SRI_MODEL_CODE")
    if root is None:
        pytest.skip("SRI_MODEL_CODE is not set: it names a folder with the family's repositories")
    folder = Path(root) / FOLDERS[name]
    if not (folder / "modeling_dream.py").is_file():
        pytest.skip(f"SRI_MODEL_CODE has no {FOLDERS[name]}/modeling_dream.py")
    package = f"real_dream_{name.replace('-', '_')}"
    if package not in sys.modules:
        sys.modules[package] = types.ModuleType(package)
        sys.modules[package].__path__ = [str(folder)]  # Without running its __init__, which imports the world.
    names = ("modeling_dream", "configuration_dream", "generation_utils", "generation_utils_block")
    found = {n: importlib.import_module(f"{package}.{n}") for n in names if (folder / f"{n}.py").is_file()}
    return types.SimpleNamespace(**found)


@pytest.fixture(autouse=True)
def _ropes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts back the rule `default`, which transformers 5 has no more."""
    rules = pytest.importorskip("transformers").modeling_rope_utils.ROPE_INIT_FUNCTIONS

    def plain(config: Any, device: Any = None, **_: Any) -> tuple[torch.Tensor, float]:
        width = config.hidden_size // config.num_attention_heads
        base = getattr(config, "rope_theta", 10000.0)
        return 1.0 / base ** (torch.arange(0, width, 2, device=device).float() / width), 1.0

    if "default" not in rules:
        monkeypatch.setitem(rules, "default", plain)


def build(name: str, dtype: torch.dtype = torch.float32) -> Any:
    """The real class, two layers of width 32; its head is far enough from uniform to have opinions."""
    modules = code(name)
    config = modules.configuration_dream.DreamConfig(
        vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=128, mask_token_id=63, pad_token_id=0, bos_token_id=1,
        eos_token_id=2, initializer_range=0.2,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = modules.modeling_dream.DreamModel(config)
    # An untrained head may say the mask itself, and Fast-dLLM's loop would then never end.
    model.lm_head.register_forward_hook(
        lambda _m, _a, logits: logits.index_fill(-1, torch.tensor(63), torch.finfo(logits.dtype).min)
    )
    for module in [modules.generation_utils, getattr(modules, "generation_utils_block", modules.generation_utils)]:
        _mend(module.DreamGenerationConfig)
    return model.to(dtype).eval()


def _mend(settings: Any) -> None:
    """Makes the settings of one copy of the code work with this release of transformers, as far as it must.

    The copy of dllm dropped an attribute that transformers reads in every release; transformers 5 also compares with
    defaults that these settings do not have.
    """
    modern = int(importlib.import_module("transformers").__version__.split(".")[0]) >= 5
    if not modern and hasattr(settings(), "return_dict_in_generate"):
        return
    names = ("mask_token_id", "eos_token_id", "pad_token_id", "bos_token_id")
    settings.from_model_config = classmethod(lambda cls, config: cls(**{name: getattr(config, name) for name in names}))
    if modern:
        settings.update = lambda self, **options: [setattr(self, n, v) for n, v in options.items() if hasattr(self, n)]


def prompts() -> Encoded:
    ids = torch.tensor(PROMPTS)
    return Encoded(ids, (ids != 0).long())


def case(name: str, dtype: torch.dtype = torch.float32, **options: Any) -> HookCase:
    """The official sampler: 12 tokens in 6 steps."""
    hook = DreamHook(build(name, dtype))

    def generate(encoded: Encoded, **more: Any) -> torch.Tensor:
        asked = {"max_new_tokens": 12, "steps": 6, "alg": "entropy", **GREEDY, **options, **more}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(7)
            return hook.model.diffusion_generate(encoded.input_ids, attention_mask=encoded.attention_mask, **asked)

    # With Fast-dLLM's forward the hook promises no number beforehand, so the case names it per request.
    steps = 6 if name == "dllm" else [6, 6, 6]
    return HookCase(
        hook, prompts(), generate, steps, generate_sampled=lambda e: generate(e, alg="origin", temperature=1.0)
    )


def in_blocks(name: str, dtype: torch.dtype = torch.float32, **options: Any) -> HookCase:
    """Fast-dLLM's sampler, bound to the object as its own demo does it: one prompt, two blocks of 8."""
    modules, model = code(name), build(name, dtype)
    mixin = modules.generation_utils_block.DreamGenerationMixin
    model.diffusion_generate = types.MethodType(mixin.diffusion_generate, model)
    model._sample = types.MethodType(mixin._sample, model)
    ids = torch.tensor([[21, 22, 23, 24, 25]])
    passes: list[None] = []

    def generate(encoded: Encoded) -> torch.Tensor:
        passes.clear()
        return model.diffusion_generate(encoded.input_ids, max_new_tokens=16, block_length=8, **GREEDY, **options)

    # How many passes it takes is its own affair: count them once.
    handle = model.register_forward_pre_hook(lambda *_: passes.append(None))
    generate(Encoded(ids, torch.ones_like(ids)))
    handle.remove()
    return HookCase(DreamHook(model), Encoded(ids, torch.ones_like(ids)), generate, steps=[len(passes)], batched=False)


BLOCKS = {
    f"{alg}-{'dual' if dual else 'prefix'}": {"alg": alg, "dual_cache": dual, "steps": 8, "threshold": 0.15}
    for alg in ("entropy", "confidence_threshold")
    for dual in (False, True)
}


KNOWN = {
    "dllm-rl": {
        "padding-excluded": "this copy adds its mask of attention, as 0 and 1, to the scores: the model itself sees "
        "its padding"
    }
}


def checks(make: Callable[[], HookCase], known: dict[str, str] | None = None) -> None:
    make()  # Skips here; inside a check that would be a plugin that leaves.
    for check in hook_checks(make, known):
        check()


@pytest.mark.parametrize("name", FOLDERS)
def test_the_official_sampler_keeps_every_promise(name: str) -> None:
    checks(lambda: case(name), KNOWN.get(name))


@pytest.mark.parametrize("alg", RULES)
@pytest.mark.parametrize("name", FOLDERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def test_every_step_is_seen_and_no_token_changes(name: str, alg: str, dtype: torch.dtype) -> None:
    found = measure_hook(case(name, dtype, alg=alg))
    print(f"\ndream {name} {alg} {dtype}: {found}")
    assert found.seen == found.expected == (6, 6, 6) and found.unchanged and not found.reasons
    assert found.gap < 1e-5


@pytest.mark.parametrize(
    "options", [{"alg_temp": 0.5}, {"temperature": 0.7, "top_p": 0.9}, {"eps": 1e-2, "top_k": 8}], ids=str
)
def test_other_settings_change_nothing_about_the_count(options: dict[str, Any]) -> None:
    found = measure_hook(case("dllm", **options))
    assert found.seen == (6, 6, 6) and found.unchanged and not found.reasons


@pytest.mark.parametrize("options", BLOCKS.values(), ids=list(BLOCKS))
def test_fast_dllms_sampler_keeps_every_promise(options: dict[str, Any]) -> None:
    checks(lambda: in_blocks("fast-dllm", **options))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("label", BLOCKS)
def test_every_step_of_fast_dllms_sampler_is_seen(label: str, dtype: torch.dtype) -> None:
    found = measure_hook(in_blocks("fast-dllm", dtype, **BLOCKS[label]))
    print(f"\ndream fast-dllm {label} {dtype}: {found}")
    assert found.seen == found.expected and found.unchanged and not found.reasons
    assert found.gap < 1e-5


@pytest.mark.parametrize("threshold", [0.01, 0.15])
def test_fast_dllms_threshold_without_caches_takes_as_many_steps_as_it_likes(threshold: float) -> None:
    """Below the threshold it goes on beyond the steps that were asked for."""
    example = case("fast-dllm", alg="confidence_threshold", threshold=threshold, steps=6)
    prompt = Encoded(example.encoded.input_ids[2:], example.encoded.attention_mask[2:])
    passes: list[None] = []
    handle = example.hook.model.register_forward_pre_hook(lambda *_: passes.append(None))
    example.generate(prompt)
    handle.remove()
    with sri_sdk.watch(example.hook.model, hook=example.hook) as run:
        example.generate(prompt)
    assert run.traces[0].steps == len(passes) and run._coverage.ended == (True,) and run.failure is None
    assert len(passes) == 6 if threshold == 0.01 else len(passes) > 6


def test_what_the_call_returns_as_an_output_is_understood() -> None:
    example = case("dllm")
    with sri_sdk.watch(example.hook.model, hook=example.hook) as run:
        output = example.hook.model.diffusion_generate(
            example.encoded.input_ids, attention_mask=example.encoded.attention_mask, max_new_tokens=12, steps=6,
            alg="entropy", output_history=True, return_dict=True, **GREEDY,
        )  # fmt: skip
    assert len(output.history) == 6 and torch.equal(output.sequences, example.generate(example.encoded))
    assert all(not trace.reasons for trace in run.traces)


def test_the_hooks_own_forward_gives_the_logits_of_the_official_pass() -> None:
    seen: list[torch.Tensor] = []
    example = case("dllm", generation_logits_hook_func=lambda step, x, logits: seen.append(logits.clone()) or logits)
    example.generate(example.encoded)
    canvas = torch.full((3, 12), 63)
    attention = torch.cat([example.encoded.attention_mask, torch.ones_like(canvas)], 1)
    with torch.no_grad():
        own = example.hook.forward(torch.cat([example.encoded.input_ids, canvas], 1), attention).logits
    assert torch.equal(own[:, 4:-1], seen[0][:, 5:])


DRIVEN = {"maskgit_plus": "low-confidence", "topk_margin": "margin", "entropy": "entropy"}
"""Dream's name of a rule -> our sampler."""


@pytest.mark.parametrize(("tokens", "steps"), [(12, 6), (16, 16), (20, 7)])
@pytest.mark.parametrize("alg", DRIVEN)
@pytest.mark.parametrize("name", ["dllm", "fast-dllm"])
def test_our_samplers_give_the_tokens_of_the_official_one(name: str, alg: str, tokens: int, steps: int) -> None:
    example = case(name, alg=alg, max_new_tokens=tokens, steps=steps)
    official = example.generate(example.encoded)[:, 5:]
    asked = {"tokens": tokens, "steps": steps, "schedule": "linear-time"}
    with torch.inference_mode():
        *_, last = registry.build("samplers", DRIVEN[alg], asked).steps(example.hook, example.encoded, ["a", "b", "c"])
    assert torch.equal(last.draft, official)


def test_a_checkpoint_loads_with_its_own_code(tmp_path: Path) -> None:
    if int(importlib.import_module("transformers").__version__.split(".")[0]) >= 5:
        pytest.skip("the family's code does not load with transformers 5; test_load.py tests that it is said")
    model = build("dllm")
    folder = Path(os.environ["SRI_MODEL_CODE"]) / FOLDERS["dllm"]
    model.save_pretrained(tmp_path)
    for file in folder.glob("*.py"):
        (tmp_path / file.name).write_text(file.read_text(encoding="utf-8"), encoding="utf-8")
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    config["auto_map"] = {"AutoConfig": "configuration_dream.DreamConfig", "AutoModel": "modeling_dream.DreamModel"}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    settings = {
        "_from_model_config": True,
        "mask_token_id": 63,
        "eos_token_id": 2,
        "pad_token_id": 0,
        "bos_token_id": 1,
    }
    (tmp_path / "generation_config.json").write_text(json.dumps(settings), encoding="utf-8")
    words_of_a_tokenizer(tmp_path)
    loaded = DreamHook.load(DreamHook.Config(source=str(tmp_path), trust_remote_code=True))
    hook = DreamHook(loaded.model)
    assert DreamHook.fits(loaded.model).ok and hook.eos_ids() == (2,) and hook.mask_id() == 63
    assert all(torch.equal(a, b) for a, b in zip(loaded.model.parameters(), model.parameters(), strict=True))
    encoded = hook.encode(loaded.tokenizer, ["w5", "w6 w7 w8"], "w9")
    assert encoded.input_ids.tolist()[1] == [9, 6, 7, 8, 1] and encoded.attention_mask.sum(1).tolist() == [3, 5]
    assert hook.decode(loaded.tokenizer, torch.tensor([[11, 12, 2, 13], [14, 15, 16, 17]])) == [
        "w11 w12",
        "w14 w15 w16 w17",
    ]


def words_of_a_tokenizer(folder: Path) -> None:
    """A tokenizer of one token per word: `w5` is token 5."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    special = {"[pad]": 0, "[begin]": 1, "[end]": 2, "[mask]": 63}
    words = {f"w{number}": number for number in range(64) if number not in special.values()}
    inner = Tokenizer(models.WordLevel({**special, **words}, unk_token="[pad]"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="[pad]", bos_token="[begin]", eos_token="[end]", mask_token="[mask]"
    )
    tokenizer.chat_template = "{% for message in messages %}{{ message.content }} {% endfor %}[begin]"
    tokenizer.save_pretrained(folder)
