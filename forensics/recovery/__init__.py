"""What was removed: deleted files, removed containers, and the space that nothing owns any more."""
