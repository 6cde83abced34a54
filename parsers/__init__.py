"""Bytes in, frozen dataclasses out: one module per on-disk format, no evidence, no database, no clock."""
