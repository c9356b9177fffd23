"""What was planted of a canary and not taken away yet: in the vault, where it outlives the batch."""

from __future__ import annotations

from dataclasses import asdict

from activities.contract import Finding, Seed, Seeds
from activities.vault import BatchVault


class Book:
    """The records of one canary; what is to be planted stands here before it is written anywhere else.

    Args:
        archive: The vault's archive under the canary's name.
    """

    def __init__(self, archive: BatchVault) -> None:
        self._archive = archive

    async def planned(self, erasure: str, store: str) -> Seeds | None:
        """What is to be planted in a store; None where nobody has settled that yet.

        Args:
            erasure: The batch that is going to erase it.
            store: Where.
        """
        name = f"planted/{erasure}/{store}"
        return None if await self._archive.receipt(name) is None else await self._read(name)

    async def plan(self, erasure: str, store: str, seeds: Seeds) -> Seeds:
        """Keeps what is to be planted, once.

        Args:
            erasure: The batch that is going to erase it.
            store: Where.
            seeds: What.

        Returns:
            What is kept: that of whoever was first.
        """
        name = f"planted/{erasure}/{store}"
        async with self._archive.recording(name) as recording:
            for seed in seeds.seeds:
                await recording.add(seed.place, {"seed": seed.record})
            for each in seeds.missed:
                await recording.add(each.place, {"missed": asdict(each)}, count=0)
        return await self._read(name)

    async def outstanding(self, store: str) -> list[Seed]:
        """All that may still be in a store, of whatever batch."""
        found: list[Seed] = []
        for erasure in await self._open():
            if (seeds := await self.planned(erasure, store)) is not None:
                found += seeds.seeds
        return found

    async def close(self) -> None:
        """Puts down that nothing is left of all that was planted so far."""
        for erasure in await self._open():
            async with self._archive.recording(f"uprooted/{erasure}"):
                pass  # its name says it all

    async def _open(self) -> list[str]:
        planted = {name.split("/")[1] for name in await self._archive.names("planted/")}
        return sorted(planted - {name.split("/")[1] for name in await self._archive.names("uprooted/")})

    async def _read(self, name: str) -> Seeds:
        seeds = Seeds()
        async for place, record in self._archive.records(name):
            if "seed" in record:
                seeds.seeds.append(Seed(place, record["seed"]))
            else:
                seeds.missed.append(Finding(**record["missed"]))
        return seeds
