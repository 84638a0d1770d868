"""The tap: what a model computes while it generates becomes traces, signals and verdicts. Needs the `capture` extra."""
