"""What is suspicious in a case: one module for each theme, and rules as small functions."""
