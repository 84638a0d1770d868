"""Runs files of Python, each in a process of its own that need not import torch and the like anew."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

Run = Callable[[Path], tuple[int, str]]
"""run(file): its exit code, and what it printed. It runs in the file's folder."""

_PROGRAM = """
import os, runpy, sys, traceback
import onnx, sklearn.linear_model, torch  # Not onnxruntime, which starts a thread: no fork would have it.
from transformers import LlamaForCausalLM

for line in sys.stdin:
    folder, page = line.rstrip("\\n").split("\\t")
    if not (child := os.fork()):
        os.chdir(folder)
        said = os.open("said", os.O_WRONLY | os.O_CREAT)
        os.dup2(said, 1), os.dup2(said, 2)
        sys.argv, sys.path[0], code = [page], folder, 1
        try:
            runpy.run_path(page, run_name="__main__")
            code = 0
        except BaseException:
            traceback.print_exc()
        sys.exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@contextmanager
def forks() -> Iterator[Run]:
    """What runs files, none of which sees a module of this project that another one imported."""
    with subprocess.Popen(
        [sys.executable, "-c", _PROGRAM], env={**os.environ, "OMP_NUM_THREADS": "1"}, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdin is not None and process.stdout is not None
        given, answers = process.stdin, process.stdout

        def run(file: Path) -> tuple[int, str]:
            given.write(f"{file.parent}\t{file.name}\n")
            given.flush()
            code = int(answers.readline())
            return code, (file.parent / "said").read_text(encoding="utf-8", errors="replace")

        yield run
        given.close()
