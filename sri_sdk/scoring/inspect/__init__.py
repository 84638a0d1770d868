"""The static inspector: says what a foreign ONNX graph would do, without running it."""
