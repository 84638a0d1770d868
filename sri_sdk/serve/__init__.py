"""Verdicts over the network: scoring, without torch. `app.py` knows every path; `server.py` puts it on a socket."""
