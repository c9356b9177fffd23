"""The vault: encrypted object storage for what must not be in Temporal: CSVs, manifests, pre-images, reports.

Every object is sealed with AES-256-GCM under its batch's key, which is itself sealed under the master key. An object
is bound to its own name (batch, store, slice and part are in it), so that none can stand in for another. A name is
written once: its index is put last and only if there is none yet, so a zombie attempt can never replace a pre-image.

    batches/<batch>/key                       the batch key, wrapped
    batches/<batch>/<name>/<attempt>-<part>   sealed parts
    batches/<batch>/<name>/index              sealed list of the parts: the name exists once this does
"""

from __future__ import annotations

from activities.vault.batch import PART_SIZE, BatchVault, Receipt, Recording
from activities.vault.keys import MasterKey
from activities.vault.sealing import VaultMissingError, VaultTamperedError
from activities.vault.vault import Vault

__all__ = [
    "PART_SIZE",
    "BatchVault",
    "MasterKey",
    "Receipt",
    "Recording",
    "Vault",
    "VaultMissingError",
    "VaultTamperedError",
]
