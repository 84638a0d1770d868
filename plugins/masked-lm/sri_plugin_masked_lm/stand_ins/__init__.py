"""Stand-ins for the conformance kit and the tests; no product code.

Masked models with made-up weights, and a published loop that fills in their masks.
"""
