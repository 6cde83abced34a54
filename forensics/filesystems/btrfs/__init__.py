"""Btrfs: chunks and mirrors, trees, subvolumes and snapshots, compressed extents."""
