"""The verification: looks for what an erasure left, and does not trust the eraser.

contract      what a scanner offers
needles       the identities of a batch, and how a text is searched for all of them at once
surroundings  what stands beside an identity: whether it is one there
spellings     how one text can be spelled: cases and escapes
scanners      one module a store
tally         what a scanner finds in one place, added up
reach         which places are looked at
canary        what a scan plants to see that it finds it
content       bodies of objects and files, searched as they stream; packing opens what is packed, evidence counts
scanning      the scan of one store, and what it will cost
folding       what came of all places, in one answer
access        whether the platform's own API, and the identity table, still know them
people        who is looked for
data_map      what erasure.toml says of it
messages      what its workflow knows; report writes it down
steps         its activities
"""
