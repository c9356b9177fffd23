"""Reads Elasticsearch: every document of every index, whole.

indices    which indices there are, by the cluster's own word
fields     which fields a document's ``_source`` does not show, and how they are read all the same
documents  every value of a document, with the field that it stands in
scanner    reads an index under a point in time
"""

from __future__ import annotations

from typing import Any

from elasticsearch import AsyncElasticsearch
from pydantic import RootModel

from activities.stores.elasticsearch.connection import ElasticsearchSettings
from activities.verification.contract import ScannerKind
from activities.verification.scanners.elasticsearch.scanner import ElasticsearchScanner

Patterns = RootModel[dict[str, Any]]
"""What a scan knows of the data map: patterns of indices."""


def _open(client: AsyncElasticsearch, _: ElasticsearchSettings) -> ElasticsearchScanner:
    return ElasticsearchScanner(client)


def _mapped(data_map: Patterns) -> list[str]:
    return list(data_map.root)


KIND: ScannerKind[AsyncElasticsearch, Patterns, ElasticsearchSettings] = ScannerKind(
    name="elasticsearch", open=_open, mapped=_mapped
)
