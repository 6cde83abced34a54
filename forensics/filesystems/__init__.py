"""Filesystem back ends, one module or folder each, all behind `forensics.filesystem.Filesystem`."""
