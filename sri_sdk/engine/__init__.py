"""Requests of an inference engine: rows of flat batches become one vector per step and request, then verdicts."""
