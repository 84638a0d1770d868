"""What the plugin hears of vLLM's scheduler and runner, and in what order it tells the tap."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch
from sri_plugin_vllm import CONFIG, runner
from sri_plugin_vllm.attach import states_of
from sri_plugin_vllm.blind import blinding
from sri_plugin_vllm.here import tap_here
from sri_plugin_vllm.ids import external_id
from sri_plugin_vllm.install import install
from sri_plugin_vllm.notes import NOTE, end_of
from sri_plugin_vllm.plugin import register
from sri_plugin_vllm.weights import compare

from sri_sdk.errors import ConfigError, ModelMismatch

KEY = "chatcmpl-x-0123abcd"


@pytest.fixture
def engine(vllm: Any, tap: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Scheduler and worker in one process, with the tap on."""
    monkeypatch.setattr(runner, "attach", lambda settings, live: tap)
    install(SimpleNamespace(tampered="report"))  # type: ignore[arg-type]
    scheduler, worker = vllm.Scheduler(), vllm.Runner()
    # The pool's class is wrapped, not the one the made-up scheduler was written with.
    scheduler.kv_cache_manager.block_pool = vllm.BlockPool()
    worker.initialize_kv_cache()
    return SimpleNamespace(scheduler=scheduler, worker=worker, vllm=vllm, pool=scheduler.kv_cache_manager.block_pool)


def admitted(engine: Any, **new: Any) -> Any:
    ids = list(range(10))
    engine.scheduler.requests[KEY] = engine.vllm.Request(KEY, 10, [b"one", b"two", b"beyond the prompt"])
    engine.scheduler.next = engine.vllm.Output([engine.vllm.New(KEY, ids, **new)], {KEY: 10})
    return engine.worker.execute_model(engine.scheduler.schedule())


def test_a_new_request_is_admitted_under_the_clients_id_with_the_hashes_of_its_blocks(engine: Any, tap: Any) -> None:
    assert admitted(engine) == "logits"
    assert tap.told == [
        ("admit", KEY, "chatcmpl-x", 10, (b"one", b"two"), ()),
        ("begin", [(KEY, 0, 10)]),
        ("end",),
    ]


def test_tokens_of_a_batch_come_in_the_runners_order_and_from_where_they_were(engine: Any, tap: Any) -> None:
    output = engine.vllm.Output(num_scheduled_tokens={"a": 1, "b": 3})
    output.scheduled_cached_reqs = SimpleNamespace(req_ids=["a", "b"], num_computed_tokens=[7, 4])
    engine.worker.execute_model(output)
    assert ("begin", [("b", 4, 3), ("a", 7, 1)]) in tap.told


def test_a_request_with_an_adapter_of_its_own_is_not_judged(engine: Any, tap: Any) -> None:
    admitted(engine, lora_request=object())
    assert tap.told[0][-1] == ("other_code",)


def test_a_dummy_pass_is_not_watched(engine: Any, tap: Any) -> None:
    engine.worker.execute_model(engine.vllm.Output(), dummy_run=True)
    assert not tap.told


def test_an_end_is_told_at_once_where_worker_and_scheduler_share_a_process(engine: Any, tap: Any) -> None:
    admitted(engine)
    request = engine.scheduler.requests[KEY]
    request.status, request.num_output_tokens = SimpleNamespace(name="FINISHED_STOPPED"), 5
    engine.scheduler._free_request(request)
    assert tap.told[-1] == ("ended", KEY, {"tokens": 5, "ended": True, "interrupted": False})


def test_an_end_travels_to_other_processes_with_what_is_scheduled_next(engine: Any, tap: Any) -> None:
    admitted(engine)
    request = engine.scheduler.requests[KEY]
    request.status, request.num_output_tokens = SimpleNamespace(name="FINISHED_ABORTED"), 2
    engine.scheduler._free_request(request)
    tap.told.clear()
    engine.scheduler.next = engine.vllm.Output(finished_req_ids={KEY})
    output = engine.scheduler.schedule()
    assert getattr(output, NOTE)["ends"] == {KEY: {"tokens": 2, "ended": False, "interrupted": True}}
    engine.worker.execute_model(output)
    assert tap.told == [("ended", KEY, {"tokens": 2, "ended": False, "interrupted": True}), ("end",)]


def test_an_end_that_nobody_explains_is_an_interruption(engine: Any, tap: Any) -> None:
    engine.worker.execute_model(engine.vllm.Output(finished_req_ids={"a"}))
    assert tap.told[0] == ("ended", "a", {"tokens": None, "ended": False, "interrupted": True})


def test_an_id_that_ended_and_comes_again_ends_first(engine: Any, tap: Any) -> None:
    admitted(engine)
    tap.told.clear()
    engine.scheduler.next = engine.vllm.Output([engine.vllm.New(KEY, [1])], {KEY: 1}, {KEY})
    engine.worker.execute_model(engine.scheduler.schedule())
    assert [each[0] for each in tap.told] == ["ended", "admit", "begin", "end"]


def test_a_request_that_goes_on_after_a_preemption_is_not_admitted_a_second_time(engine: Any, tap: Any) -> None:
    admitted(engine)
    engine.scheduler.next = engine.vllm.Output([engine.vllm.New(KEY, list(range(10)), 8)], {KEY: 4})
    engine.worker.execute_model(engine.scheduler.schedule())
    assert [each[0] for each in tap.told] == ["admit", "begin", "end", "begin", "end"]
    assert tap.told[3] == ("begin", [(KEY, 8, 4)])


def test_a_pass_that_cannot_be_told_apart_does_not_stop_the_engine(engine: Any, tap: Any) -> None:
    assert engine.worker.execute_model(engine.vllm.Output(num_scheduled_tokens={"a": 1})) == "logits"
    assert tap.told == [("missed", ["a"]), ("end",)]


def test_a_pass_whose_note_cannot_be_read_is_told_as_missed_and_still_announced(engine: Any, tap: Any) -> None:
    admitted(engine)
    tap.told.clear()
    engine.scheduler.next = engine.vllm.Output(num_scheduled_tokens={KEY: 1})
    engine.scheduler.next.scheduled_cached_reqs = SimpleNamespace(req_ids=[KEY], num_computed_tokens=[10])
    output = engine.scheduler.schedule()
    setattr(output, NOTE, {"ends": 3})
    assert engine.worker.execute_model(output) == "logits"
    assert tap.told == [("missed", [KEY]), ("begin", [(KEY, 10, 1)]), ("end",)]


def test_a_pass_that_never_comes_by_the_seam_is_told_as_missed(engine: Any, tap: Any, monkeypatch: Any) -> None:
    admitted(engine)
    tap.told.clear()
    monkeypatch.setattr(engine.worker, "_model_forward", lambda: None, raising=False)
    engine.worker.execute_model(engine.vllm.Output(num_scheduled_tokens={KEY: 1}))
    assert tap.told == [("missed", [KEY]), ("end",)]


def test_what_the_scheduler_said_is_not_in_the_log(engine: Any, tap: Any, monkeypatch: Any, caplog: Any) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ValueError("a secret prompt")

    monkeypatch.setattr(tap, "begin", broken)
    monkeypatch.setattr(tap, "admit", broken)
    admitted(engine)
    assert "ValueError" in caplog.text
    assert "secret" not in caplog.text


def test_blocks_that_leave_the_cache_are_told_unless_another_holds_the_same(engine: Any, tap: Any) -> None:
    group = (0).to_bytes(4, "big")
    for block, key in ((1, b"one"), (2, b"two")):
        engine.pool.cached_block_hash_to_block[key + group] = block
    engine.pool._remove_cached_block_hashes(SimpleNamespace(id=1, keys=[b"one" + group]))
    engine.worker.execute_model(engine.scheduler.schedule())
    assert ("evicted", [b"one"]) in tap.told
    tap.told.clear()
    # Another block has taken its place in the map.
    still = engine.pool._remove_cached_block_hashes.__wrapped__
    assert still(engine.pool, SimpleNamespace(id=7, keys=[b"two" + group])) == []
    engine.pool._remove_cached_block_hashes(SimpleNamespace(id=7, keys=[b"two" + group]))
    engine.worker.execute_model(engine.scheduler.schedule())
    assert not [each for each in tap.told if each[0] == "evicted"]


def test_an_emptied_cache_is_told(engine: Any, tap: Any) -> None:
    assert engine.pool.reset_prefix_cache()
    engine.worker.execute_model(engine.scheduler.schedule())
    assert ("cleared",) in tap.told


def test_the_end_of_the_worker_closes_the_tap(engine: Any, tap: Any) -> None:
    engine.worker.shutdown()
    assert tap.told == [("close",)]
    assert tap_here() is None


def test_installing_twice_changes_nothing(engine: Any, tap: Any) -> None:
    install(SimpleNamespace(tampered="report"))  # type: ignore[arg-type]
    admitted(engine)
    assert [each[0] for each in tap.told].count("begin") == 1


def test_a_vllm_that_is_built_otherwise_is_refused_by_name(vllm: Any) -> None:
    del vllm.Scheduler._free_request
    with pytest.raises(ConfigError, match=r"vLLM 0\.0\.made-up: Scheduler\._free_request .* run on 0\.32"):
        install(SimpleNamespace(tampered="report"))  # type: ignore[arg-type]


def test_without_settings_nothing_is_touched(vllm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(CONFIG, raising=False)
    before = vllm.Scheduler.schedule
    register()
    assert vllm.Scheduler.schedule is before


def test_settings_that_are_wrong_keep_the_engine_from_starting(vllm: Any, monkeypatch: Any, tmp_path: Any) -> None:
    file = tmp_path / "sri.yaml"
    file.write_text("version: 1\nguard: {path: here}\n", encoding="utf-8")
    monkeypatch.setenv(CONFIG, str(file))
    with pytest.raises(ConfigError, match="store and sinks are both missing"):
        register()


@pytest.mark.parametrize(
    ("internal", "external"),
    [("chatcmpl-x-0123abcd", "chatcmpl-x"), ("0_cmpl-x-0-0123abcd", "0_cmpl-x-0"), ("plain", "plain")],
)
def test_the_clients_id_is_the_engines_without_what_it_added(internal: str, external: str) -> None:
    assert external_id(internal, randomised=True) == external
    assert external_id(internal, randomised=False) == internal


@pytest.mark.parametrize(
    ("status", "ended", "interrupted"),
    [
        ("FINISHED_STOPPED", True, False), ("FINISHED_LENGTH_CAPPED", False, False),
        ("FINISHED_REPETITION", False, False), ("FINISHED_ABORTED", False, True), ("FINISHED_ERROR", False, True),
    ],
)  # fmt: skip
def test_how_a_request_ended(status: str, ended: bool, interrupted: bool) -> None:
    assert end_of(status, 3) == {"tokens": 3, "ended": ended, "interrupted": interrupted}


def config(**changes: Any) -> Any:
    model = {"enforce_eager": True, "runner_type": "generate", **changes.get("model", {})}
    parallel = {"pipeline_parallel_size": 1, "use_ubatching": False, **changes.get("parallel", {})}
    cache = SimpleNamespace(kv_sharing_fast_prefill=False, cache_dtype=changes.get("cache", "auto"))
    return SimpleNamespace(
        model_config=SimpleNamespace(**model), speculative_config=changes.get("speculative"),
        parallel_config=SimpleNamespace(**parallel), cache_config=cache,
    )  # fmt: skip


def test_an_eager_engine_hides_nothing() -> None:
    assert not list(blinding(config()))
    assert not list(blinding(config(model={"dtype": "torch.bfloat16"}, cache="bfloat16")))


@pytest.mark.parametrize(
    ("changes", "option"),
    [
        ({"model": {"enforce_eager": False}}, "--enforce-eager"),
        ({"speculative": object()}, "--speculative-config"),
        ({"model": {"quantization": "fp8"}}, "--quantization"),
        ({"cache": "fp8"}, "--kv-cache-dtype"),
        ({"cache": "bfloat16", "model": {"dtype": "torch.float32"}}, "--kv-cache-dtype"),
        ({"parallel": {"tensor_parallel_size": 2}}, "--tensor-parallel-size"),
        ({"parallel": {"pipeline_parallel_size": 2}}, "--pipeline-parallel-size"),
        ({"parallel": {"use_ubatching": True}}, "--enable-dbo"),
        ({"model": {"runner_type": "pooling"}}, "--runner"),
    ],
)
def test_what_hides_states_is_named_with_its_option(changes: Any, option: str) -> None:
    (found,) = blinding(config(**changes))
    assert option in found


def test_an_engine_that_hides_states_does_not_start_before_anything_was_loaded(vllm: Any) -> None:
    install(SimpleNamespace(if_blind="refuse", tampered="report"))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"--enforce-eager.*if_blind: unmonitored"):
        vllm.Runner(config(model={"enforce_eager": False}))
    vllm.Runner(config())


def test_an_engine_that_hides_states_starts_where_the_operator_says_so(vllm: Any) -> None:
    install(SimpleNamespace(if_blind="unmonitored", tampered="report"))  # type: ignore[arg-type]
    vllm.Runner(config(model={"enforce_eager": False}))


def test_states_of_a_block_are_what_it_adds_and_the_stream() -> None:
    added, stream = torch.tensor([[1.0]]), torch.tensor([[2.0]])
    assert states_of((added, stream), block=True).item() == 3
    assert states_of((added, stream), block=False).item() == 1
    assert states_of(added, block=True) is added


class Live(torch.nn.Module):
    packed_modules_mapping: ClassVar = {"qkv_proj": ["q_proj", "k_proj"]}

    def __init__(self, joined: torch.Tensor, words: torch.Tensor) -> None:
        super().__init__()
        self.qkv_proj, self.embed = torch.nn.Module(), torch.nn.Module()
        self.qkv_proj.weight, self.embed.weight = torch.nn.Parameter(joined), torch.nn.Parameter(words)


class Copy(torch.nn.Module):
    def __init__(self, q: torch.Tensor, k: torch.Tensor, words: torch.Tensor) -> None:
        super().__init__()
        for name, tensor in (("q_proj", q), ("k_proj", k), ("embed", words)):
            module = torch.nn.Module()
            module.weight = torch.nn.Parameter(tensor)
            setattr(self, name, module)

    def get_input_embeddings(self) -> Any:
        return self.embed


def test_joined_weights_and_padded_vocabularies_are_compared_part_by_part() -> None:
    q, k, words = torch.rand(2, 3), torch.rand(1, 3), torch.rand(5, 3)
    live = Live(torch.cat([q, k]), torch.cat([words, torch.zeros(3, 3)]))
    assert compare(live, Copy(q, k, words)) == (24, 33)


@pytest.mark.parametrize("wrong", ["joined", "words"])
def test_another_weight_is_refused(wrong: str) -> None:
    q, k, words = torch.rand(2, 3), torch.rand(1, 3), torch.rand(5, 3)
    joined = torch.cat([q, k])
    live = Live(joined + (wrong == "joined"), words + (wrong == "words"))
    with pytest.raises(ModelMismatch, match="differs from that of the checkpoint"):
        compare(live, Copy(q, k, words))


def test_a_padded_weight_that_is_no_vocabulary_is_refused() -> None:
    q, k, words = torch.rand(2, 3), torch.rand(1, 3), torch.rand(5, 3)
    live, copy = Live(torch.cat([q, k]), words), Copy(q, k, words)
    live.more, copy.more = torch.nn.Linear(2, 4, bias=False), torch.nn.Linear(2, 3, bias=False)
    live.more.weight = torch.nn.Parameter(torch.cat([copy.more.weight, torch.zeros(1, 2)]))
    with pytest.raises(ModelMismatch, match=r"more\.weight \[4, 2\] has no counterpart"):
        compare(live, copy)


def quantised(of: torch.nn.Module) -> None:
    """Packs four numbers into one byte; norms and vocabularies stay as they are."""
    of.up.weight = torch.nn.Parameter(torch.zeros(128, 1, dtype=torch.uint8), requires_grad=False)


def halved(of: torch.nn.Module) -> None:
    of.up.weight = torch.nn.Parameter(of.up.weight[:16].detach().clone())


def scaled(of: torch.nn.Module) -> None:
    of.up.register_parameter("weight_scale", torch.nn.Parameter(torch.ones(1)))


@pytest.mark.parametrize("change", [quantised, halved, scaled])
def test_an_engine_of_which_only_some_weights_are_the_checkpoints_is_refused(change: Any) -> None:
    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.up = torch.nn.LayerNorm(8), torch.nn.Linear(8, 32, bias=False)

    live, copy = Model(), Model()
    copy.load_state_dict(live.state_dict())
    assert compare(live, copy) == (272, 272)
    change(live)
    with pytest.raises(ModelMismatch, match=r"up\.weight.* has no counterpart"):
        compare(live, copy)


def test_weights_beside_which_there_is_room_for_adapters_are_compared() -> None:
    live, copy = torch.nn.Module(), torch.nn.Module()
    copy.up, live.up = torch.nn.Linear(2, 2, bias=False), torch.nn.Module()
    live.up.base_layer = torch.nn.Linear(2, 2, bias=False)
    with pytest.raises(ModelMismatch, match=r"up\.base_layer\.weight differs"):
        compare(live, copy)
    live.up.base_layer.load_state_dict(copy.up.state_dict())
    assert compare(live, copy) == (4, 4)


def test_weights_that_cannot_be_compared_are_refused() -> None:
    with pytest.raises(ModelMismatch, match="quantised"):
        compare(torch.nn.Linear(2, 2), Copy(torch.rand(1, 1), torch.rand(1, 1), torch.rand(1, 1)))
