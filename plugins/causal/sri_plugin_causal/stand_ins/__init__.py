"""Stand-ins for the conformance kit and the tests; no product code.

transformers' own Llama with made-up weights.
"""
