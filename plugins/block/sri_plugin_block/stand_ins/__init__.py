"""Stand-ins for the conformance kit and the tests; no product code.

Made-up weights behind the interfaces of SDAR and Fast-dLLM v2, and the published loops.
"""
