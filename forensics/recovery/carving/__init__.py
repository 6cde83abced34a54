"""What stands in space that nothing owns any more: where it is searched, what may begin there, and what it was."""
