"""ext2, ext3 and ext4, read by our own reader, with the journal replayed in memory."""
