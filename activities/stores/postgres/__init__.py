"""PostgreSQL: rows are deleted or masked, one transaction a slice.

data_map     what erasure.toml says of it
connection   the pool, and its errors
catalogue    tables, columns and foreign keys as they are
checks       whether the data map fits them
server_state what else goes on in the server: replicas, transactions, locks
survey       what the data map does not name
identities   whose data the tables hold, whoever it is
people       their identities as the database compares them
masks        what a stored value becomes; literals has arrays and JSON
erasing      the erasure; statements has its SQL, conditions what it asks of a row
ranges       how rows are found in a big table without an index
pre_images   where they are in the vault, and which transactions wrote
restoring    the rollback; restore_statements has its SQL
planting     the canary's rows, and their end; filling has what else such a row needs
store        the verbs
"""

from activities.contract import StoreKind
from activities.stores.postgres.catalogue import quote
from activities.stores.postgres.connection import PostgresSettings, connect, stream, translate
from activities.stores.postgres.data_map import PostgresMap
from activities.stores.postgres.planting import PostgresPlanter
from activities.stores.postgres.store import PostgresStore

__all__ = ["KIND", "PostgresSettings", "PostgresStore", "connect", "quote", "stream", "translate"]

KIND = StoreKind(
    name="postgres",
    unit="slice",
    data_map=PostgresMap,
    settings=PostgresSettings,
    connect=connect,
    open=PostgresStore,
    planter=PostgresPlanter,
)
