import subprocess
import sys

import pytest

from sri_sdk.scoring.signal_files import write_signals

PROGRAM = """
import sys

class Wall:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "transformers", "sklearn", "onnx", "scipy"}:
            raise ImportError(f"{name} is not part of a scoring process")

sys.meta_path.insert(0, Wall())
from sri_sdk import Scorer
from sri_sdk.scoring.signal_files import read_signals
scorer = Scorer.open(sys.argv[1])
signals = read_signals(sys.argv[2])
print(*(len(scorer.score(signals, rule=rule)) for rule in ("final", "online")))
# Not getrusage: its maximum counts the parent's memory from before exec.
print(next(int(x.split()[1]) // 1024 for x in open("/proc/self/status") if x.startswith("VmHWM")))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory from /proc")
def test_ten_thousand_signals_are_scored_without_torch_in_less_than_150_megabytes(fitted, make_signals, tmp_path):
    write_signals(tmp_path / "s.npz", make_signals(10_000, 4))
    command = [sys.executable, "-c", PROGRAM, str(fitted.path), str(tmp_path / "s.npz")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    scored, megabytes = done.stdout.split("\n")[:2]
    assert scored == "10000 10000"
    assert int(megabytes) < 150
