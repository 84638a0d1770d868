"""Plugin for judges that are language models: one behind an endpoint, one on this machine."""
