"""The verdict store: what a guard said of each request, kept until it is old, and found again by the request's id."""
