"""Deleted files: what still tells of them, on each kind of filesystem, and what is left of their contents."""
