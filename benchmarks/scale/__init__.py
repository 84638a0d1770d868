"""A worked estimate for a billion generations a day, and the simulation behind it: docs/a-billion-a-day.md."""
