"""Fetching: finds in PostgreSQL whom to erase, and exports them as the CSV that ``erase`` reads.

data_map   where status, last activity and projects stand
messages   what travels through Temporal: criteria and counts
order      what a fetch starts from, in the vault: data map, and whom to leave out
columns    the columns as they are, and whether the data map fits them
query      the SQL: filters, order, limit
plan       whether the server can answer it by an index
export     runs it, and streams the CSV into the vault
exported   what then lies there
rows       the CSV's rows, written and read again
histogram  how long they have been inactive
steps      the activities
"""
