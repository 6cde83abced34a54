"""Docker's data-root: what it holds, where it stands, and how its parts are joined."""
