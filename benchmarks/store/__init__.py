"""What a verdict store of ten million rows costs: `python -m benchmarks.store.run`."""
