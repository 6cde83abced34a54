"""What still knows of removed containers and container images, a module for each kind of source."""
