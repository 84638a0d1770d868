"""Where the requests of `sri monitor` come from."""
