"""Where signals become verdicts: in this process, in one of its own, or at a server."""
