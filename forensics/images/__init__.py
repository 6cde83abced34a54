"""Disk image formats: each gives the bytes of the disk that a file, or a set of files, stands for."""
