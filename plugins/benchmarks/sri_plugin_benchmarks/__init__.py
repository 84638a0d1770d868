"""Plugin for published sets of prompts: attacks, harmful requests, and harmless ones that look harmful."""
