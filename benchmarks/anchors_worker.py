"""`python anchors_worker.py SCHEME WAY PER_CLASS BATCH`: one way to anchors, in a process of its own.

What one contender leaves in the heap must not serve another. Runs the way once per line of input and prints JSON each
time: processor seconds of all of it, and of the model's forward within.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any

import numpy as np
import torch
from collecting import model_of, ways


def main() -> None:
    """Command line."""
    scheme, name, per_class, batch_size = sys.argv[1], sys.argv[2], *(int(a) for a in sys.argv[3:5])
    torch.set_num_threads(1)
    logging.disable()  # so few prompts are warned of
    way = ways(scheme, per_class=per_class, batch_size=batch_size)[name]
    model, inside = model_of(way), [0.0]
    inner = model.forward

    def forward(*args: Any, **options: Any) -> Any:
        start = time.process_time()
        try:
            return inner(*args, **options)
        finally:
            inside[0] += time.process_time() - start

    model.forward = forward
    for _ in sys.stdin:
        inside[0], start = 0.0, time.process_time()
        made = way()
        spent = time.process_time() - start
        sums = [float(np.abs(each).sum()) for each in made]
        sys.stdout.write(json.dumps({"seconds": spent, "forward": inside[0], "sums": sums}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
