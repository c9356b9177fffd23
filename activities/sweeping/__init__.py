"""The sweep: finds identities that came back after their erasure, and makes a batch of them.

messages   what travels between workflow and activities
words      what in a text may be an identity
accounts   the identity table: who came back, and who registered anew
looking    one store: which of the values that it holds have a tombstone
gathering  what was found, as the submission of a batch
steps      the activities
"""
