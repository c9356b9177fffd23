"""ClickHouse: one mutation a table a batch, joined with the batch's values; masks are reversible tokens.

connection   settings, client, errors
cluster      one server or all of a cluster: what statements have to say
data_map     table patterns and their fields
schema       the database's own catalogue: tables, columns, what feeds what
shapes       what a column's type is made of
fields       fields of the data map in a table's columns, and what forbids to mask them
catalogue    the tables behind the patterns
expressions  SQL over what lies in a column
masking      the SQL that finds, masks and unmasks the rows of one table
json_text    where values stand in a text that is JSON
values       the values that a batch finds, each with its mask
staging      the batch's own table
mutations    starts one, waits for exactly that one, kills what cannot finish
rewriting    tables whose keys hold what is masked are written anew
identities   what the columns hold, whoever's it is
streams      waits for rows that are on their way
extent       which parts a mutation would write anew
server_state what else goes on in the server: other mutations, room on its disks
remains      dictionaries, detached and outdated parts, left-over tables
survey       what looks like an identity and is not in the data map
planting     the canary's rows, and their end
rights       what the user may do, asked of the server
store        the verbs
"""

from __future__ import annotations

from activities.contract import StoreKind
from activities.stores.clickhouse.connection import ClickHouseSettings, connect
from activities.stores.clickhouse.data_map import ClickHouseMap
from activities.stores.clickhouse.planting import ClickHousePlanter
from activities.stores.clickhouse.store import ClickHouseStore

KIND = StoreKind(
    name="clickhouse",
    unit="batch",
    data_map=ClickHouseMap,
    settings=ClickHouseSettings,
    connect=connect,
    open=ClickHouseStore,
    planter=ClickHousePlanter,
)
