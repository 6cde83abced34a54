"""What a person reads of a case file; nothing here ever opens the evidence."""
