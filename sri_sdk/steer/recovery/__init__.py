"""Recovery: a flagged generation is opened, steered, judged or refused, within a budget, and every action is recorded.

`policy.py` says what is tried; `recovery.py` tries it. Nothing here touches a generation that was not flagged.
"""
