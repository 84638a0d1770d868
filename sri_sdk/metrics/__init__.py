"""What a guard is worth: rates with exact intervals, and how well scores separate."""
