"""Loads the family's published model code from SRI_MODEL_CODE: checkouts of its repositories, under their names.

Modules are imported from their paths, never copied. A folder of them becomes a package without its `__init__`, which
would import much that has nothing to do with the model.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import importlib.util
import io
import os
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

FIVE = int(transformers.__version__.split(".")[0]) >= 5
MASK, EOS, PAD, VOCABULARY = 5, 2, 0, 192
SHAPE = {
    "vocab_size": VOCABULARY, "embedding_size": VOCABULARY, "d_model": 32, "n_heads": 2, "n_layers": 2,
    "mlp_hidden_size": 48, "block_type": "llama", "rope": True, "weight_tying": False, "layer_norm_type": "rms",
    "activation_type": "silu", "max_sequence_length": 256, "attention_dropout": 0.0, "residual_dropout": 0.0,
    "embedding_dropout": 0.0, "init_device": "cpu", "mask_token_id": MASK, "eos_token_id": EOS, "pad_token_id": PAD,
}  # fmt: skip
"""A LLaDA of two layers; the mask is iLLaDA's."""
_packages: dict[str, Any] = {}


def folder(*parts: str) -> Path:
    """A folder or file of the checkouts; skips the test where it is not there."""
    root = os.environ.get("SRI_MODEL_CODE")
    if not root:
        pytest.skip("SRI_MODEL_CODE is not set: a folder with checkouts of the model repositories, see README.md")
    found = Path(root).joinpath(*parts)
    if not found.exists():
        pytest.skip(f"SRI_MODEL_CODE has no {'/'.join(parts)}")
    return found


def module_of(package: str, where: Path, name: str) -> Any:
    """A module in a folder, which is made a package of its own name."""
    if package not in _packages:
        made = types.ModuleType(package)
        made.__path__ = [str(where)]
        _packages[package] = sys.modules[package] = made
    with _prepared():
        try:
            return importlib.import_module(f"{package}.{name}")
        except ModuleNotFoundError as err:
            if not (err.name or "").startswith("transformers."):
                raise
            pytest.skip(f"{name}.py does not load on transformers {transformers.__version__}: {err}")


def script(path: Path, **aliases: Any) -> Any:
    """A script such as generate.py, with modules it expects at top level."""
    name = f"script_{path.parent.name.replace('-', '_')}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None
        made = importlib.util.module_from_spec(spec)
        before = {alias: sys.modules.get(alias) for alias in aliases}
        sys.modules.update(aliases)
        try:
            spec.loader.exec_module(made)
        finally:
            for alias, module in before.items():
                sys.modules.pop(alias)
                if module is not None:
                    sys.modules[alias] = module
        sys.modules[name] = made
    return sys.modules[name]


@contextlib.contextmanager
def _prepared() -> Iterator[None]:
    """What published code wants at import and does not need here: packages for pictures, and a compiler."""
    compiled, torch.compile = torch.compile, lambda *_a, **_k: lambda function: function
    made = []
    for name, part in (("einops", "rearrange"), ("PIL", "Image")):
        if name not in sys.modules and importlib.util.find_spec(name) is None:
            sys.modules[name] = types.ModuleType(name)
            setattr(sys.modules[name], part, None)
            made.append(name)
    try:
        yield
    finally:
        torch.compile = compiled
        for name in made:
            sys.modules.pop(name)


def random_weights(model: torch.nn.Module, *, head: torch.Tensor) -> Any:
    """Weights that make predictions differ from position to position; never the mask, as after training."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        for weight in model.parameters():
            if weight.dim() == 2:
                torch.nn.init.normal_(weight, std=2 * weight.shape[1] ** -0.5)
        for module in model.modules():
            if isinstance(module, torch.nn.Embedding):
                torch.nn.init.normal_(module.weight, std=0.3)
        head[MASK] *= 0.1
    return model.eval()


def llada(source: str = "dllm", **config: Any) -> Any:
    """LLaDAModelLM of two layers, from one of the repositories that hold its code.

    Args:
        source: dllm, Fast-dLLM, MMaDA, or MMaDA-base: the plain LLaDA class that MMaDA's extends.
        config: what differs from SHAPE.
    """
    places = {
        "dllm": ("dllm", "dllm", "pipelines", "llada", "models"),
        "Fast-dLLM": ("Fast-dLLM", "llada", "model"),
        "MMaDA": ("MMaDA", "models"),
    }
    repository = source.removesuffix("-base")
    where, package = folder(*places[repository]), f"real_{repository.lower().replace('-', '_')}"
    configs = module_of(package, where, "configuration_llada")
    models = module_of(package, where, "modeling_llada")
    shape = {**dataclasses.asdict(configs.ModelConfig()), **SHAPE, **config}
    kind, said = models.LLaDAModelLM, configs.LLaDAConfig(**shape)
    if source == "MMaDA":
        methods = module_of(package, where, "modeling_mmada")
        kind, said = methods.MMadaModelLM, methods.MMadaConfig(**shape)
    said.use_cache = False
    if FIVE:
        _shim(kind, said)
    inner = models.create_model_config_from_pretrained_config(said)
    # The wrapper of some copies puts what it builds on a GPU.
    core = models.LLaDAModel(inner, init_params=True)
    with contextlib.redirect_stdout(io.StringIO()):  # MMaDA's tells its whole config
        model = kind(said, model=core)
    head = core.transformer.wte if said.weight_tying else core.transformer.ff_out
    return random_weights(model, head=head.weight)


def llada_moe() -> Any:
    """LLaDAMoEModelLM of two layers, one of them with experts."""
    where = folder("dllm", "dllm", "pipelines", "llada", "models")
    configs = module_of("real_dllm", where, "configuration_lladamoe")
    models = module_of("real_dllm", where, "modeling_lladamoe")
    said = configs.LLaDAMoEConfig(
        vocab_size=VOCABULARY, hidden_size=32, dense_intermediate_size=48, expert_intermediate_size=24,
        shared_expert_intermediate_size=None, num_hidden_layers=2, num_attention_heads=2, max_position_embeddings=256,
        rope_theta=10000.0, partial_rotary_factor=1.0, num_experts_per_tok=2, num_experts=4, qk_layernorm=True,
        moe_layer_freq=[0, 1], pad_token_id=PAD, eos_token_id=EOS, mask_token_id=MASK,
    )  # fmt: skip
    said._attn_implementation = "sdpa"
    if FIVE:
        _shim(models.LLaDAMoEModelLM, said)
    model = models.LLaDAMoEModelLM(said)
    return random_weights(model, head=model.lm_head.weight)


def _shim(kind: Any, config: Any) -> None:
    """What code written for transformers 4 lacks under 5. It changes no number."""
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    kind.all_tied_weights_keys = {}
    kind.tie_weights = lambda self, *_a, **_k: None
    for name, value in (("output_attentions", False), ("output_hidden_states", False), ("use_return_dict", True)):
        if not hasattr(config, name):
            setattr(config, name, value)
    ROPE_INIT_FUNCTIONS.setdefault("default", _plain_rope)


def _plain_rope(config: Any, device: Any = None, **_: Any) -> tuple[torch.Tensor, float]:
    """Frequencies [d / 2] of rotary embeddings without scaling, and the factor on attention."""
    size = config.hidden_size // config.num_attention_heads
    return 10_000.0 ** (-torch.arange(0, size, 2, device=device) / size), 1.0


def official(name: str) -> Any:
    """A repository's own samplers: llada, fast-dllm or mmada (`generate`), dllm (`MDLMSampler` and its config)."""
    if name == "llada":
        return script(folder("LLaDA", "generate.py"))
    if name == "fast-dllm":
        where = folder("Fast-dLLM", "llada", "model")
        models = module_of("real_fast_dllm", where, "modeling_llada")
        return script(
            folder("Fast-dLLM", "llada", "generate.py"), **{"model": _packages["real_fast_dllm"],
            "model.modeling_llada": models},
        )  # fmt: skip
    if name == "mmada":
        llada("MMaDA")
        return script(folder("MMaDA", "generate.py"), models=sys.modules["real_mmada.modeling_mmada"])
    root = folder("dllm", "dllm")
    for part in ("", "core", "core.samplers", "core.schedulers"):
        package = f"dllm.{part}".rstrip(".")
        if package not in sys.modules:
            made = types.ModuleType(package)
            made.__path__ = [str(root.joinpath(*part.split(".")) if part else root)]
            sys.modules[package] = made
    schedulers = importlib.import_module("dllm.core.schedulers.alpha")
    for given in ("BaseAlphaScheduler", "LinearAlphaScheduler"):
        setattr(sys.modules["dllm.core.schedulers"], given, getattr(schedulers, given))
    return importlib.import_module("dllm.core.samplers.mdlm")


@pytest.fixture
def real() -> types.SimpleNamespace:
    """Builders of the published classes, and the published samplers."""
    return types.SimpleNamespace(llada=llada, llada_moe=llada_moe, official=official, folder=folder, MASK=MASK, EOS=EOS)
