"""The books: what was asked and what the monitor asks itself are told apart."""

from click.testing import CliRunner

from sri_sdk.cli import main
from sri_sdk.monitor.accounts import Accounts
from sri_sdk.observation import Observation
from sri_sdk.records import Verdict


def observed(status: str, kind: str = "traffic") -> Observation:
    return Observation(Verdict("r", status), 1, kind=kind)


def test_canaries_are_counted_and_said_apart() -> None:
    accounts = Accounts()
    traffic = [observed("clear"), observed("clear"), observed("unmonitored"), observed("not_sampled")]
    canaries = [observed("flagged", "canary"), observed("flagged", "canary"), observed("clear", "canary")]
    accounts.end(4, [*traffic, observed("flagged", "shadow")])
    assert accounts.balance().words == "4 generated: 2 clear, 0 flagged, 1 unmonitored, 1 not sampled"
    accounts.end(3, canaries)
    balance = accounts.balance()
    assert balance.even and (balance.generated, balance.canaries, balance.flagged) == (7, 3, 2)
    assert balance.words == (
        "4 generated: 2 clear, 0 flagged, 1 unmonitored, 1 not sampled; 3 canaries: 2 flagged, 1 clear, 0 unmonitored"
    )


def test_the_command_says_canaries_apart(write_monitor, tmp_path) -> None:
    canaries = {"every_s": 3600, "harmless": {"split": "test"}, "state": str(tmp_path / "canaries.json")}
    requests = {"from": "dataset", "split": "test", "count": 8}
    done = CliRunner().invoke(main, ["monitor", str(write_monitor(requests=requests, canaries=canaries))])
    assert done.exit_code == 0 and "8 generated: " in done.stderr and "; 1 canaries: " in done.stderr
