"""What `sri serve` costs, and what it withstands: `cost.py`, `batching.py`, `crowd.py`, `kills.py`."""
