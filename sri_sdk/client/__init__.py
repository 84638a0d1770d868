"""The model's process talks to `sri serve`: verdicts go out, verdicts come back, and no generation waits for either.

`client.py` is what a service uses. `outbox.py` delivers in a thread of its own, `calls.py` asks within a budget,
`circuit.py` stops asking a scorer that is down. `held.py` keeps streamed text back, `middleware.py` whole responses.
"""
