from dataclasses import replace

import numpy as np
import pytest

from sri_sdk.anchors import AnchorBuilder, Anchors
from sri_sdk.errors import CaptureError, ConfigError, ModelMismatch
from sri_sdk.fingerprint import Fingerprint
from sri_sdk.request_map import RequestMap
from sri_sdk.strict_json import json_from_array

PRINT = Fingerprint({"architecture": "a"}, {})


def states(count, seed=0):
    return np.random.default_rng(seed).normal(size=(count, 3, 1, 8)).astype(np.float32)


def built(harmless, harmful):
    builder = AnchorBuilder((3, 1, 8))
    for phi in harmless:
        builder.add("harmless", "harmless", phi, prompt_id="a")
    for phi in harmful:
        builder.add("harmful", "refusal", phi, prompt_id="b")
    return builder


def test_anchors_are_the_means_of_answered_harmless_and_refused_harmful():
    harmless, harmful = states(5, 1), states(4, 2)
    builder = built(harmless, harmful)
    assert not builder.add("harmless", "refusal", states(1)[0], prompt_id="c")
    assert not builder.add("harmful", "harmful", states(1)[0], prompt_id="d")
    anchors = builder.build(PRINT, {})
    assert np.allclose(anchors.harmless, harmless.mean(0), atol=1e-6)
    assert np.allclose(anchors.harmful, harmful.mean(0), atol=1e-6)
    assert anchors.provenance["counts"] == {"harmless": {"used": 5, "seen": 6}, "harmful": {"used": 4, "seen": 5}}


def test_the_order_of_generations_does_not_show():
    harmless, harmful = states(50, 1) * 100, states(50, 2)
    assert built(harmless, harmful).build(PRINT, {}).digest == built(harmless[::-1], harmful).build(PRINT, {}).digest


def test_an_interrupted_mean_continues_where_it_stopped():
    harmless, harmful = states(6, 1), states(4, 2)
    again = AnchorBuilder((3, 1, 8)).merge(built(harmless[:3], harmful).state())
    for phi in harmless[3:]:
        again.add("harmless", "other", phi, prompt_id="a")
    assert again.build(PRINT, {}).digest == built(harmless, harmful).build(PRINT, {}).digest


def test_a_class_without_a_usable_generation_is_named():
    builder = built(states(2), [])
    builder.add("harmful", "harmful", states(1)[0], prompt_id="x")
    with pytest.raises(ConfigError, match="none of 1 harmful prompts was refused"):
        builder.build(PRINT, {})


@pytest.mark.parametrize(("value", "what"), [(np.nan, "NaN or infinity"), (0.0, "zero length")])
def test_an_unusable_state_names_prompt_and_cell(value, what):
    phi = states(1)[0]
    phi[2] = value
    with pytest.raises(CaptureError, match=f"'bad'.*cell 2.*{what}"):
        AnchorBuilder((3, 1, 8)).add("harmless", "harmless", phi, prompt_id="bad")


def test_anchors_survive_the_disk_bit_for_bit_and_damage_is_seen(tmp_path):
    anchors = built(states(5, 1), states(4, 2)).build(PRINT, {"judge": "j"})
    anchors.save(tmp_path / "anchors.npz")
    again = Anchors.load(tmp_path / "anchors.npz")
    assert again.digest == anchors.digest
    assert (again.fingerprint, again.provenance) == (anchors.fingerprint, anchors.provenance)
    (tmp_path / "anchors.npz").write_bytes(b"not an archive")
    with pytest.raises(ModelMismatch, match="cannot be read as anchors"):
        Anchors.load(tmp_path / "anchors.npz")


def with_request():
    made = built(states(3, 1), states(3, 2)).build(
        Fingerprint({"layers": ["final"], "request": {"layers": [0, "final"]}}, {}), {}
    )
    weight = np.random.default_rng(3).normal(size=(2, 8)).astype(np.float32)
    return replace(made, request=RequestMap(weight, -0.3, {"prompts": 12}))


def test_a_request_map_lies_in_the_same_file_under_a_digest_of_its_own(tmp_path):
    anchors = with_request()
    anchors.save(tmp_path / "anchors.npz")
    read = Anchors.load(tmp_path / "anchors.npz")
    assert (read.digest, read.request.digest) == (anchors.digest, anchors.request.digest)
    assert read.request.provenance == {"prompts": 12}
    assert [(c.name, c.kind, c.layers) for c in read.columns] == [
        ("sri@final", "sri", ("final",)), ("request", "request", (0, "final"))
    ]  # fmt: skip
    assert replace(read, request=None).digest == read.digest


def test_a_request_map_that_was_changed_in_the_file_is_refused(tmp_path):
    anchors = with_request()
    anchors.save(tmp_path / "anchors.npz")
    with np.load(tmp_path / "anchors.npz") as arrays:
        changed = {**arrays, "request_bias": np.array(4.0)}
    np.savez(tmp_path / "anchors.npz", **changed)
    with pytest.raises(ModelMismatch, match="do not match their digest"):
        Anchors.load(tmp_path / "anchors.npz")


def test_anchors_without_a_request_map_are_written_as_every_release_reads_them(tmp_path):
    anchors = replace(with_request(), request=None)
    anchors.save(tmp_path / "anchors.npz")
    with np.load(tmp_path / "anchors.npz") as arrays:
        assert json_from_array(arrays["head"])["format"] == 1
        assert set(arrays) == {"harmless", "harmful", "head"}
