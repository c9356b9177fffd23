"""Real servers of everything, on this machine and without Docker: for the demo and for tests."""
