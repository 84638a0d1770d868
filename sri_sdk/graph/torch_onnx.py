"""A torch network as the bytes of an ONNX model, for detectors of the tier `python` that embed one."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from sri_sdk.errors import BundleError, MissingExtra

if TYPE_CHECKING:
    import torch

OPSET = 17
"""The opset of bundles, and the newest one that torch's tracing exporter writes when asked to."""
ROWS = 2
"""Rows of the example input. One row would hide the batch: `squeeze()` drops a dimension of size 1."""


def onnx_of(module: torch.nn.Module, cells: int, layers: int) -> bytes:
    """Exports a network for `Graph.embed`.

    The network is copied, moved to the CPU and put into evaluation mode first; the caller's own stays unchanged. It is
    traced (torch.onnx.export with dynamo=False): Python code that depends on values, such as an `if` on a tensor, does
    not reach the graph. The newer exporter of torch needs onnxscript; `embed` takes its models too.

    Args:
        module: takes signals [B, T, C] float32, in the detector's domain, and returns one tensor float32, usually the
            score [B]. A row must get the same result in a batch of any size.
        cells: T.
        layers: C.

    Returns:
        The bytes of an ONNX model of opset 17 with one input and one output, whose first dimensions are free.

    Raises:
        MissingExtra: torch is not installed.
        BundleError: torch cannot express the network in ONNX.
    """
    try:
        import torch
    except ImportError as err:
        raise MissingExtra("Exporting a network to ONNX", extra="capture") from err
    module = copy.deepcopy(module).cpu().eval()
    batch = {0: "B"}
    try:
        with warnings.catch_warnings(), TemporaryDirectory(prefix="sri-") as folder:
            # The tracing exporter is deprecated, but works in every release this package supports.
            warnings.simplefilter("ignore", DeprecationWarning)
            # Shape checks in torch's own modules are true for every batch. Warnings about the caller's code stay.
            warnings.filterwarnings("ignore", "Converting a tensor to a Python", module=r"torch\.")
            # Recurrent networks start from zeros, which the exporter `onnx` leaves out, so they take any batch.
            warnings.filterwarnings("ignore", "Exporting a model to ONNX with a batch_size other than 1")
            file = Path(folder) / "network.onnx"
            torch.onnx.export(
                module, (torch.zeros(ROWS, cells, layers),), str(file), dynamo=False, opset_version=OPSET,
                input_names=["signals"], output_names=["score"], dynamic_axes={"signals": batch, "score": batch},
            )  # fmt: skip
            return file.read_bytes()
    except torch.onnx.errors.OnnxExporterError as err:
        brief = (str(err).splitlines() or [""])[0][:200]
        raise BundleError(
            f"{type(module).__name__}: torch cannot write it as ONNX of opset {OPSET} ({type(err).__name__}: {brief}). "
            "Write that step with other operations, or draw it with those of sri_sdk.Graph."
        ) from err
