"""What a store of ten million rows costs: `run.py` queries, `dashboard.py` whole pages, `batches.py` commits."""
