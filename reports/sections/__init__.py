"""The sections of a report: each reads what it is about, as dataclasses that every form of the report is made of."""
