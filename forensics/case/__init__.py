"""The case file: its tables and views, its only writer, and the look-ups that the commands share."""
