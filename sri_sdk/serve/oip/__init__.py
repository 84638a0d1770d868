"""The Open Inference Protocol, version 2, as REST with the binary extension and as gRPC.

`codec.py` is bytes to tensors and back, `asked.py` what a request asks of a model, `infer.py` the answer.
"""
