"""XFS, read without the kernel."""
