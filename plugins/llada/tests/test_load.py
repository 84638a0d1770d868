"""Loading by name: what is not possible is said in one sentence, and a checkpoint with its own code is loaded whole."""

import json
from importlib import metadata
from types import SimpleNamespace

import pytest
import torch
from sri_plugin_llada.hook import LladaHook, _mask_of

from sri_sdk import Prompt, StepGrid, drive, registry
from sri_sdk.capture.settings import WatchSettings
from sri_sdk.config.load import load_config
from sri_sdk.errors import ConfigError

OPTIONS = {"source": "GSAI-ML/LLaDA-8B-Instruct", "revision": "main", "offline": True}
FIVE = int(metadata.version("transformers").split(".")[0]) >= 5
CONFIGS = ("llada-8b-instruct", "llada-1.5", "illada-8b", "llada-moe-7b-a1b-instruct", "mmada-8b")
only_four = pytest.mark.skipif(FIVE, reason="transformers 5 is refused before")


@pytest.mark.skipif(not FIVE, reason="needs transformers 5")
def test_another_release_of_transformers_is_named_with_the_one_to_install() -> None:
    with pytest.raises(ConfigError, match=r"hook llada: transformers 5\..* is installed.*pip install \"transformers"):
        LladaHook.load(LladaHook.Config(**OPTIONS, trust_remote_code=True))


@only_four
def test_code_from_a_checkpoint_runs_only_where_somebody_said_so() -> None:
    with pytest.raises(ConfigError, match="trust_remote_code: llada checkpoints bring their own model code"):
        LladaHook.load(LladaHook.Config(**OPTIONS))


@only_four
def test_a_model_class_that_cannot_be_imported_is_named(tmp_path) -> None:
    from transformers import PreTrainedTokenizerFast

    save_tokenizer(PreTrainedTokenizerFast, tmp_path)
    with pytest.raises(ConfigError, match="No module named 'nowhere_at_all'"):
        LladaHook.load(LladaHook.Config(source=str(tmp_path), model_class="nowhere_at_all:MMadaModelLM"))


def test_a_mask_that_the_config_lacks_is_the_tokenizers() -> None:
    declared = SimpleNamespace(mask_token_id=7)
    spelt = SimpleNamespace(mask_token_id=None, get_vocab=lambda: {"a": 1, "<|mask|>": 9})
    without = SimpleNamespace(mask_token_id=None, get_vocab=lambda: {"a": 1})
    assert [_mask_of(one) for one in (declared, spelt, without)] == [7, 9, None]


@pytest.mark.parametrize("name", CONFIGS)
def test_a_shipped_file_has_the_papers_profile_and_runs_no_code_by_itself(name: str, pytestconfig) -> None:
    config = load_config(pytestconfig.rootpath / "configs" / f"{name}.yaml")
    assert config.model.hook == "llada" and config.model.options["trust_remote_code"] is False
    sampler = registry.build("samplers", config.sampler.name, config.sampler.options)
    assert (sampler.budget(), sampler.canvas(), config.tap.pooling) == (32, 128, "response")


def save_tokenizer(kind, path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    special = ["<pad>", "<s>", "</s>", "<unk>", "<x>", "<|mdm_mask|>"]
    words = [*special, *"you are a helpful assistant hi there how is bread made".split()]
    made = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = kind(tokenizer_object=made, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m['content'] + ' ' }}{% endfor %}{% if add_generation_prompt %}<s>{% endif %}"
    )
    tokenizer.save_pretrained(path)


@only_four
@pytest.mark.parametrize("how", ["the checkpoint's code", "model_class"])
def test_a_checkpoint_is_loaded_and_driven(real, tmp_path, monkeypatch, how) -> None:
    import transformers.dynamic_module_utils as modules
    from transformers import PreTrainedTokenizerFast

    model = real.llada("MMaDA-base")
    model.save_pretrained(tmp_path)
    save_tokenizer(PreTrainedTokenizerFast, tmp_path)
    if how == "model_class":
        options = {"model_class": f"{type(model).__module__}:LLaDAModelLM"}
    else:
        monkeypatch.setattr(modules, "HF_MODULES_CACHE", str(tmp_path / "modules"))
        for name in ("configuration_llada.py", "modeling_llada.py"):
            (tmp_path / name).write_bytes(real.folder("MMaDA", "models", name).read_bytes())
        said = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
        said["auto_map"] = {
            "AutoConfig": "configuration_llada.LLaDAConfig", "AutoModel": "modeling_llada.LLaDAModelLM"
        }  # fmt: skip
        (tmp_path / "config.json").write_text(json.dumps(said), encoding="utf-8")
        options = {"trust_remote_code": True}
    loaded = LladaHook.load(LladaHook.Config(source=str(tmp_path), dtype="float32", device_map="cpu", **options))
    assert LladaHook.fits(loaded.model).ok
    hook = LladaHook(loaded.model)
    assert (hook.mask_id(), hook.eos_ids(), hook.hidden_size()) == (real.MASK, (real.EOS,), 32)
    assert torch.equal(hook.final_norm().weight, model.model.transformer.ln_f.weight)
    sampler = registry.build("samplers", "low-confidence", {"steps": 8, "tokens": 16})
    settings = WatchSettings("response", grid=StepGrid(8, "step", 8), keep_states=True)
    asked = [Prompt("1", "hi there", "harmless"), Prompt("2", "how is bread made", "harmless")]
    batch = drive(hook, loaded, sampler, asked, settings, system_prompt="you are a helpful assistant")
    for _ in batch:
        pass
    assert [trace.steps for trace in batch.run.traces] == [8, 8] and len(batch.texts) == 2
    assert not any(trace.reasons for trace in batch.run.traces)
