"""The only file that imports onnxruntime.

Models are inspected first, then loaded from bytes with everything turned off that a file could abuse: no external data,
no folding of huge constants, no session options from the model's own metadata, one thread.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sri_sdk.bundle.manifest import GraphEntry
from sri_sdk.bundle.ranges import INVALID_SCORE
from sri_sdk.errors import BundleError
from sri_sdk.records import Tier
from sri_sdk.scoring.inspect.inspector import inspect
from sri_sdk.scoring.inspect.work import Work

OLDEST = (1, 27)
"""Oldest release of onnxruntime that may load a graph; the base install asks for it too."""
CHUNK = 4096
"""Most rows per call: keeps the temporaries of a large batch at a few MiB."""
MEMORY = 2**24
"""Bytes that one call may take: a graph that needs more per row gets fewer rows per call. Each session keeps that."""
FEW = 256
"""Rows per call of a graph whose memory per row is not known: as many as the trial of such a bundle runs."""

Scored = tuple[NDArray[np.float32], NDArray[np.bool_]]
"""score [B] float32, valid [B] bool; of graphs of format 2 [B, K], K parts."""


@dataclass(frozen=True, slots=True)
class RunGraph:
    """A loaded graph: output names and input arrays by name -> output arrays in that order."""

    subject: str
    session: Any
    """Of onnxruntime."""
    work: Work | None
    """Upper bounds for one row; None in the tier `python`."""

    @property
    def session_run(self) -> Callable[[Sequence[str], dict[str, Any]], list[Any]]:
        """Output names and input arrays by name -> output arrays, in one call of onnxruntime."""
        run: Callable[[Sequence[str], dict[str, Any]], list[Any]] = self.session.run
        return run

    @property
    def rows(self) -> int:
        """Most rows of one call of onnxruntime."""
        return FEW if self.work is None else max(1, MEMORY // max(1, self.work.size))

    def __call__(self, names: Sequence[str], inputs: dict[str, Any]) -> list[Any]:
        """Runs [B, ...] inputs, as many rows at a time as fit into `MEMORY`.

        Raises:
            BundleError: onnxruntime fails.
        """
        count = max(map(len, inputs.values()))
        try:
            if count <= self.rows:
                return self.session_run(names, inputs)
            parts = [
                self.session_run(names, {name: array[at : at + self.rows] for name, array in inputs.items()})
                for at in range(0, count, self.rows)
            ]
            return [np.concatenate(each) for each in zip(*parts, strict=True)]
        except Exception as err:  # onnxruntime raises a dozen unrelated types.
            raise self._failed(count, err) from err

    def bound(self, inputs: Mapping[str, NDArray[Any]], outputs: Mapping[str, NDArray[Any]]) -> Callable[[], None]:
        """What runs on these very arrays, [1, ...] each in its own memory without gaps, and writes into `outputs`.

        It raises a BundleError where onnxruntime fails, or where the results have other shapes.
        """
        import onnxruntime

        binding, lay = self.session.io_binding(), onnxruntime.OrtValue.ortvalue_from_numpy
        for name, array in inputs.items():
            binding.bind_ortvalue_input(name, lay(array))
        for name, array in outputs.items():
            binding.bind_ortvalue_output(name, lay(array))
        kept, run = (inputs, outputs), self.session.run_with_iobinding

        def runs() -> None:
            try:
                run(binding)
            except Exception as err:  # As above.
                raise self._failed(len(next(iter(kept[0].values()))), err) from err

        return runs

    def _failed(self, count: int, err: Exception) -> BundleError:
        return BundleError(
            f"{self.subject}: onnxruntime fails on {count} rows ({_brief(err)}). Check that they have the types "
            "and shapes of the manifest; if they have, export the guard again."
        )


_SCORED = ["score", "valid"]
_ONNX_TYPES = {"float32": "tensor(float)", "int64": "tensor(int64)", "bool": "tensor(bool)"}
_OPTIONS = {
    "session.intra_op.allow_spinning": "0",
    "session.load_model_format": "ONNX",
    "optimization.constant_folding_max_output_size_in_bytes": str(2**20),
    # Without this, a model from bytes may read external data from the working directory.
    "session.model_external_initializers_file_folder_path": "/nonexistent",
}


def load(content: bytes, subject: str, entry: GraphEntry | None = None, tier: Tier = "portable") -> RunGraph:
    """A model from bytes, inspected and ready to run.

    Args:
        content: serialised ONNX.
        subject: what it is; leads the message.
        entry: the edges the manifest promises; None = whatever the model has.
        tier: which operators it may use.

    Raises:
        BundleError: the inspector or onnxruntime refuses it, its edges differ, or this onnxruntime is too old.
    """
    work = inspect(content, subject, entry, tier)
    session = _session(content, subject)
    if entry is not None:
        _compare(session, subject, entry)
    return RunGraph(subject, session, work)


def load_own(content: bytes, subject: str) -> RunGraph:
    """The same for a graph that was drawn in this process, without inspection."""
    return RunGraph(subject, _session(content, subject), None)


def _session(content: bytes, subject: str) -> Any:
    import onnxruntime

    _new_enough(onnxruntime.__version__)
    if os.environ.get("ORT_LOAD_CONFIG_FROM_MODEL", "0") != "0":
        raise BundleError(
            f"{subject}: ORT_LOAD_CONFIG_FROM_MODEL is set, so a model could set session options. Unset it."
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    # glibc before 2.38 does not find aligned blocks again that were freed, so without an arena some calls with large
    # results grow the heap each time: 2 GB after 72 calls of 28 MB. The arena keeps about as much as one call needs.
    options.enable_cpu_mem_arena = True
    options.log_severity_level = 4  # The exception says what went wrong.
    for key, value in _OPTIONS.items():
        options.add_session_config_entry(key, value)
    try:
        # The fallback would print to standard output and try again.
        return onnxruntime.InferenceSession(content, options, ["CPUExecutionProvider"], enable_fallback=0)
    except Exception as err:  # onnxruntime raises a dozen unrelated types.
        raise BundleError(f"{subject}: onnxruntime cannot load it ({_brief(err)}). Export the guard again.") from err


def score_once(run: RunGraph, inputs: dict[str, Any], parts: int | None = None) -> Scored:
    """One call: inputs by name, each [B, ...], -> score [B] float32, valid [B] bool; with K `parts`, [B, K] each.

    A score is valid if the graph says so and its size is below 3e38. Our own graphs see to that themselves; a foreign
    one may not, and NaN is above no threshold, so it would pass as clear.

    Raises:
        BundleError: not one score per row. onnxruntime does not enforce the shapes that a graph declares.
    """
    score, valid = run(_SCORED, inputs)
    rows = len(next(iter(inputs.values())))
    shape = (rows,) if parts is None else (rows, parts)
    if score.shape != shape or valid.shape != shape:
        raise BundleError(
            f"{rows} generations give scores of shape {list(score.shape)} and valid of shape {list(valid.shape)}; "
            f"allowed: {list(shape)}. The graph mixes rows; let its detector draw one number per generation."
        )
    if shape == (1,) and not (valid.item() and not abs(score.item()) < INVALID_SCORE):
        # One row is judged in every step of a generation, and array calls are slow between two of its passes.
        return score, valid
    return score, valid & (np.abs(score) < INVALID_SCORE)


def score_rows(run: RunGraph, signals: NDArray[np.float32], parts: int | None = None) -> Scored:
    """Finished generations [N, T, C] float32 -> score [N] float32, valid [N] bool, in chunks; with K parts, [N, K]."""
    if len(signals) <= CHUNK:
        return score_once(run, {"signals": _float32(signals)}, parts)
    starts = range(0, len(signals), CHUNK)
    found = [score_once(run, {"signals": _float32(signals[at : at + CHUNK])}, parts) for at in starts]
    return np.concatenate([score for score, _ in found]), np.concatenate([valid for _, valid in found])


def score_prefixes(
    run: RunGraph, signals: NDArray[np.float32], parts: int | None = None, lengths: NDArray[np.int64] | None = None
) -> Scored:
    """Generations [N, T, C] float32 at every length -> score [N, T] float32, valid [N, T] bool; K parts: [N, T, K].

    Column t - 1 is the generation with its first t cells known. With `lengths` [N], those up to each row's own;
    nothing is valid behind it.
    """
    count, cells = signals.shape[:2]
    rows = min(max(1, CHUNK // cells) * cells, max(1, MEMORY // max(1, 4 * signals[:1].size)))
    due = np.arange(count * cells) if lengths is None else np.flatnonzero(np.arange(cells) < lengths[:, None])
    shape = (count * cells,) if parts is None else (count * cells, parts)
    score, valid = np.full(shape, INVALID_SCORE, dtype=np.float32), np.zeros(shape, dtype=np.bool_)
    for at in range(0, len(due), rows):
        chosen = due[at : at + rows]
        row, cell = np.divmod(chosen, cells)
        inputs = {"signals": _float32(signals[row]), "length": cell + 1}
        score[chosen], valid[chosen] = score_once(run, inputs, parts)
    return score.reshape(count, cells, *shape[1:]), valid.reshape(count, cells, *shape[1:])


def _brief(err: Exception) -> str:
    return str(err).partition("\n")[0][:160] or type(err).__name__


def _float32(array: NDArray[Any]) -> NDArray[np.float32]:
    return np.ascontiguousarray(array, dtype=np.float32)


def _new_enough(found: str) -> None:
    """Refuses older releases: they follow references to other files, and allocate gigabytes for a file of 168 bytes.

    Every bundle counts as foreign: nothing in a file can prove where it comes from.
    """
    if tuple(int(part) for part in re.findall(r"\d+", found)[:2]) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise BundleError(
            f"onnxruntime {found} is installed, and graphs may only be loaded by {oldest} or later, which checks where "
            f"their data is and how much they allocate. Run: pip install 'onnxruntime>={oldest}'"
        )


def _compare(session: Any, subject: str, entry: GraphEntry) -> None:
    for kind, actual, promised in [
        ("inputs", session.get_inputs(), entry.inputs),
        ("outputs", session.get_outputs(), entry.outputs),
    ]:
        found = {edge.name: (edge.type, tuple(edge.shape)) for edge in actual}
        expected: Mapping[str, Any] = {n: (_ONNX_TYPES[e.dtype], tuple(e.shape)) for n, e in promised.items()}
        if found != expected:
            raise BundleError(
                f"{subject}: its {kind} are {found}, the manifest promises {expected}. Export the guard again."
            )
