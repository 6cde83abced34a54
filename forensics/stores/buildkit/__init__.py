"""BuildKit, in Docker's daemon or by itself."""
