"""The vault: the key that wraps, and the bucket."""

from __future__ import annotations

import secrets

from activities.settings import S3Settings, VaultSettings, load
from activities.setup.contract import Result, State
from activities.vault import Vault, keys


class VaultKeyCheck:
    """What wraps the batch keys: a key from the environment, from a file, or of KMS."""

    name = "vault key"

    async def run(self) -> Result:
        """Wraps a key, and unwraps it."""
        settings = load(VaultSettings)
        async with keys.connect(settings) as service:
            await service.unwrap(await service.wrap(secrets.token_bytes(32), self.name), self.name)
        return Result(State.OK, "AWS KMS" if settings.kms_key_id else "master key")


class VaultCheck:
    """The vault's bucket."""

    name = "vault"

    async def run(self) -> Result:
        """Writes, reads, lists and deletes an object with its versions."""
        async with Vault.connect(load(VaultSettings), load(S3Settings)) as vault:
            await vault.probe()
            return Result(State.OK, load(VaultSettings).bucket)

    async def fix(self) -> str | None:
        """Makes the bucket, one that keeps versions, where it is not there."""
        settings, platform = load(VaultSettings), load(S3Settings)
        async with Vault.connect(settings, platform) as vault:
            made = await vault.make_bucket(settings.storage(platform).region)
        return f"made the bucket {settings.bucket}, which keeps versions" if made else None
