"""Directions on disk: what is written is read, and whatever is something else is refused in words."""

import json
import os
import stat
import struct
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

import sri_sdk
from sri_sdk.errors import BundleError, ConfigError, ModelMismatch
from sri_sdk.steer import file as module
from sri_sdk.steer.direction import Direction
from sri_sdk.steer.file import FORMAT, load_direction, save_direction
from sri_sdk.steer.identity import check_model, identity
from sri_sdk.steer.make import extract_directions

VECTORS, MEANS = np.array([[0.6, 0.8]], np.float32), np.array([[0, 1, 2], [3, 4, 5]], np.float32)
GOOD = {"format": FORMAT, "name": "refusal", "towards": "refusing", "provenance": "{}", "warning": "x"}


@pytest.fixture
def direction() -> Direction:
    return Direction("refusal", VECTORS, "refusing", MEANS, {"place": "post+1", "n": 3, "text": "ü"})


def test_what_is_written_is_read_back_bit_for_bit(direction, tmp_path: Path) -> None:
    save_direction(direction, tmp_path / "a" / "refusal.safetensors")
    found = load_direction(tmp_path / "a" / "refusal.safetensors")
    assert found.vectors.tobytes() == VECTORS.tobytes() and found.means.tobytes() == MEANS.tobytes()
    assert (found.name, found.towards, found.provenance) == ("refusal", "refusing", direction.provenance)
    assert [each.name for each in (tmp_path / "a").iterdir()] == ["refusal.safetensors"]


def test_the_same_direction_makes_the_same_bytes_and_replaces_an_older_file(direction, tmp_path: Path) -> None:
    save_direction(direction, tmp_path / "one")
    (tmp_path / "two").write_text("older")
    save_direction(direction, tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_the_file_is_its_owner_s_alone_and_says_why(direction, tmp_path: Path) -> None:
    save_direction(direction, tmp_path / "one")
    assert stat.S_IMODE((tmp_path / "one").stat().st_mode) == 0o600
    assert b"takes the model's refusals away" in (tmp_path / "one").read_bytes()


def test_a_failing_write_leaves_the_older_file(direction, tmp_path: Path) -> None:
    save_direction(direction, tmp_path / "one")
    before = (tmp_path / "one").read_bytes()
    unwritable = Direction("x", VECTORS, "x", MEANS, {"n": float("nan")})
    with pytest.raises(ConfigError, match="provenance is not JSON: n: nan is not a JSON number"):
        save_direction(unwritable, tmp_path / "one")
    assert (tmp_path / "one").read_bytes() == before


def written(folder: Path, *, metadata: dict | None = None, **arrays: np.ndarray) -> Path:
    path = folder / "made.safetensors"
    path.write_bytes(save({"vectors": VECTORS, "means": MEANS, **arrays}, GOOD if metadata is None else metadata))
    return path


def without(key: str) -> dict:
    return {name: value for name, value in GOOD.items() if name != key}


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"metadata": {}}, "format 'None'"),
        ({"metadata": without("format")}, "format 'None', this release reads 'sri-direction 1'"),
        ({"metadata": GOOD | {"format": "sri-direction 2"}}, "format 'sri-direction 2'"),
        ({"metadata": without("towards")}, "its metadata has no towards"),
        ({"metadata": GOOD | {"provenance": "[]"}}, "its provenance is no object"),
        ({"metadata": GOOD | {"provenance": '{"a": NaN}'}}, "its provenance is NaN is not a JSON number"),
        ({"metadata": GOOD | {"provenance": '{"a": 1, "a": 2}'}}, "a key is written twice"),
        ({"weights": VECTORS}, "it has arrays means, vectors, weights"),
        ({"vectors": VECTORS.astype(np.float16)}, "vectors is F16, and F32 is needed"),
        ({"vectors": VECTORS.astype(np.float64)}, "vectors is F64, and F32 is needed"),
        ({"means": MEANS.astype(np.int64)}, "means is I64, and F32 is needed"),
        ({"vectors": VECTORS * 2}, "length differs from 1"),
        ({"vectors": np.array([[np.nan, 1]], np.float32)}, "contains NaN"),
        ({"means": MEANS + np.float32(np.inf)}, "contains NaN or infinity"),
        ({"vectors": np.zeros((0, 2), np.float32)}, "float32 array"),
        ({"vectors": np.repeat(VECTORS, 2, 0)}, "2 vectors for 3 blocks"),
    ],
)
def test_anything_else_is_refused_with_its_path(tmp_path: Path, changes: dict, problem: str) -> None:
    path = written(tmp_path, **changes)
    with pytest.raises(BundleError, match=problem) as caught:
        load_direction(path)
    assert str(caught.value).startswith(str(path))


def test_every_truncated_file_is_refused(direction, tmp_path: Path) -> None:
    save_direction(direction, tmp_path / "one")
    content = (tmp_path / "one").read_bytes()
    for size in range(len(content)):
        (tmp_path / "cut").write_bytes(content[:size])
        with pytest.raises(BundleError):
            load_direction(tmp_path / "cut")
    (tmp_path / "cut").write_bytes(content + b"\0")
    with pytest.raises(BundleError, match="damaged"):
        load_direction(tmp_path / "cut")


def test_no_changed_byte_raises_anything_but_a_bundle_error(direction, tmp_path: Path) -> None:
    save_direction(direction, tmp_path / "one")
    content, rng = (tmp_path / "one").read_bytes(), np.random.default_rng(0)
    for at in rng.integers(0, len(content), 400):
        spoilt = bytearray(content)
        spoilt[at] ^= int(rng.integers(1, 256))
        (tmp_path / "spoilt").write_bytes(spoilt)
        try:
            load_direction(tmp_path / "spoilt")
        except BundleError:
            continue


def test_a_header_that_claims_more_than_there_is_costs_no_memory(tmp_path: Path) -> None:
    header = json.dumps({"__metadata__": GOOD, "vectors": {"dtype": "F32", "shape": [1, 2**40], "data_offsets": [0, 8]},
                         "means": {"dtype": "F32", "shape": [2, 3], "data_offsets": [8, 32]}}).encode()  # fmt: skip
    path = tmp_path / "claims"
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(32))
    with pytest.raises(BundleError, match="damaged"):
        load_direction(path)
    path.write_bytes(struct.pack("<Q", 2**60) + header)
    with pytest.raises(BundleError, match="does not begin as a safetensors file"):
        load_direction(path)


def test_a_file_that_is_too_large_is_not_read(direction, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_direction(direction, tmp_path / "one")
    monkeypatch.setattr(module, "LARGEST", 100)
    with pytest.raises(BundleError, match="larger than 100 bytes"):
        load_direction(tmp_path / "one")
    with pytest.raises(ConfigError, match="files of at most 100"):
        save_direction(direction, tmp_path / "two")
    assert not (tmp_path / "two").exists()


def test_a_folder_is_never_replaced(direction, tmp_path: Path) -> None:
    (tmp_path / "keep").mkdir()
    (tmp_path / "keep/this").write_text("x")
    with pytest.raises(ConfigError, match="is a folder, and is not replaced"):
        save_direction(direction, tmp_path / "keep")
    assert (tmp_path / "keep/this").read_text() == "x"


def test_what_is_no_file_is_an_error_in_words(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "none", tmp_path, tmp_path / "pipe", "a\0b"):
        with pytest.raises(BundleError, match="cannot be read"):
            load_direction(path)


# -- the model it belongs to -----------------------------------------------------------------------------------


@pytest.fixture
def own(diffusion) -> Direction:
    kinds = diffusion.prompts("harmless", 8), diffusion.prompts("harmful", 8)
    return extract_directions(diffusion.hook, diffusion.loaded.tokenizer, *kinds, name="harm", towards="harmful")


def test_its_own_model_is_accepted_also_after_a_file(own, diffusion, tmp_path: Path) -> None:
    save_direction(own, tmp_path / "one")
    assert check_model(load_direction(tmp_path / "one"), diffusion.hook) == ()
    assert check_model(own, diffusion.hook, "be kind") == ("system_prompt",)


def test_another_model_of_the_same_shape_is_refused(own, causal, diffusion) -> None:
    with pytest.raises(ModelMismatch, match="direction 'harm': architecture is LlamaForCausalLM here, and was LabDiff"):
        check_model(own, causal.hook)
    weight = next(diffusion.loaded.model.parameters())
    weight.data.mul_(2)
    try:
        with pytest.raises(ModelMismatch, match="weights_digest is "):
            check_model(own, diffusion.hook)
    finally:
        weight.data.mul_(0.5)
    assert check_model(own, diffusion.hook) == ()


def test_a_direction_that_names_no_model_or_was_put_together_is_refused(own, diffusion, direction) -> None:
    with pytest.raises(ModelMismatch, match="does not say which model"):
        check_model(direction, diffusion.hook)
    stolen = Direction("x", VECTORS, "x", MEANS, {"model": identity(diffusion.hook, None)})
    with pytest.raises(ModelMismatch, match="vectors of width 2 for 3 blocks; the model has width 128 and 4"):
        check_model(stolen, diffusion.hook)


def test_a_model_of_the_same_shape_is_not_steered_along_another_s_direction(own, diffusion) -> None:
    hook_class = type(diffusion.hook)
    other = hook_class(hook_class.load(hook_class.Config(weights="diffusion-2")).model)
    with pytest.raises(ModelMismatch, match=r"weights_digest is .* here"):
        sri_sdk.steer(other, own, sri_sdk.Ablate())
    with sri_sdk.steer(diffusion.hook, own, sri_sdk.Ablate()) as steering:
        diffusion.hook.forward(*_ids(diffusion))
    assert steering.counts["block 3"] == 1


def _ids(lab) -> tuple:
    encoded = lab.hook.encode(lab.loaded.tokenizer, ["steal the kite ?"])
    return encoded.input_ids, encoded.attention_mask


def test_no_text_of_a_prompt_is_in_the_provenance(own, diffusion) -> None:
    told = json.dumps(dict(own.provenance))
    assert not [p.id for p in diffusion.prompts("harmful", 8) if p.text in told]
    assert own.provenance["prompts"]["with"]["n"] == 8 and len(own.provenance["prompts"]["with"]["digest"]) == 64
