"""A deployment that runs for long: canaries, drift, audits, and what is written down."""
