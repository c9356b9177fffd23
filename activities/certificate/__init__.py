"""The certificate: what was done to a batch, signed and hash-chained, to be checked offline by whoever holds a file.

`docs/certificate.md` describes the document; whoever trusts none of this can check it with twenty lines of their own.
"""
