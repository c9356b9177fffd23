"""Valkey as a cluster, and behind a Sentinel: for tests of the product only, the stack has neither."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from devstack.process import START_TIMEOUT, StackError, free_port
from devstack.valkey import Valkey

SLOTS = 16_384
"""Of every cluster."""


class ValkeyCluster:
    """Three primaries that share the slots.

    Args:
        folder: Theirs.
    """

    def __init__(self, folder: Path) -> None:
        self.nodes = [_node(folder / str(number)) for number in range(3)]

    def start(self) -> None:
        """Starts the nodes, makes them a cluster, and waits until each of them says that it is whole.

        Raises:
            StackError: It does not come to be.
        """
        for node in self.nodes:
            node.spawn()
        for node in self.nodes:
            node.wait()
        for number in range(len(self.nodes)):
            share = [SLOTS * each // len(self.nodes) for each in (number, number + 1)]
            with self.client(number) as client:
                client.execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
                client.execute_command("CLUSTER ADDSLOTSRANGE", share[0], share[1] - 1)
                if number:
                    first = self.nodes[0]
                    client.execute_command("CLUSTER MEET", "127.0.0.1", first.port, first.bus_port)
        deadline = time.monotonic() + START_TIMEOUT
        while not all(self._is_whole(number) for number in range(len(self.nodes))):
            if time.monotonic() > deadline:
                raise StackError(f"the nodes below {self.nodes[0].folder.parent} do not become a cluster")
            time.sleep(0.05)

    def _is_whole(self, number: int) -> bool:
        with self.client(number) as client:
            info = client.execute_command("CLUSTER INFO")
        return bool(info["cluster_state"] == "ok" and info["cluster_known_nodes"] == str(len(self.nodes)))

    def client(self, number: int) -> Redis:
        """A client of one node."""
        return Redis(port=self.nodes[number].port)

    def stop(self) -> None:
        """Ends the nodes."""
        for node in self.nodes:
            node.stop()

    @property
    def env(self) -> Mapping[str, str]:
        """How the product reaches it."""
        return {**self.nodes[0].env, "ERASURE_REDIS__CLUSTER": "true"}


class ClusterNode(Valkey):
    """One node of a cluster.

    Args:
        folder: Its own.
        bus_port: Where the nodes talk to each other.
    """

    def __init__(self, folder: Path, bus_port: int) -> None:
        self.bus_port = bus_port
        super().__init__(
            folder,
            tied=True,
            options=["--cluster-enabled", "yes", "--cluster-port", str(bus_port), "--cluster-node-timeout", "5000"],
        )


def _node(folder: Path) -> ClusterNode:
    return ClusterNode(folder, free_port())


class WatchedValkey:
    """A primary with a replica, and a Sentinel that watches them and asks for a password.

    Args:
        folder: Theirs.
    """

    service = "platform"

    def __init__(self, folder: Path) -> None:
        at_once = ["--repl-diskless-sync-delay", "0"]
        self.primary = Valkey(folder / "primary", tied=True, options=at_once)
        replica_of = ["--replicaof", "127.0.0.1", str(self.primary.port)]
        self.replica = Valkey(folder / "replica", tied=True, options=replica_of)
        self.password = secrets.token_hex(8)
        self.sentinel = Sentinel(folder / "sentinel", self.service, self.primary.port, self.password)

    def start(self) -> None:
        """Starts all three, and waits until the replica has the primary's data.

        Raises:
            StackError: It does not get them.
        """
        for server in (self.primary, self.replica, self.sentinel):
            server.start()
        deadline = time.monotonic() + START_TIMEOUT
        with Redis(port=self.replica.port) as replica:
            while replica.info("replication")["master_link_status"] != "up":
                if time.monotonic() > deadline:
                    raise StackError(f"the replica in {self.replica.folder} does not get the primary's data")
                time.sleep(0.02)

    def switch(self) -> None:
        """Makes the replica the primary and tells the Sentinel, who would take ten seconds to do so itself."""
        with (
            Redis(port=self.replica.port) as replica,
            Redis(port=self.primary.port) as primary,
            Redis(port=self.sentinel.port, password=self.password) as sentinel,
        ):
            replica.execute_command("REPLICAOF", "NO", "ONE")
            primary.execute_command("REPLICAOF", "127.0.0.1", self.replica.port)
            sentinel.execute_command("SENTINEL", "REMOVE", self.service)
            sentinel.execute_command("SENTINEL", "MONITOR", self.service, "127.0.0.1", self.replica.port, 1)

    def stop(self) -> None:
        """Ends them."""
        for server in (self.sentinel, self.replica, self.primary):
            server.stop()

    @property
    def env(self) -> Mapping[str, str]:
        """How the product reaches it."""
        return {
            "ERASURE_REDIS__URL": f"redis://{self.service}/0",
            "ERASURE_REDIS__SENTINELS": f"127.0.0.1:{self.sentinel.port}",
            "ERASURE_REDIS__SENTINEL_PASSWORD": self.password,
        }


class Sentinel(Valkey):
    """A Sentinel, alone: it decides by itself.

    Args:
        folder: Its own; its configuration, which it writes to.
        service: The name that it gives to the primary.
        port: The primary's.
        password: What it asks for.
    """

    name = "sentinel"

    def __init__(self, folder: Path, service: str, port: int, password: str) -> None:
        super().__init__(folder, tied=True)
        self._watched = (service, port)
        self._password = password

    def command(self) -> list[str]:
        """Writes its configuration."""
        service, port = self._watched
        configuration = self.folder / "sentinel.conf"
        configuration.write_text(
            f"bind 127.0.0.1\nport {self.port}\ndir {self.folder}\nrequirepass {self._password}\n"
            f"sentinel monitor {service} 127.0.0.1 {port} 1\nsentinel down-after-milliseconds {service} 60000\n"
        )
        return [super().command()[0], str(configuration), "--sentinel"]

    def is_ready(self) -> bool:
        """Pings it."""
        try:
            with Redis(port=self.port, password=self._password) as client:
                return bool(client.ping())
        except RedisError:
            return False
