"""The command line: submits batches and shows them. Knows no store."""
