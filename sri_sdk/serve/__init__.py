"""Verdicts over the network: scoring, without torch.

`build.py` knows every part and path; `server.py` puts them on a socket.
"""
