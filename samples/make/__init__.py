"""How the samples were made: real engines on a host of their own write a disk, which then loses its power."""
