"""Stand-ins for the conformance kit and the tests; no product code.

transformers' own DiffusionGemma with made-up weights.
"""
