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
from sri_sdk.cli import main
for rule in ("final", "online"):
    main(["score", sys.argv[1], sys.argv[2], "--rule", rule, "--json"], standalone_mode=False)
# Not getrusage: its maximum counts the parent's memory from before exec.
print(next(int(x.split()[1]) // 1024 for x in open("/proc/self/status") if x.startswith("VmHWM")), file=sys.stderr)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory from /proc")
def test_ten_thousand_signals_are_scored_without_torch_in_less_than_150_megabytes(fitted, make_signals, tmp_path):
    write_signals(tmp_path / "s.npz", make_signals(10_000, 4))
    command = [sys.executable, "-c", PROGRAM, str(fitted.path), str(tmp_path / "s.npz")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 20_000 and done.stdout.count('"status"') == 20_000
    *summaries, megabytes = done.stderr.splitlines()
    assert len(summaries) == 2 and all(line.startswith("10000 generations") for line in summaries)
    assert int(megabytes) < 150
