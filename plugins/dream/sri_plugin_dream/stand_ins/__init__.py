"""Stand-ins for the conformance kit and the tests; no product code.

Made-up weights behind Dream's interfaces, and the published loops.
"""
