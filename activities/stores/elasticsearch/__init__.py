"""Elasticsearch: documents are found by the identities in their fields, masked, and written back under guard.

connection   settings, client, errors
documents    what an erasure makes of one document: pure, knows no server
catalogue    which indices a pattern names, how they map a field, and what forbids to work on them
search       the query that finds every document that may have to change
reading      pages of the documents that have to change
writing      guarded bulk requests
identities   what the fields hold, whoever's it is
pre_images   what the vault holds of a slice
unmasking    what a rollback makes of one document: pure, knows no server
restoring    pages of pre-images, put back under the same guard
survey       what the data map does not name
planting     the canary's documents, and their end
server_state what else goes on in the cluster: its health, room on its disks
purging      has old versions merged away
store        the verbs
"""

from __future__ import annotations

from activities.contract import StoreKind
from activities.stores.elasticsearch.connection import ElasticsearchSettings, connect
from activities.stores.elasticsearch.documents import ElasticsearchMap
from activities.stores.elasticsearch.planting import ElasticsearchPlanter
from activities.stores.elasticsearch.store import ElasticsearchStore

KIND = StoreKind(
    name="elasticsearch",
    unit="slice",
    data_map=ElasticsearchMap,
    settings=ElasticsearchSettings,
    connect=connect,
    open=ElasticsearchStore,
    planter=ElasticsearchPlanter,
)
