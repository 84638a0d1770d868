"""A vLLM of make-believe: the methods that the plugin knows, and nothing else. The real one is in `make vllm`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest


class BlockHashes(dict[bytes, int]):
    def get_one_block(self, key: bytes) -> int | None:
        return self.get(key)


class BlockPool:
    hash_block_size = 4

    def __init__(self) -> None:
        self.cached_block_hash_to_block = BlockHashes()

    def _remove_cached_block_hashes(self, block: Any) -> list[bytes]:
        removed = [key for key in block.keys if self.cached_block_hash_to_block.get(key) == block.id]
        for key in removed:
            del self.cached_block_hash_to_block[key]
        return removed

    def reset_prefix_cache(self) -> bool:
        self.cached_block_hash_to_block.clear()
        return True


@dataclass
class Request:
    request_id: str
    num_prompt_tokens: int
    block_hashes: list[bytes] = field(default_factory=list)
    num_output_tokens: int = 0
    status: Any = None


@dataclass
class New:
    req_id: str
    prompt_token_ids: list[int] | None
    num_computed_tokens: int = 0
    lora_request: Any = None
    sampling_params: Any = None

    @property
    def prompt_len(self) -> int:
        return len(self.prompt_token_ids or ())


@dataclass
class Output:
    scheduled_new_reqs: list[New] = field(default_factory=list)
    num_scheduled_tokens: dict[str, int] = field(default_factory=dict)
    finished_req_ids: set[str] = field(default_factory=set)
    scheduled_cached_reqs: Any = field(default_factory=lambda: SimpleNamespace(req_ids=[], num_computed_tokens=[]))

    @property
    def total_num_scheduled_tokens(self) -> int:
        return sum(self.num_scheduled_tokens.values())


class Scheduler:
    def __init__(self) -> None:
        self.requests: dict[str, Request] = {}
        self.next = Output()
        self.kv_cache_manager = SimpleNamespace(block_pool=BlockPool())

    def schedule(self) -> Output:
        return self.next

    def _free_request(self, request: Request) -> None:
        del self.requests[request.request_id]


class GPUModelRunner:
    def __init__(self, vllm_config: Any = None) -> None:
        self.input_batch = SimpleNamespace(req_ids=[])
        self.ran: list[Output] = []

    def initialize_kv_cache(self, config: Any = None) -> None: ...

    def execute_model(self, output: Output, **kwargs: Any) -> str:
        self.ran.append(output)
        self.input_batch.req_ids = list(output.num_scheduled_tokens)[::-1]
        if output.total_num_scheduled_tokens or kwargs.get("dummy_run"):
            self._model_forward()
        return "logits"

    def _model_forward(self) -> None: ...

    def shutdown(self) -> None: ...


class Vllm:
    Scheduler, BlockPool, Runner, Request, New, Output = Scheduler, BlockPool, GPUModelRunner, Request, New, Output


@pytest.fixture
def vllm(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Vllm]]:
    """Fresh classes each time, since the plugin puts its own steps around their methods."""
    fresh = type("Fresh", (Vllm,), {
        name: type(kind.__name__, (), {k: v for k, v in vars(kind).items() if k not in ("__dict__", "__weakref__")})
        for name, kind in (("Scheduler", Scheduler), ("BlockPool", BlockPool), ("Runner", GPUModelRunner))
    })  # fmt: skip
    modules = {
        "vllm": {"__version__": "0.0.made-up", "envs": SimpleNamespace(VLLM_DISABLE_REQUEST_ID_RANDOMIZATION=False)},
        "vllm.v1": {}, "vllm.v1.core": {}, "vllm.v1.core.sched": {}, "vllm.v1.worker": {},
        "vllm.v1.core.sched.scheduler": {"Scheduler": fresh.Scheduler},
        "vllm.v1.core.block_pool": {"BlockPool": fresh.BlockPool},
        "vllm.v1.worker.gpu_model_runner": {"GPUModelRunner": fresh.Runner},
    }  # fmt: skip
    for name, contents in modules.items():
        module = ModuleType(name)
        vars(module).update(contents)
        module.__path__ = []
        monkeypatch.setitem(sys.modules, name, module)
    yield fresh
    from sri_plugin_vllm.here import HERE

    HERE.tap = HERE.scheduled = None


class Tap:
    """Writes down what it is told."""

    def __init__(self, *, canvas: bool = False) -> None:
        self.canvas = canvas
        self.told: list[tuple[Any, ...]] = []
        self.desk = SimpleNamespace(close=lambda: self.told.append(("close",)))

    def admit(
        self, key: str, request_id: str, prompt: Any, length: int, *, hashes: Any = (), reasons: Any = ()
    ) -> None:
        self.told.append(("admit", key, request_id, length, tuple(hashes), tuple(reasons)))

    def runs(self, key: str) -> bool:
        known = [each[0] for each in self.told if each[0] in ("admit", "ended") and each[1] == key]
        return known[-1:] == ["admit"]

    def begin(self, chunks: Any) -> None:
        self.told.append(("begin", [(c.request_id, c.start, c.count) for c in chunks]))
        self.canvases = [c.request_id for c in chunks if c.canvas]

    def sampled(self, keys: Any, marks: Any) -> None:
        self.told.append(("sampled", keys, marks.tolist()))

    def end(self) -> None:
        self.told.append(("end",))

    def missed(self, keys: Any) -> None:
        self.told.append(("missed", sorted(keys)))

    def evicted(self, hashes: Any) -> None:
        if hashes:
            self.told.append(("evicted", list(hashes)))

    def cleared(self) -> None:
        self.told.append(("cleared",))

    def ended(self, key: str, **how: Any) -> None:
        self.told.append(("ended", key, how))


@pytest.fixture
def tap() -> Tap:
    return Tap()
