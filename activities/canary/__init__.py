"""The canary: a made-up contributor who is erased before real people are touched, and must be gone then.

person     who it is, and what its values become
messages   what travels between workflow and activities
book       what was planted and not taken away yet, in the vault
steps      the activities
"""
