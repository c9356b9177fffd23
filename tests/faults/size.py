"""How large a platform is where many batches run: everything is there, and as little of it as can be."""

from __future__ import annotations

from dataclasses import replace

from devstack.platform.plan import SMALL

TINY = replace(
    SMALL,
    documents=60,
    metric_rows=100,
    quality_rows=100,
    job_mappings=100,
    devices=40,
    payments=100,
    tickets=40,
    audit_rows=100,
    cached=20,
)
