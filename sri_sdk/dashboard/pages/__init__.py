"""The pages, one file each: what is asked of the store, and which template shows it."""
