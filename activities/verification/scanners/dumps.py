"""Reads the platform's exports and backups: files of folders, and objects of S3, opened where they are packed."""

from __future__ import annotations

import asyncio
import gzip
import re
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from botocore.exceptions import ClientError

from activities.contract import Finding, Heartbeat
from activities.errors import translated
from activities.object_storage import translate_for
from activities.settings import S3Settings
from activities.verification.canary import Canary
from activities.verification.content import Content
from activities.verification.contract import Catalogue, Place, Reading, ScannerKind, Scope
from activities.verification.data_map import VerificationMap
from activities.verification.evidence import Evidence, Inside, shown
from activities.verification.needles import Needles
from activities.verification.reach import is_within_reach, left_out
from activities.verification.scanners.s3.places import Area, listed, refused

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

CHUNK = 64 * 1024
"""Bytes of a file that are read at once."""

_WILD = re.compile(r"[*?\[]")
_REMEDY = "Let the worker read it, then verify again."
_translate = translate_for("dumps", "ERASURE_S3__*")


@dataclass(frozen=True)
class Dump:
    """One file.

    Args:
        path: Its path, or its key.
        size: Its bytes.
        bucket: The bucket that it is in; empty where it is in a folder.
    """

    path: str
    size: int
    bucket: str = ""


class DumpsScanner:
    """Reads dumps: see `activities.verification.contract.Scanner`. The scope's mapped places are their locations.

    A location is not written to, it may be a backup that cannot be written: the canary is a packed file of its own.

    Args:
        client: S3, for those that are there.
    """

    def __init__(self, client: S3Client) -> None:
        self._client = client
        self._canary: dict[str, str] = {}

    async def catalogue(self, scope: Scope) -> Catalogue:
        """Lists the locations, and how much is there."""
        catalogue = Catalogue("files")
        with translated("dumps", _translate):
            for location in dict.fromkeys(scope.mapped):
                if not is_within_reach(scope, "dumps", location):
                    why, remedy = "locations outside of the reach that the data map sets", "Widen verification.reach."
                    catalogue.not_proven.extend(left_out("dumps", [location], why, remedy))
                    continue
                try:
                    sizes = [dump.size async for dump in self._dumps(location)]
                except ClientError as error:
                    catalogue.not_proven.append(refused(location, "cannot be listed", error))
                except OSError as error:
                    catalogue.not_proven.append(Finding(location, f"cannot be listed ({error.strerror})", _REMEDY))
                else:
                    if sizes:
                        catalogue.places.append(Place(location, len(sizes), sum(sizes)))
                    else:
                        what = "holds no file, so that nothing was read"
                        catalogue.not_proven.append(Finding(location, what, "Correct verification.dumps."))
            catalogue.places.extend(Place(name, 1, 0) for name in self._canary)
        return catalogue

    async def read(self, place: Place, scope: Scope, needles: Needles, heartbeat: Heartbeat) -> Reading:  # noqa: ARG002 read whole at every depth
        """Reads all files of a location."""
        evidence = Evidence(needles)
        location = self._canary.get(place.name, place.name)
        with translated("dumps", _translate):
            try:
                async for dump in self._dumps(location):
                    await self._read(dump, place.name, evidence, needles, heartbeat)
            except ClientError as error:
                evidence.leave_out([refused(place.name, "could not be listed to its end", error)])
        return evidence.reading()

    @asynccontextmanager
    async def planted(self, value: str) -> AsyncIterator[str]:
        """Puts an address into a packed file of its own, which is read as a location."""
        canary = Canary(value)
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "canary.csv.gz").write_bytes(gzip.compress(f"email\n{value}\n".encode()))
            self._canary = {canary.name: f"file://{folder}/"}
            try:
                yield canary.name
            finally:
                self._canary = {}

    async def _dumps(self, location: str) -> AsyncIterator[Dump]:
        """Yields the files of a location."""
        if location.startswith("s3://"):
            area = Area.of(location)
            literal = _WILD.split(area.prefix, maxsplit=1)[0]
            async with aclosing(listed(self._client, Area(area.bucket, literal))) as pages:
                async for page in pages:
                    for entry in page:
                        if literal == area.prefix or fnmatchcase(entry["Key"], area.prefix):
                            yield Dump(entry["Key"], entry["Size"], area.bucket)
        else:
            for path in _files(Path(unquote(location.removeprefix("file://")))):
                yield Dump(str(path), path.stat().st_size)

    async def _read(
        self, dump: Dump, location: str, evidence: Evidence, needles: Needles, heartbeat: Heartbeat
    ) -> None:
        """Reads one file, whatever it is packed in."""
        name = dump.path.rpartition("/")[2]
        inside = Inside(evidence, f"{location} ({shown(name, needles)})")
        inside.look([name], [""])

        def sealed(kind: str) -> None:
            evidence.miss(inside.place, f"files whose content nobody can read ({kind})", "Look into them by hand.")

        content = Content(inside.look, sealed)
        size = 0
        try:
            async with aclosing(self._chunks(dump)) as chunks:
                async for chunk in chunks:
                    content.feed(chunk)
                    size += len(chunk)
                    heartbeat(location, evidence.records)
        except ClientError as error:
            evidence.leave_out([refused(inside.place, "could not be read", error)])
        except OSError as error:
            evidence.miss(inside.place, f"files that could not be read ({error.strerror})", _REMEDY)
        content.end()
        evidence.records += 1
        evidence.bytes += size
        evidence.add(evidence.records, inside.holds)

    async def _chunks(self, dump: Dump) -> AsyncGenerator[bytes, None]:
        if dump.bucket:
            answer = await self._client.get_object(Bucket=dump.bucket, Key=dump.path)
            body = answer["Body"]
            async with body:
                while chunk := await body.read(CHUNK):
                    yield chunk
            return
        with await asyncio.to_thread(Path(dump.path).open, "rb") as file:
            while chunk := await asyncio.to_thread(file.read, CHUNK):
                yield chunk


def _files(path: Path) -> Iterator[Path]:
    """The files that a path names: itself, all of a folder, or what its wild cards match."""
    match = _WILD.search(str(path))
    if match is None:
        yield from (each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
        return
    base = Path(str(path)[: match.start()].rpartition("/")[0] or "/")
    yield from (each for each in base.glob(str(path.relative_to(base))) if each.is_file())


def _open(client: S3Client, _: S3Settings) -> DumpsScanner:
    return DumpsScanner(client)


def _mapped(data_map: VerificationMap) -> tuple[str, ...]:
    return data_map.dumps


KIND: ScannerKind[S3Client, VerificationMap, S3Settings] = ScannerKind(name="dumps", open=_open, mapped=_mapped)
