"""What goes wrong below the spool: killed processes and full disks lose nothing that was acknowledged."""

import os
import subprocess
import sys

import pytest

from sri_sdk.monitor.spool.spool import Spool
from sri_sdk.monitor.spool.writer import NotSpooled
from tests.monitor.spool.conftest import Hangs, Keeps, counts, some, until

FILLS = """
import resource, sys
from sri_sdk.monitor.spool.spool import Spool
from sri_sdk.monitor.spool.writer import NotSpooled
from tests.monitor.spool.conftest import Down, counts, some, until

spool = Spool.open(sys.argv[1], {"down": Down()})
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, hard))
number, full = 0, None
while full is None:
    try:
        spool.put(some(f"{number}-a", f"{number}-b")).result()
        number += 1
    except NotSpooled as err:
        full = str(err)
assert "is not written: the disk is full" in full, full
assert spool.fault and spool.states()[0].failing
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
spool.put(some("after")).result()
assert spool.fault is None
assert counts(spool) == {"down": (2 * number + 3, 0, 0, 2, 2 * number + 1)}, counts(spool)
spool.close()
print(number)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits on the size of files are Linux's")
def test_a_file_that_may_not_grow_costs_what_comes_and_keeps_what_is_there(file):
    done = subprocess.run([sys.executable, "-c", FILLS, str(file)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    sink = Keeps()
    with Spool.open(file, {"down": sink}) as spool:
        assert spool.flush(30)
    acknowledged = [f"{number}-{each}" for number in range(int(done.stdout)) for each in "ab"]
    assert len(acknowledged) > 100 and sink.ids == [*acknowledged, "after"]


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True)
    if done.returncode:
        pytest.skip("only root mounts a small disk")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root mounts a small disk")
def test_a_disk_that_is_really_full_is_noticed_and_forgiven_and_delivery_goes_on_meanwhile(small_disk):
    hangs, other = Hangs(), Keeps()
    spool = Spool.open(small_disk / "spool.db", {"hangs": hangs, "other": other})
    put = 0
    with pytest.raises(NotSpooled, match="the disk is full"):
        for put in range(10_000):
            spool.put(some(f"{put}", response=1000 * "x")).result(10)
    until(lambda: len(other.ids) == put)
    assert counts(spool) == {"hangs": (put + 1, 0, 0, 1, put), "other": (put + 1, put, 0, 1, 0)}
    assert "the disk is full" in spool.states()[1].failing
    hangs.go.set()
    # What is delivered makes room, though a full disk may not let it be removed at once.
    until(lambda: len(hangs.ids) == put)
    subprocess.run(["mount", "-o", "remount,size=8m", small_disk], check=True)
    spool.put(some("after")).result(10)
    assert spool.flush(10) and spool.fault is None
    assert hangs.ids == other.ids == [*map(str, range(put)), "after"]
    assert spool.close(10)
