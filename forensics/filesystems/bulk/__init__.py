"""What ext4 and XFS have in common: directories and inodes are read by the thousand, and kept in columns."""
