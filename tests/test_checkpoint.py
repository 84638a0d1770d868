"""Loading weights: what arrives, and the one error for each thing that can be missing."""

import json
import re
import shutil
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
import transformers
from pydantic import ValidationError

from sri_sdk.checkpoint import CheckpointConfig, load_checkpoint
from sri_sdk.checkpoint.refusals import check_stack
from sri_sdk.errors import ConfigError, MissingExtra


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of one layer, and a tokenizer of four words."""
    from tokenizers import Tokenizer, models

    folder = tmp_path_factory.mktemp("tiny")
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=16, hidden_size=8, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1,
    )  # fmt: skip
    transformers.LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    words = Tokenizer(models.WordLevel({"<unk>": 0, "a": 1, "b": 2, "c": 3}, unk_token="<unk>"))
    transformers.PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>").save_pretrained(folder)
    return folder


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    """What transformers is asked for, by class; the call goes through."""
    seen: dict[str, dict[str, Any]] = {}
    for name in ("AutoTokenizer", "AutoModelForCausalLM"):
        found = getattr(transformers, name)

        def from_pretrained(
            source: str, *, _name: str = name, _inner: Any = found.from_pretrained, **options: Any
        ) -> Any:
            seen[_name] = {"source": source, **options}
            return _inner(source, **options)

        monkeypatch.setattr(found, "from_pretrained", from_pretrained)
    return seen


def options(source: Any, **more: Any) -> CheckpointConfig:
    return CheckpointConfig(source=str(source), **more)


def load(source: Any, *, works_with: str = "transformers>=4.57", **more: Any) -> Any:
    wanted = {k: more.pop(k) for k in ("auto", "own_code", "needs", "before") if k in more}
    return load_checkpoint(options(source, **more), family="tiny", works_with=works_with, **wanted)


def refused(source: Any, **more: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        load(source, **more)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def copy_of(tiny: Path, folder: Path, **config: Any) -> Path:
    shutil.copytree(tiny, folder, dirs_exist_ok=True)
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **config}))
    return folder


# -- what arrives -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "found"), [("auto", torch.bfloat16), ("float32", torch.float32), ("float16", torch.float16)]
)
def test_weights_come_in_the_number_format_asked_for(tiny: Path, dtype: Any, found: torch.dtype) -> None:
    loaded = load(tiny, dtype=dtype)
    assert {weight.dtype for weight in loaded.model.parameters()} == {found}
    assert not loaded.model.training
    assert loaded.tokenizer.get_vocab()["b"] == 2
    assert loaded.source == str(tiny)


@pytest.mark.parametrize("where", [None, "cpu", {"": "cpu"}], ids=str)
def test_weights_go_where_the_options_say(tiny: Path, where: Any) -> None:
    if isinstance(where, dict):
        pytest.importorskip("accelerate")
    loaded = load(tiny, device_map=where)
    expected = "cuda" if where is None and torch.cuda.is_available() else "cpu"
    assert {weight.device.type for weight in loaded.model.parameters()} == {expected}
    assert loaded.model(torch.tensor([[1, 2]], device=expected)).logits.shape == (1, 2, 16)


def test_nothing_is_trusted_and_the_main_branch_is_taken_unless_somebody_says_so(tiny: Path, asked: Any) -> None:
    load(tiny)
    for call in asked.values():
        assert (call["revision"], call["trust_remote_code"], call["local_files_only"]) == ("main", False, False)


def test_revision_and_offline_reach_model_and_tokenizer(tiny: Path, asked: Any) -> None:
    loaded = load(tiny, revision="abc123", offline=True)
    for call in asked.values():
        assert (call["revision"], call["local_files_only"]) == ("abc123", True)
    assert loaded.source == f"{tiny}@abc123"


def test_the_attention_code_is_passed_on(tiny: Path) -> None:
    assert load(tiny, attention="eager").model.config._attn_implementation == "eager"


def test_of_several_classes_the_first_that_can_is_taken(tiny: Path) -> None:
    loaded = load(tiny, auto=["AutoModelForMaskedLM", "AutoModelForCausalLM"])
    assert type(loaded.model).__name__ == "LlamaForCausalLM"
    direct = load(tiny, auto="transformers.models.llama.modeling_llama:LlamaForCausalLM")
    assert type(direct.model) is type(loaded.model)


def test_what_a_family_prepares_comes_before_anything_is_loaded(tiny: Path, asked: Any) -> None:
    load(tiny, before=lambda: asked.setdefault("before", dict(asked)))
    assert asked["before"] == {}


# -- code from outside ----------------------------------------------------------------------------------------------


def test_code_from_a_hub_needs_a_revision() -> None:
    with pytest.raises(ValidationError, match="state the commit you have read"):
        options("someone/model", trust_remote_code=True)
    assert options("someone/model", trust_remote_code=True, revision="abc").trust_remote_code


def test_code_from_a_folder_needs_none(tmp_path: Path) -> None:
    assert options(tmp_path, trust_remote_code=True).revision is None


def test_a_family_with_code_of_its_own_is_refused_while_code_is_off(tiny: Path, asked: Any) -> None:
    message = refused(tiny, own_code=True)
    assert "trust_remote_code" in message and "set trust_remote_code: true and revision" in message
    assert not asked


OWN = """
from transformers import LlamaForCausalLM

class OwnLlama(LlamaForCausalLM):
    pass
"""


def test_a_checkpoint_with_code_of_its_own_is_never_run_unasked(tiny: Path, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    folder = copy_of(
        tiny, tmp_path / "own", model_type="own-llama", architectures=["OwnLlama"],
        auto_map={"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnLlama"},
    )  # fmt: skip
    (folder / "own.py").write_text(f"from pathlib import Path\nPath({str(ran)!r}).touch()\n{OWN}")
    assert "set trust_remote_code: true" in refused(folder)
    assert not ran.exists()


def test_a_checkpoint_with_code_of_its_own_runs_when_asked(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    folder = copy_of(tiny, tmp_path / "own", auto_map={"AutoModelForCausalLM": "own.OwnLlama"})
    (folder / "own.py").write_text(OWN)
    loaded = load(folder, trust_remote_code=True, own_code=True)
    assert type(loaded.model).__name__ == "OwnLlama"


def test_code_of_another_repository_must_be_pinned_too(tiny: Path, tmp_path: Path) -> None:
    elsewhere = {"AutoModelForCausalLM": "someone/else--modeling.OwnLlama"}
    folder = copy_of(tiny, tmp_path / "other", auto_map=elsewhere)
    message = refused(folder, trust_remote_code=True)
    assert "takes its code from someone/else" in message and "code_revision" in message


# -- what is missing --------------------------------------------------------------------------------------------------


def test_another_version_of_transformers_is_one_error_with_the_versions_that_work(tiny: Path, asked: Any) -> None:
    message = refused(tiny, works_with="transformers>=4.20,<4.21")
    assert f"transformers {transformers.__version__} is installed" in message
    assert "Known to work: transformers<4.21,>=4.20" in message
    assert 'pip install "transformers>=4.20,<4.21"' in message
    assert not asked


@pytest.mark.parametrize("version", ["4.57.6", "5.0.0rc1", "5.24.0.dev0"])
def test_a_candidate_or_a_build_from_source_counts_as_its_release(
    tiny: Path, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metadata, "version", lambda _name: version)
    check_stack("tiny", "transformers>=4.57", [])


def test_every_package_that_is_missing_is_in_one_error(tiny: Path) -> None:
    message = refused(tiny, works_with="transformers<4", needs=["no-such-package>=2", "another-one"])
    assert "transformers" in message and "no-such-package is not installed; another-one is not installed" in message
    assert '"no-such-package>=2" "another-one"' in message


def test_a_missing_stack_names_the_extra(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sri_sdk.checkpoint.load.find_spec", lambda name: None if name == "transformers" else object())
    with pytest.raises(MissingExtra, match=r"sri-sdk\[capture\]"):
        load(tiny)


@pytest.mark.parametrize("bits", ["8bit", "4bit"])
def test_fewer_bits_need_a_package(tiny: Path, bits: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    found = metadata.version

    def version(name: str) -> str:
        if name in ("bitsandbytes", "accelerate"):
            raise metadata.PackageNotFoundError(name)
        return found(name)

    monkeypatch.setattr(metadata, "version", version)
    message = refused(tiny, quantization=bits)
    assert "accelerate is not installed; bitsandbytes is not installed" in message
    assert "accelerate is not installed" in refused(tiny, device_map="auto")
    assert "accelerate is not installed" in refused(tiny, device_map={"": "cpu"})


def test_a_folder_that_is_not_there_says_what_to_give(tmp_path: Path) -> None:
    message = refused(tmp_path / "nothing")
    assert "does not exist" in message and "Give a folder with config.json" in message
    assert "neither a folder nor downloaded before" in refused("nobody/nothing", offline=True)
    (tmp_path / "empty").mkdir()
    assert re.search(r"Give a folder with config.json|known to work", refused(tmp_path / "empty"))


def test_a_config_that_is_damaged_is_one_line(tiny: Path, tmp_path: Path) -> None:
    folder = copy_of(tiny, tmp_path / "damaged")
    (folder / "config.json").write_text("{")
    assert str(folder) in refused(folder)


def test_weights_that_are_damaged_are_one_line(tiny: Path, tmp_path: Path) -> None:
    folder = copy_of(tiny, tmp_path / "damaged")
    (folder / "model.safetensors").write_bytes(b"\0" * 64)
    assert str(folder) in refused(folder)


def test_weights_of_another_shape_are_one_line(tiny: Path, tmp_path: Path) -> None:
    assert "cannot be loaded" in refused(copy_of(tiny, tmp_path / "wide", hidden_size=16))


def test_a_kind_of_model_that_the_classes_do_not_know_names_the_list_of_hooks(tiny: Path) -> None:
    assert "sri plugins list --kind hooks" in refused(tiny, auto="AutoModelForMaskedLM")


def test_weights_that_would_be_random_are_refused(tiny: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = copy_of(tiny, tmp_path / "headless")
    weights = load_file(folder / "model.safetensors")
    del weights["lm_head.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    message = refused(folder)
    assert "lm_head.weight" in message and "would be random" in message
    # Where head and embedding are one, the file holds it once.
    tied = copy_of(folder, tmp_path / "tied", tie_word_embeddings=True)
    assert load(tied).model.lm_head.weight.shape == (16, 8)


def test_a_device_that_does_not_exist_is_named_with_the_others(tiny: Path) -> None:
    message = refused(tiny, device_map="gpu")
    assert "device_map: found 'gpu'" in message and "cuda:0" in message


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has the GPU that the test wants to miss")
def test_a_device_that_this_machine_lacks_is_one_line(tiny: Path) -> None:
    assert "do not go to cuda:0" in refused(tiny, device_map="cuda:0")


def test_misspelt_options_are_refused() -> None:
    for wrong in ({"source": ""}, {"source": "x", "dtype": "bf16"}, {"source": "x", "revison": "main"}, {}):
        with pytest.raises(ValidationError):
            CheckpointConfig(**wrong)


def test_a_hook_on_a_live_model_needs_none_of_the_options_that_load_one() -> None:
    from sri_plugin_causal.hook import CausalHook

    hook = CausalHook(torch.nn.Linear(1, 1))
    assert (hook.config.dtype, hook.config.template) == ("auto", {})


class JudgeCheckpoint(CheckpointConfig):
    subject: ClassVar[str] = "judge"
    section: ClassVar[str] = "judge.options"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"source": "./nowhere"}, r"^judge\.options\.source: folder ./nowhere"),
        ({"source": "a/b", "offline": True}, r"^judge tiny: a/b cannot be loaded"),
        ({"device_map": "nowhere:7"}, r"^judge\.options\.device_map: found 'nowhere:7'"),
    ],
)
def test_a_plugin_of_another_kind_is_named_with_its_own_section(tiny: Path, more: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_checkpoint(JudgeCheckpoint(**{"source": str(tiny), **more}), family="tiny")


def test_a_plugin_that_is_no_hook_is_not_told_to_name_one(tiny: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny, tmp_path / "other"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "unheard-of"}))
    with pytest.raises(ConfigError, match=r"choose one that suits this plugin\.$") as caught:
        load_checkpoint(JudgeCheckpoint(source=str(folder)), family="tiny")
    assert "plugins list" not in str(caught.value)
