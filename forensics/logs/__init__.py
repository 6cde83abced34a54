"""Logs of containers and of engines: which files there are, whose they are, and their lines."""
