"""`sri monitor` from its start to its end, and what it does besides answering requests."""

import socket
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import pytest
from click.testing import CliRunner
from sri_plugin_sinks.jsonl import JsonlSink

from sri_sdk.capture.drive import generate_untapped
from sri_sdk.cli import main
from sri_sdk.errors import ConfigError
from sri_sdk.files import claimed
from sri_sdk.fitting.deployment import Deployment
from sri_sdk.monitor.live import Live
from sri_sdk.monitor.operate import Wishes, operate
from sri_sdk.monitor.reading import read_monitor
from sri_sdk.strict_json import parse

from .conftest import asked
from .test_scoring import wait_for

DATASET = {"from": "dataset", "split": "test", "harmful": 0.2, "count": 20}


def test_a_run_ends_with_its_requests_and_says_what_became_of_each(write_monitor, tmp_path) -> None:
    done = CliRunner().invoke(main, ["monitor", str(write_monitor(requests=DATASET, sample=0.5)), "--json"])
    assert done.exit_code == 0, done.stderr
    counts = parse(done.stdout)
    assert counts["generated"] == counts["begun"] == 20
    assert counts["clear"] + counts["flagged"] + counts["unmonitored"] + counts["not_sampled"] == 20
    assert counts["sinks"][0]["delivered"] == 20 == len((tmp_path / "verdicts.jsonl").read_bytes().splitlines())
    for said in (
        "monitor toy: mode observe",
        "promises at most 30 %",
        "requests: prompts of split 'test'",
        "20 generated",
    ):
        assert said in done.stderr
    assert "missing: canaries.harmful" in done.stderr and "missing: guard.trust" in done.stderr


def test_a_check_says_what_would_run_and_generates_nothing(write_monitor, tmp_path) -> None:
    done = CliRunner().invoke(main, ["monitor", str(write_monitor(requests=DATASET)), "--check"])
    assert done.exit_code == 0, done.stderr
    assert "not started: only checked" in done.stderr and not (tmp_path / "verdicts.jsonl").exists()


def test_a_check_beside_the_monitor_that_runs_leaves_everything_as_it_is(
    open_monitor, write_monitor, deployment, tmp_path, monkeypatch
) -> None:
    pulses: list = []
    monkeypatch.setattr(JsonlSink, "pulse", lambda _, pulse: pulses.append(pulse))
    changes = {
        "requests": DATASET, "drift": {"traffic": True},
        "canaries": {"every_s": 60, "harmless": {"split": "test"}, "state": str(tmp_path / "canaries.json")},
    }  # fmt: skip
    open_monitor(told=read_monitor(write_monitor(**changes)))
    kept = [tmp_path / name for name in ("traffic-looks.json", "canaries.json")]
    before = [(each.read_bytes(), each.stat().st_mtime_ns) for each in kept]
    lines: list[str] = []
    ended = operate(read_monitor(write_monitor(**changes)), lines.append, check=True, deployment=deployment)
    assert "requests: not started: only checked" in lines and ended.sinks == ()
    assert [(each.read_bytes(), each.stat().st_mtime_ns) for each in kept] == before
    assert not pulses and not (tmp_path / "verdicts.jsonl").exists()


def test_a_check_of_one_that_never_ran_writes_nothing_down(write_monitor, deployment, tmp_path) -> None:
    canaries = {"every_s": 60, "harmless": {"split": "test"}, "state": str(tmp_path / "canaries.json")}
    path = write_monitor(requests=DATASET, drift={"traffic": True}, canaries=canaries)
    operate(read_monitor(path), lambda _: None, check=True, deployment=deployment)
    assert [each.name for each in tmp_path.iterdir()] == ["monitor.yaml"]


def test_a_mistake_in_the_file_is_one_line_and_exit_code_1(write_monitor) -> None:
    done = CliRunner().invoke(main, ["monitor", str(write_monitor(requests=DATASET, mode="both"))])
    assert done.exit_code == 1 and "error: " in done.stderr and "mode: found 'both'" in done.stderr


def test_a_file_for_ones_own_process_is_refused_by_the_command(write_monitor) -> None:
    with pytest.raises(ConfigError, match=r"requests: required by `sri monitor`"):
        operate(read_monitor(write_monitor()), lambda _: None)


@pytest.fixture
def no_model(monkeypatch) -> None:
    """Nothing slow may have begun."""
    monkeypatch.setattr(Deployment, "open", lambda config: pytest.fail("the model is loaded"))
    monkeypatch.setattr(Live, "open", lambda *_: pytest.fail("the guard is loaded"))


@pytest.mark.parametrize("whose", ["address", "numbers", "spool", "canaries"])
def test_what_another_process_has_is_refused_before_anything_is_loaded(
    write_monitor, tmp_path, no_model, whose
) -> None:
    with ExitStack() as other:
        taken = other.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1]
        changes: dict = {"requests": {"from": "http", "port": taken if whose == "address" else 0}}
        if whose == "numbers":
            changes["sinks"] = [{"name": "prometheus", "options": {"port": taken}}]
        if whose in ("spool", "canaries"):
            file = tmp_path / ("spool.db" if whose == "spool" else "canaries.json")
            other.enter_context(claimed(file))
            changes["canaries"] = {"harmless": {"split": "test"}, "state": str(tmp_path / "canaries.json")}
        with pytest.raises(
            ConfigError, match=f"{taken}: cannot|cannot listen on .*{taken}|spool.db is in use|another process has it"
        ):
            operate(read_monitor(write_monitor(**changes)), lambda _: None)


def test_the_same_file_started_twice_is_told_so_by_its_spool_first(write_monitor, tmp_path, no_model) -> None:
    book = tmp_path / "canaries.json"
    with ExitStack() as numbers, ExitStack() as address, ExitStack() as canaries, ExitStack() as spool:
        ports = [
            each.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1] for each in (numbers, address)
        ]
        canaries.enter_context(claimed(book))
        spool.enter_context(claimed(tmp_path / "spool.db"))
        changes = {
            "requests": {"from": "http", "port": ports[1]},
            "canaries": {"harmless": {"split": "test"}, "state": str(book)},
            "sinks": [{"name": "prometheus", "options": {"port": ports[0]}}],
        }
        told = read_monitor(write_monitor(**changes))
        for other, said in (
            (spool, r"in use by another monitor. Is this one running already\?.*spool\.path"),
            (canaries, "another process has it"),
            (address, rf"{ports[1]}: cannot .*requests\.port.* Or is this one running already\?"),
            (numbers, f"cannot listen on .*{ports[0]}"),
        ):
            with pytest.raises(ConfigError, match=said):
                operate(told, lambda _: None)
            other.close()


def test_an_address_that_was_claimed_is_given_back_where_loading_fails(write_monitor, monkeypatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]

    def fails(config):
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
        raise ConfigError("no such model")

    monkeypatch.setattr(Deployment, "open", fails)
    told = read_monitor(write_monitor(requests={"from": "http", "port": port}))
    for _ in range(2):
        with pytest.raises(ConfigError, match="no such model"):
            operate(told, lambda _: None)
    with claimed(told.settings.spool_path) as free:
        assert free
    socket.create_server(("127.0.0.1", port)).close()


@contextmanager
def operating(told, deployment):
    """A monitor that runs in a thread: its wishes, and how it ended."""
    wishes, lines, ended = Wishes(), [], []
    thread = threading.Thread(target=lambda: ended.append(operate(told, lines.append, wishes, deployment=deployment)))
    thread.start()
    while not any(line.startswith("requests:") for line in lines):
        assert thread.is_alive()
    try:
        yield wishes, ended
    finally:
        wishes.end.set()
        thread.join(60)


def test_wishes_reload_and_end_it_between_batches(write_monitor, deployment, caplog) -> None:
    requests = {"from": "dataset", "split": "test", "rate": 200.0}
    told = read_monitor(write_monitor(requests=requests, sample=0.0))
    with caplog.at_level("INFO", "sri_sdk.monitor"), operating(told, deployment) as (wishes, ended):
        write_monitor(requests=requests, sample=1.0)
        wishes.reload.set()
        wait_for(lambda: "reloaded: mode observe" in caplog.text)
        threading.Event().wait(0.5)
    (found,) = ended
    assert "asked to end: what waits is generated first" in caplog.text
    assert found.balance.even and found.balance.clear + found.balance.flagged > 0, "the reload brought sample: 1.0"
    assert found.waiting == 0


def test_requests_are_answered_while_a_reload_loads_and_a_second_one_comes_after_it(
    write_monitor, deployment, tmp_path, caplog, monkeypatch
) -> None:
    requests = {"from": "dataset", "split": "test", "rate": 200.0}
    told, opened, go = read_monitor(write_monitor(requests=requests)), Live.open, threading.Event()
    loading: list = []

    def slow(told, model):
        if threading.current_thread().name == "sri-reload":
            loading.append(told.settings.mode)
            assert go.wait(60)
        return opened(told, model)

    monkeypatch.setattr(Live, "open", slow)
    lines = tmp_path / "verdicts.jsonl"
    with caplog.at_level("INFO", "sri_sdk.monitor"), operating(told, deployment) as (wishes, _):
        wishes.reload.set()
        wait_for(lambda: loading)
        before = lines.stat().st_size if lines.exists() else 0
        wait_for(lambda: lines.exists() and lines.stat().st_size > before + 1000)
        assert "reloaded" not in caplog.text
        write_monitor(requests=requests, mode="enforce")
        wishes.reload.set()
        go.set()
        wait_for(lambda: "reloaded: mode enforce" in caplog.text)
    assert loading == ["observe", "enforce"]


def test_an_end_while_a_reload_loads_lets_go_of_what_it_loaded(write_monitor, deployment, monkeypatch) -> None:
    requests = {"from": "dataset", "split": "test", "rate": 200.0}
    told, opened, go = read_monitor(write_monitor(requests=requests)), Live.open, threading.Event()
    late: list = []

    def slow(told, model):
        if threading.current_thread().name == "sri-reload":
            go.wait(60)
            late.append(opened(told, model))
            return late[0]
        return opened(told, model)

    monkeypatch.setattr(Live, "open", slow)
    with operating(told, deployment) as (wishes, ended):
        wishes.reload.set()
        wait_for(lambda: not wishes.reload.is_set())
    assert ended
    go.set()
    wait_for(lambda: late and not late[0].begin())


def test_canaries_are_asked_between_requests_and_their_misses_are_in_the_pulse(
    open_driver, kept, toy_folder, tmp_path
) -> None:
    driver, monitor = open_driver(
        mode="enforce", sample=0.0,
        canaries={
            "every_s": 3600, "harmful": {"split": "test", "prompts": 4, "count": 2}, "harmless": {"split": "test"},
            "state": str(tmp_path / "canaries.json"),
        },
    )  # fmt: skip
    scorer = monitor.live.guard.scorer
    scorer.thresholds["final"] = replace(scorer.thresholds["final"], value=1e30)
    for _ in range(4):
        driver.look_after()
    pulse = monitor.pulse
    assert pulse.canary_missed == "clear", "none of the harmful ones is flagged any more"
    assert 5 <= pulse.canaries == pulse.generated == pulse.clear
    assert monitor.flush(20) and {each.kind for each in kept.observations} == {"canary"}
    assert all(each.request_id.startswith("sri-canary-") for each in kept.observations)


def test_canaries_of_ones_own_process_are_watched_and_nothing_follows_from_them(
    open_monitor, deployment, tmp_path
) -> None:
    monitor = open_monitor(
        mode="enforce", sample=0.0, policy={"rule": "online", "flagged": "abort", "unmonitored": "report"},
        canaries={
            "every_s": 3600, "harmful": {"split": "test", "prompts": 1, "count": 1},
            "state": str(tmp_path / "canaries.json"),
        },
    )  # fmt: skip
    scorer = monitor.live.guard.scorer
    scorer.thresholds["online"] = replace(scorer.thresholds["online"], value=-1e30)
    (canary,) = monitor.canaries()
    model = deployment.loaded.model
    with monitor.watch(model, request_ids=[canary.prompt.id], hook=deployment.hook, canary=True) as run:
        generate_untapped(deployment.hook, deployment.loaded, deployment.sampler, [canary.prompt])
    (observation,) = run.observations
    assert observation.kind == "canary" and observation.verdict.status == "flagged"
    assert observation.consequence == "released" and monitor.pulse.canary_missed is None


def test_a_shadow_is_written_down_and_counts_as_no_generation(open_driver, kept, toy_folder, caplog) -> None:
    driver, monitor = open_driver(shadow={"path": str(toy_folder / "guard" / "bundle")})
    driver.generate(asked(6))
    assert monitor.flush(20) and monitor.balance.generated == 6 and monitor.balance.even
    traffic = {each.request_id: each for each in kept.observations if each.kind == "traffic"}
    shadows = {each.request_id: each for each in kept.observations if each.kind == "shadow"}
    assert traffic.keys() == shadows.keys() and len(traffic) == 6
    assert all(shadows[name].verdict.status == each.verdict.status for name, each in traffic.items())
    assert monitor.live.shadow.counts == {"same": 6}
    with caplog.at_level("INFO", "sri_sdk.monitor"):
        assert monitor.reload() is None
    assert caplog.text.count("6 judged alike") == 1, "said when its counts end"


@pytest.mark.parametrize(
    "wrong",
    [{"harmful": {"split": "nonsense"}}, {"harmless": {"split": "test"}, "state": "."}],
    ids=["no-split", "state-is-a-folder"],
)
def test_a_refused_reload_keeps_what_was_found_and_spends_no_look(open_driver, write_monitor, tmp_path, wrong) -> None:
    asks = {"harmful": {"split": "test", "prompts": 4, "count": 2}}
    driver, monitor = open_driver(canaries=asks, drift={"traffic": True})
    before = monitor.lookout
    before._traffic._found, before._schedule.harmful.missed = "detector", "clear"
    looks = (tmp_path / "traffic-looks.json").read_bytes()
    write_monitor(canaries=wrong, drift={"traffic": True, "rate": 0.02})
    assert driver.reload() is not None and monitor.lookout is before
    assert (monitor.pulse.drift, monitor.pulse.canary_missed) == ("traffic:detector", "clear")
    assert (tmp_path / "traffic-looks.json").read_bytes() == looks


def test_a_reload_keeps_what_canaries_have_learnt_and_gives_the_file_back(open_driver, write_monitor, tmp_path) -> None:
    def canaries(every: float) -> dict:
        return {
            "every_s": every, "harmless": {"split": "test"}, "state": str(tmp_path / "canaries.json"),
        }  # fmt: skip

    driver, monitor = open_driver(canaries=canaries(3600))
    before = monitor.lookout
    write_monitor(canaries=canaries(3600), sample=0.5)
    assert driver.reload() is None and monitor.lookout is before
    write_monitor(canaries=canaries(60))
    assert driver.reload() is None and monitor.lookout is not before
    driver.look_after()
    assert monitor.balance.canaries == 1
