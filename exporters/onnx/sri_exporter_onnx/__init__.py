"""Exporter `onnx`: a guard as a bundle of ONNX graphs (opset 17, IR 8) that every supported runtime reads.

Importing this package does not import onnx; exporting does (`pip install "sri-sdk[train]"`).
"""
