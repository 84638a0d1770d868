"""What `sublayers` finds is what the blocks add to the residual stream."""

import pytest
import torch
import transformers

import sri_sdk
import sri_sdk.registry
from sri_sdk import Ablate, Where
from sri_sdk.errors import SriError
from sri_sdk.structure import sublayers_of
from tests.steer.steered import direction_for, states

SMALL = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 64,
    "num_key_value_heads": 2, "head_dim": 8, "pad_token_id": 0, "max_position_embeddings": 64,
}  # fmt: skip
OWN = {
    "GPT2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64},
    "GPTJ": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "rotary_dim": 4},
    "Bloom": {"n_layer": 2, "n_head": 4},
    "Falcon": {"num_kv_heads": 4},
    "Mpt": {"d_model": 32, "n_heads": 4, "n_layers": 2, "max_seq_len": 64},
    "OPT": {"ffn_dim": 48, "word_embed_proj_dim": 32},
}
FAMILIES = (
    "Llama", "Qwen2", "Qwen3", "Gemma", "Gemma2", "Glm4", "Olmo2", "GPTNeoX", "Bloom", "Falcon", "Mpt", "OPT", "GPT2",
    "GPTJ", "Phi", "Phi3", "StableLm", "Cohere",
)  # fmt: skip


def built(name: str, kind: str = "ForCausalLM"):
    options = {"vocab_size": 64, **(OWN[name] if "n_layer" in OWN.get(name, {}) else {**SMALL, **OWN.get(name, {})})}
    if name == "Bloom":
        options["hidden_size"] = 32
    if name == "Falcon":
        options.pop("head_dim")
    config = getattr(transformers, f"{name}Config")(**options)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        head = "LMHeadModel" if name == "GPT2" else kind
        return getattr(transformers, f"{name}{head}")(config).eval()


@torch.no_grad()
@pytest.mark.parametrize("name", FAMILIES)
def test_a_block_puts_out_what_it_read_and_what_its_attention_and_mlp_put_out(name) -> None:
    hook = sri_sdk.registry.load("hooks", "causal")(built(name))
    read, made, added = {}, {}, {}

    def reads(number: int):
        return lambda _m, args, kwargs: read.update({number: (args[0] if args else kwargs["hidden_states"]).clone()})

    for number, block in enumerate(hook.layers()):
        block.register_forward_pre_hook(reads(number), with_kwargs=True)
        block.register_forward_hook(lambda _m, _a, o, n=number: made.update({n: states(o)}))
        for kind in ("attention", "mlp"):
            module = hook.sublayers(kind)[number]
            module.register_forward_hook(lambda _m, _a, o, n=(number, kind): added.update({n: states(o)}))
    hook.model(torch.arange(2, 20).reshape(2, 9))
    for number in range(2):
        parts = added[number, "attention"] + added[number, "mlp"].reshape(made[number].shape)
        torch.testing.assert_close(read[number] + parts, made[number], rtol=1e-4, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("name", ["Bert", "Roberta", "DistilBert"])
def test_of_models_that_norm_behind_the_sum_it_is_what_goes_into_the_sum(name) -> None:
    options = {"dim": 32, "hidden_dim": 48, "n_layers": 2, "n_heads": 4} if name == "DistilBert" else {}
    config = getattr(transformers, f"{name}Config")(**{**SMALL, **options})
    model = getattr(transformers, f"{name}ForMaskedLM")(config).eval()
    model.config.mask_token_id = 3
    hook = sri_sdk.registry.load("hooks", "masked-lm")(model)
    block, inputs, added = hook.layers()[0], [], []
    norm = block.sa_layer_norm if name == "DistilBert" else block.attention.output.LayerNorm
    norm.register_forward_pre_hook(lambda _m, args: inputs.append(args[0].clone()))
    block.register_forward_pre_hook(lambda _m, args: inputs.append(args[0].clone()))
    hook.sublayers("attention")[0].register_forward_hook(lambda _m, _a, o: added.append(states(o)))
    model(torch.arange(4, 12)[None])
    torch.testing.assert_close(inputs[0] + added[0], inputs[1])


def test_the_families_with_stand_ins_of_their_own_name_both() -> None:
    for name, kinds in {"llada": "am", "dream": "am", "lab-diffusion": "am", "sdar": "am", "llada2": "m"}.items():
        hook = sri_sdk.registry.load("hooks", name).example().hook
        for kind in ("attention", "mlp"):
            if kind[0] in kinds:
                assert len(hook.sublayers(kind)) == len(hook.layers())


def test_a_family_without_such_names_is_told_what_its_blocks_have() -> None:
    hook = sri_sdk.registry.load("hooks", "toy").example().hook
    with pytest.raises(SriError, match=r"ToyHook.sublayers\('attention'\): block 0 has none of .* but look, think"):
        sri_sdk.steer(hook, direction_for(hook), Ablate(), where=Where(sites=("attention",)))


def test_each_block_is_looked_at_for_itself() -> None:
    one, two = torch.nn.Module(), torch.nn.Module()
    one.self_attn, two.attention = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)
    assert sublayers_of([one, two], "attention", "X") == [one.self_attn, two.attention]
    with pytest.raises(SriError, match="block 1 has none"):
        sublayers_of([one, torch.nn.Module()], "attention", "X")
