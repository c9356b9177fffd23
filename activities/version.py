"""The version of this tool, as certificates name it; `pyproject.toml` reads it from here."""

VERSION = "0.1.0"
