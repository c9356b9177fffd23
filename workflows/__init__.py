"""The workflows: each tells the story of one job. Deterministic, without I/O and without personal data."""
