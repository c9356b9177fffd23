"""The work of an erasure: what each activity does, store by store. Knows nothing of workflows, worker or CLI."""
