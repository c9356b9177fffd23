"""S3: a contributor's files are found by prefix, key or content, and deleted 1,000 a request.

In a versioned bucket a delete only puts a marker on top, so the versions themselves are the pre-image. Elsewhere the
body and everything that belongs to it is copied into the vault first.

data_map     where a contributor's objects are
listing      finds them, and every version of them
content      finds them by their text, and masks that
pre_images   what was there, in the vault
digests      all of a slice's at once, in little memory
copies       an object into the vault and back
deleting     a thousand a request, with every key's own error
restoring    the way back
purging      its end
uploads      unfinished uploads
locks        what object lock keeps
rights       what the user may do, tried on keys that nobody has
expiry       what a bucket's own lifecycle takes away
identities   whose files there are, whoever it is
survey       prefixes that the data map does not name
planting     the canary's objects, and their end
store        the verbs
"""

from __future__ import annotations

from activities.contract import StoreKind
from activities.settings import S3Settings
from activities.stores.s3.data_map import S3Map
from activities.stores.s3.planting import S3Planter
from activities.stores.s3.store import S3Store, connect

KIND = StoreKind(
    name="s3",
    unit="slice",
    data_map=S3Map,
    settings=S3Settings,
    connect=connect,
    open=S3Store,
    planter=S3Planter,
)
