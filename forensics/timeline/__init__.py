"""What happened, when: events that are read from a case whose records and layers are written."""
