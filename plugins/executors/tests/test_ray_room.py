"""Actors and room on a cluster that is a double: no Ray is needed."""

from __future__ import annotations

import logging
import re
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from sri_plugin_executors.messages import FAILED, MADE
from sri_plugin_executors.on_ray import RayExecutor, RayWorker

import sri_sdk
from sri_sdk.errors import ConfigError
from sri_sdk.executor import ShardLost, ShardResult


@pytest.fixture(autouse=True)
def somebody_is_at_every_port(monkeypatch):
    monkeypatch.setattr("socket.create_connection", lambda *_: SimpleNamespace(close=lambda: None))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


class Cluster:
    """What the plugin calls of Ray. An actor answers at once if it has a place; `places` says how many have."""

    def __init__(self, *machines: tuple[float, float], places: int = 1000) -> None:
        self._machines, self.places = machines, places
        self.exceptions = SimpleNamespace(RayError=RuntimeError)
        self.made: list[SimpleNamespace] = []
        self.killed: list[int] = []
        self.answers: dict[Any, Any] = {}
        self.here = True
        self.joined = self.left = 0
        self.says = MADE + b"whole"

    def nodes(self) -> list[dict[str, Any]]:
        return [{"Alive": True, "Resources": {"CPU": cores, "GPU": devices}} for cores, devices in self._machines]

    def is_initialized(self) -> bool:
        return self.here

    def init(self, **_: Any) -> None:
        self.here = True
        self.joined += 1

    def shutdown(self) -> None:
        self.here = False
        self.left += 1

    def remote(self, **_: Any) -> Any:
        return lambda _class: SimpleNamespace(remote=self._start)

    def _start(self, _setup: bytes) -> SimpleNamespace:
        number = len(self.made)

        def asked(what: str, answer: Any) -> Any:
            def call(*_: Any) -> Any:
                reference = (number, what, len(self.answers))
                self.answers[reference] = answer() if callable(answer) else answer
                return reference

            return SimpleNamespace(remote=call)

        actor = SimpleNamespace(
            number=number,
            _actor_id=SimpleNamespace(hex=lambda: str(number)),
            where=asked("where", f"process {number} on here"),
            make=asked("make", lambda: self.says),
        )
        self.made.append(actor)
        return actor

    def put(self, content: bytes) -> bytes:
        return content

    def wait(self, references: list[Any], *, num_returns: int, timeout: float) -> tuple[list[Any], list[Any]]:
        alive = [each for each in references if each[0] < self.places and each[0] not in self.killed]
        ready = [each for each in alive if self.answers[each] is not None]
        return ready[:num_returns], []

    def get(self, reference: Any) -> Any:
        if isinstance(answer := self.answers[reference], Exception):
            raise answer
        return answer

    def kill(self, handle: SimpleNamespace) -> None:
        self.killed.append(handle.number)


@pytest.fixture
def start(monkeypatch):
    def started(cluster: Cluster, **options: Any):
        monkeypatch.setitem(sys.modules, "ray", cluster)
        return RayExecutor(RayExecutor.Config(**options)).start(b"{}")

    return started


def shards(count: int) -> list[sri_sdk.Shard]:
    return [sri_sdk.Shard(f"shard {at}") for at in range(count)]


def answers(pool: sri_sdk.WorkerPool, count: int) -> list[Any]:
    """The next answers; the bound is for a pool that gives none."""
    found: list[Any] = []
    for _ in range(200):
        if len(found) < count and (event := pool.wait(0.01)) is not None:
            found.append(event)
    return found


def until(pool: sri_sdk.WorkerPool) -> ShardResult | ShardLost:
    """The next answer, however long it takes."""
    while (event := pool.wait(0.01)) is None:
        pass
    return event


@pytest.mark.parametrize(
    ("machines", "options", "size", "says"),
    [
        ([(2, 0)], {"workers": 16}, 2, "16 workers were asked for, and the cluster 'local' has room for 2: "
         "it has 2 cores and 0 accelerators on 1 machines, and one actor needs 1 and 0"),
        ([(4, 8)], {}, 4, "8 workers would have an accelerator each, .* room for 4: it has 4 cores and 8 accel"),
        ([(16, 8), (16, 8)], {}, 16, None),
        ([(16, 8), (16, 8)], {"workers": 3}, 3, None),
        # A third actor would have half of its accelerators on each of two machines.
        ([(16, 3), (16, 3)], {"devices": 2}, 2, None),
        ([(4, 0), (4, 0)], {}, 2, None),
        ([(1, 0)], {"cpus": 0.1, "workers": 10}, 10, None),
    ],
)  # fmt: skip
def test_no_more_actors_than_the_cluster_has_room_for(machines, options, size, says, start, caplog):
    with caplog.at_level(logging.WARNING, "sri_sdk.executors"):
        assert start(Cluster(*machines), **options).size == size
    if says is None:
        assert not caplog.messages
    else:
        (only,) = caplog.messages
        assert re.search(says, only)


def test_an_accelerator_on_one_machine_and_the_cores_on_another_are_no_room(start):
    with pytest.raises(ConfigError, match="16 cores and 1 accelerators on 2 machines; one actor needs 1 and 1"):
        start(Cluster((16, 0), (0, 1)))


def test_shards_go_to_actors_that_have_a_place_and_to_no_other(start):
    cluster = Cluster((8, 0), places=1)
    pool = start(cluster, workers=4)
    for each in shards(4):
        pool.give(each)
    found = answers(pool, 4)
    assert [each.shard for each in found] == [f"shard {at}" for at in range(4)], "one actor makes all of them"
    assert all(isinstance(each, ShardResult) and each.worker == "process 0 on here" for each in found)
    assert len(cluster.made) == 4, "the others are waited for"
    pool.close()
    assert sorted(cluster.killed) == [0, 1, 2, 3], "the pending ones as well"


def test_an_actor_that_never_gets_a_place_costs_tries_once_there_is_patience(start, caplog):
    pool = start(Cluster((8, 0), places=0), workers=1, patience=1e-6)
    pool.give(shards(1)[0])
    (lost,) = answers(pool, 1)
    assert isinstance(lost, ShardLost) and "no place for it in the cluster" in lost.cause


def test_without_patience_it_is_said_that_no_actor_gets_a_place(start, caplog, monkeypatch):
    monkeypatch.setattr("sri_plugin_executors.on_ray.PENDING", -1.0)
    pool = start(Cluster((8, 0), places=0), workers=1)
    pool.give(shards(1)[0])
    assert answers(pool, 1) == []
    (only,) = [each for each in caplog.messages if "place" in each]
    assert "--patience" in only


def test_an_actor_that_hangs_is_killed_and_another_is_started(start):
    cluster = Cluster((8, 0))
    cluster.says = None
    pool = start(cluster, workers=1, patience=0.01)
    first, second = shards(2)
    pool.give(first)
    lost = until(pool)
    assert lost.shard == "shard 0" and "no answer" in lost.cause and cluster.killed == [0]
    cluster.says = MADE + b"whole"
    pool.give(second)
    (made,) = answers(pool, 1)
    assert (made.shard, made.worker) == ("shard 1", "process 1 on here")


def test_what_an_actor_raises_arrives_as_text_and_ends_the_actor(start):
    cluster = Cluster((8, 0))
    cluster.says = FAILED + b"ValueError: x"
    pool = start(cluster, workers=1)
    pool.give(shards(1)[0])
    assert answers(pool, 1) == [ShardLost("shard 0", "process 0 on here", "ValueError: x", raised=True)]
    assert cluster.killed == [0]


def test_an_actor_names_what_it_raised_and_where():
    said = RayWorker(b"not json").make(b"", b"")
    assert said.startswith(FAILED + b"JsonError: ") and b"worker.py" in said


# -- refused before a model is loaded ---------------------------------------------------------------------------


def check(cluster: Cluster, monkeypatch, models: Any = (), **options: Any) -> None:
    monkeypatch.setitem(sys.modules, "ray", cluster)
    RayExecutor(RayExecutor.Config(**options)).check(models)


def test_a_cluster_is_looked_at_and_left(monkeypatch):
    cluster = Cluster((8, 1))
    cluster.here = False
    check(cluster, monkeypatch, address="head:6379")
    assert (cluster.joined, cluster.here) == (1, False)
    with pytest.raises(ConfigError, match="one actor needs 9 and 1"):
        check(cluster, monkeypatch, address="head:6379", cpus=9)
    assert not cluster.here


def test_a_cluster_that_cannot_be_reached_is_refused(monkeypatch):
    cluster = Cluster()
    cluster.here = False

    def refuse(**_: Any) -> None:
        raise ConnectionError("nobody there")

    monkeypatch.setattr(cluster, "init", refuse)
    with pytest.raises(ConfigError, match="ray start --head"):
        check(cluster, monkeypatch, address="auto")


def test_no_cluster_is_started_only_to_look_at_it(monkeypatch):
    cluster = Cluster((8, 1))
    cluster.here = False
    check(cluster, monkeypatch)
    assert cluster.joined == 0


def test_a_model_on_an_accelerator_that_its_actor_does_not_see_is_refused(monkeypatch):
    with pytest.raises(ConfigError, match="names accelerator 1, and each worker sees 1"):
        check(Cluster((8, 4)), monkeypatch, [{"device_map": "cuda:1"}])
    check(Cluster((8, 4)), monkeypatch, [{"device_map": "cuda:1"}], devices=2)


# -- one cluster for all pools of a run --------------------------------------------------------------------------


@pytest.fixture
def cluster(monkeypatch) -> Cluster:
    """That this process has not joined."""
    made = Cluster((8, 0))
    made.here = False
    monkeypatch.setitem(sys.modules, "ray", made)
    return made


def test_the_pools_of_a_session_share_a_cluster_that_ends_with_it(cluster):
    executor = RayExecutor()
    with executor.session():
        assert cluster.joined == 0, "nothing is started before there is work"
        for _ in range(3):
            executor.start(b"{}").close()
        assert (cluster.joined, cluster.left) == (1, 0)
    assert (cluster.joined, cluster.left) == (1, 1)


@pytest.mark.parametrize("raised", [KeyboardInterrupt, ValueError])
def test_a_cluster_ends_with_its_session_however_that_ends(raised, cluster):
    executor = RayExecutor()
    with pytest.raises(raised), executor.session():
        pool = executor.start(b"{}")
        pool.give(shards(1)[0])
        try:
            raise raised
        finally:
            pool.close()
    assert (cluster.joined, cluster.left, cluster.killed) == (1, 1, [0])


def test_without_a_session_a_cluster_ends_with_its_pool(cluster):
    pool = RayExecutor().start(b"{}")
    pool.close()
    pool.close()
    assert (cluster.joined, cluster.left) == (1, 1)


def test_a_cluster_that_was_joined_before_stays(cluster):
    cluster.here = True
    executor = RayExecutor()
    with executor.session():
        executor.start(b"{}").close()
    assert (cluster.joined, cluster.left) == (0, 0)


@pytest.mark.parametrize("address", ["local", "head:6379"])
def test_ctrl_c_while_a_cluster_starts_ends_what_was_started(address, cluster, monkeypatch):
    def interrupted(**_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cluster, "init", interrupted)
    with pytest.raises(KeyboardInterrupt):
        RayExecutor(RayExecutor.Config(address=address)).start(b"{}")
    assert cluster.left == 1


@pytest.mark.parametrize(("address", "cure"), [("local", "--workers N"), ("head:6379", "ray start --head")])
def test_a_cluster_that_does_not_start_is_refused_whatever_ray_raises(address, cure, cluster, monkeypatch):
    def fails(**_: Any) -> None:
        raise Exception("The node timed out during startup")

    monkeypatch.setattr(cluster, "init", fails)
    with pytest.raises(ConfigError, match=rf"timed out during startup.*{cure}"):
        RayExecutor(RayExecutor.Config(address=address)).start(b"{}")


def test_other_versions_are_not_called_unreachable(cluster, monkeypatch):
    def fails(**_: Any) -> None:
        raise RuntimeError("Version mismatch: The cluster was started with:\n    Ray: 2.61.0\n    Python: 3.12.1")

    monkeypatch.setattr(cluster, "init", fails)
    with pytest.raises(
        ConfigError, match=r"other versions .*Ray: 2\.61\.0 Python: 3\.12\.1.*Install the same Ray"
    ) as met:
        RayExecutor(RayExecutor.Config(address="head:6379")).check([])
    assert "cannot be reached" not in str(met.value)


@pytest.mark.parametrize(
    "address", ["", "head", ":6379", "head:", "head:port", "head:0", "head:65536", "head:-1", "http://head"]
)
def test_what_is_no_address_is_refused_with_what_is(address):
    with pytest.raises(ValueError, match=r"allowed: local .*, auto .*, or HOST:PORT"):
        RayExecutor.Config(address=address)


@pytest.mark.parametrize("address", ["local", "auto", "head:6379", "[fd00::2]:6379", "ray://head:10001"])
def test_addresses_that_ray_knows_are_taken(address):
    assert RayExecutor.Config(address=address).address == address


@pytest.mark.parametrize(
    ("address", "variable", "knocks_at"),
    [
        ("head:6379", None, [("head", 6379)]),
        ("head:6379", "other:1", [("head", 6379)]),
        ("[fd00::2]:6379", None, [("fd00::2", 6379)]),
        ("127.0.0.1:6379", None, [("as-others-know-it", 6379)]),
        ("auto", "other:1", [("other", 1)]),
        ("auto", None, []),
        ("local", "other:1", []),
    ],
)
def test_nobody_at_the_port_is_found_before_ray_tries_for_minutes(address, variable, knocks_at, cluster, monkeypatch):
    asked: list[Any] = []

    def refuses(at: Any, timeout: float) -> None:
        assert timeout <= 10
        asked.append(at)
        raise ConnectionRefusedError(111, "Connection refused")

    cluster.util = SimpleNamespace(get_node_ip_address=lambda: "as-others-know-it")
    monkeypatch.setattr("socket.create_connection", refuses)
    if variable is not None:
        monkeypatch.setenv("RAY_ADDRESS", variable)
    executor = RayExecutor(RayExecutor.Config(address=address))
    if knocks_at:
        with pytest.raises(ConfigError, match=r"cannot be reached .*refused.*ray start --head") as met:
            executor.check([])
        assert f"{knocks_at[0][0]}:{knocks_at[0][1]}" in str(met.value)
        assert ("RAY_ADDRESS" in str(met.value)) is (address == "auto")
    else:
        executor.start(b"{}").close()
    assert asked == knocks_at and cluster.joined == (not knocks_at)
