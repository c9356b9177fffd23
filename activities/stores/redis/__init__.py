"""Redis: keys are found by name or by one scan for the batch, and go whole, or lose the identities that they hold.

What a template names (``auth:{contributor_id}``) is unlinked, and nothing of it is restored: caches rebuild by
themselves, and a session is never resurrected. So a back-up holds counts and keyed hashes of such keys, no content, and
what appears between back-up and erasure needs none.

What a rule names (``{ key = "online:*", members = "worker_id" }``) stays, and its members, fields, values, elements or
entries are masked or removed, each by a script that compares and changes at once. Their pre-images are in the back-up,
and once more, as they stand then, right before each write: these are what a rollback puts back.

data_map     which keys, and what in them
forms        forms of keys, with one identity or none
connection   one server, a Cluster, Sentinels; errors in our words
keyspace     all keys of all nodes: scans at bounded speed, pipelines
finding      the keys and items of a slice's people
contents     what keys hold, in pages
changes      pre-images, and their way into Redis and back
identities   whose keys there are, whoever it is
scripts      what runs on the server
planting     the canary's keys, and their end
restoring    the way back
rights       the check: what the user may not do
server_state what else goes on in the server: memory, replicas
survey       what the data map does not name
shapes       what keys have in common
store        the verbs
"""

from __future__ import annotations

from activities.contract import StoreKind
from activities.stores.redis.connection import RedisSettings, connect
from activities.stores.redis.data_map import RedisMap
from activities.stores.redis.planting import RedisPlanter
from activities.stores.redis.store import RedisStore

KIND = StoreKind(
    name="redis",
    unit="batch",
    data_map=RedisMap,
    settings=RedisSettings,
    connect=connect,
    open=RedisStore,
    planter=RedisPlanter,
)
