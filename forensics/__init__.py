"""Evidence in, records out: volumes, filesystems, stores, the overlay merge and the case file."""
