"""The spool: what was put is on disk when its future is done, and stays until every sink has it."""

from sri_sdk.monitor.spool.spool import Spool
from sri_sdk.observation import Observation
from sri_sdk.records import Verdict
from sri_sdk.sink import Sink


class Keeps(Sink):
    """Keeps the ids of what it is handed, batch by batch."""

    def __init__(self):
        super().__init__()
        self.batches = []

    def emit(self, verdict):
        raise AssertionError("a monitor calls deliver()")

    def deliver(self, observations):
        self.batches.append([each.request_id for each in observations])

    @property
    def ids(self):
        return [each for batch in self.batches for each in batch]


def some(*ids, **more):
    return [Observation(Verdict(each, "clear"), 1, **more) for each in ids]


def test_what_is_put_reaches_every_sink_in_order(tmp_path):
    one, two = Keeps(), Keeps()
    with Spool.open(tmp_path / "spool.db", {"one": one, "two": two}) as spool:
        for number in range(20):
            spool.put(some(f"{number}-a", f"{number}-b")).result(10)
        assert spool.flush(10)
        assert one.ids == two.ids == [f"{number}-{each}" for number in range(20) for each in "ab"]
        assert [(state.sink, state.accepted, state.delivered) for state in spool.states()] == [
            ("one", 40, 40), ("two", 40, 40),
        ]  # fmt: skip
