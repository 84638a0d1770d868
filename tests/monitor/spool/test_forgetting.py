"""What waits for a sink that nobody names any more can be dropped, and nothing else with it."""

from contextlib import closing

import pytest
import yaml
from click.testing import CliRunner

from sri_sdk.cli import main
from sri_sdk.errors import ConfigError
from sri_sdk.files import claimed
from sri_sdk.monitor.spool import disk
from sri_sdk.monitor.spool.forgetting import leftover
from sri_sdk.monitor.spool.spool import Spool
from sri_sdk.observation import Observation
from sri_sdk.records import Verdict
from sri_sdk.sink import Sink


class Down(Sink):
    def emit(self, verdict):
        raise ConnectionRefusedError


def put(file, count, *sinks):
    with Spool.open(file, {name: Down() for name in sinks}) as spool:
        spool.put([Observation(Verdict(f"r{i}", "clear"), 1) for i in range(count)]).result(20)
        spool.close(0.1)


@pytest.fixture
def file(tmp_path):
    """A spool in which 3 observations wait for `old` and `sql`, and 2 for `old` alone."""
    file = tmp_path / "spool.db"
    put(file, 3, "old", "sql")
    put(file, 2, "old")
    return file


def waiting(file):
    with closing(disk.connect(file)) as connection:
        bodies = connection.execute("SELECT count(*) FROM observations").fetchone()[0]
    return {name: each.count for name, each in disk.prepare(file, ()).items()}, bodies


def test_only_what_waits_for_that_sink_is_dropped(file):
    with leftover(file, "old", ["sql"]) as found:
        assert (found.count, found.alone) == (5, 2) and found.size > 0
        assert waiting(file) == ({"old": 5, "sql": 3}, 5), "looking drops nothing"
        found.drop()
    assert waiting(file) == ({"sql": 3}, 3)
    put(file, 1, "sql", "old")
    assert waiting(file) == ({"sql": 4, "old": 1}, 4), "the name may be used again"


@pytest.mark.parametrize(
    ("sink", "said"),
    [("sql", "the monitor's file names it"), ("odl", r"nothing waits for a sink odl; .*: old\. Did you mean 'old'")],
)
def test_another_sink_is_refused(file, sink, said):
    with pytest.raises(ConfigError, match=said), leftover(file, sink, ["sql"]):
        pass


def test_a_spool_that_is_in_use_or_not_there_is_refused(file, tmp_path):
    with claimed(file), pytest.raises(ConfigError, match="in use by a monitor"), leftover(file, "old", []):
        pass
    with pytest.raises(ConfigError, match="there is none"), leftover(tmp_path / "none.db", "old", []):
        pass
    assert not (tmp_path / "none.db").exists()


@pytest.fixture
def forget(file, tmp_path):
    """forget(*options, answer): `sri monitor FILE --forget old`."""
    (tmp_path / "guard").mkdir()
    path = tmp_path / "monitor.yaml"
    policy = {"rule": "final", "flagged": "report", "unmonitored": "report"}
    written = {
        "version": 1, "name": "chat", "guard": {"path": str(tmp_path / "guard")}, "mode": "observe", "policy": policy,
        "spool": {"path": str(file)}, "sinks": [{"name": "sql", "options": {"url": f"sqlite:///{tmp_path}/v.db"}}],
    }  # fmt: skip
    path.write_text(yaml.safe_dump(written))
    return lambda *options, answer="": CliRunner().invoke(
        main, ["monitor", str(path), "--forget", "old", *options], input=answer
    )


@pytest.mark.parametrize(("answer", "code"), [("n\n", 0), ("", 130)], ids=["no", "nobody-there"])
def test_the_command_says_how_much_and_drops_nothing_unless_somebody_says_so(forget, file, answer, code):
    done = forget(answer=answer)
    assert done.exit_code == code and waiting(file)[0] == {"old": 5, "sql": 3}
    assert "5 observations (" in done.stderr and "for 2 of them it is the only one" in done.stderr


@pytest.mark.parametrize(("options", "answer"), [([], "y\n"), (["--yes"], "")])
def test_the_command_drops_them_once_somebody_says_so(forget, file, options, answer):
    done = forget(*options, answer=answer)
    assert done.exit_code == 0, done.stderr
    assert "sink old: 5 observations dropped" in done.stderr and waiting(file) == ({"sql": 3}, 3)
    assert forget("--check").exit_code == 2
