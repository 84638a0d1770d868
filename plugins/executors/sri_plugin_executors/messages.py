"""What a process and its parent say to each other: one byte that says what it is, then the bytes themselves."""

STAGE, PROMPTS = b"S", b"P"
"""To the worker: what the following shards have in common; one shard."""
MADE, FAILED = b"M", b"F"
"""From the worker: the shard, made; or what it raised, as text, and then it ends."""
