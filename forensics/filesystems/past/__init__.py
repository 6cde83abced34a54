"""What a filesystem's log tells of the past, in terms that filesystems have in common."""
