"""Plugin for LLaDA2.0 and LLaDA2.1."""
