"""What was collected from a host's filesystem, without the disk below it: a directory, or an archive."""
