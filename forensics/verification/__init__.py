"""Whether a case file still says what its evidence says."""
