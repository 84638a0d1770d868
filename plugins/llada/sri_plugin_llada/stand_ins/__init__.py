"""Stand-ins for the conformance kit and the tests; no product code.

Made-up weights behind LLaDA's interfaces, and the published loops.
"""
