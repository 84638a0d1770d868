"""What recovery does to flagged generations, and what it costs: `make recovery`."""
