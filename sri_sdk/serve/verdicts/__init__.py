"""The verdict store over HTTP: what is posted, looked up, followed and erased. `routes.py` has every path."""
