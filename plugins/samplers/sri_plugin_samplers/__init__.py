"""Samplers that drive any hook of their scheme, one step at a time."""
