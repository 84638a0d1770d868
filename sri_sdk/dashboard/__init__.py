"""What operators look at in a browser, out of the verdict store: what is wrong, since when, and what to do."""
