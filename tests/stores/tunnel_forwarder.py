"""Stands in for kubectl and ssh: takes their arguments, and forwards real TCP to where its cluster's file says.

It runs by itself, as a program of either name; what it is to say and do stands in the JSON file that TUNNEL_CLUSTER
names: ``target`` is a port of the loopback interface, ``says`` makes it fail with these words. Each start is logged
there beside, a line of JSON each.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

CLUSTER = "TUNNEL_CLUSTER"


def _kubectl(arguments: list[str]) -> tuple[int, dict[str, Any]]:
    parser = argparse.ArgumentParser("kubectl", allow_abbrev=False)
    parser.add_argument("command", choices=["port-forward"])
    parser.add_argument("--context")
    parser.add_argument("--namespace")
    parser.add_argument("--address", required=True)
    parser.add_argument("end")
    parser.add_argument("ports")
    given = parser.parse_args(arguments)
    local, _, remote = given.ports.partition(":")
    return int(local), {**vars(given), "remote": int(remote)}


def _ssh(arguments: list[str]) -> tuple[int, dict[str, Any]]:
    parser = argparse.ArgumentParser("ssh", allow_abbrev=False)
    parser.add_argument("-N", action="store_true", required=True)
    parser.add_argument("-o", action="append")
    parser.add_argument("-L", required=True)
    parser.add_argument("host")
    given = parser.parse_args(arguments)
    address, local, target, remote = given.L.split(":")
    return int(local), {"address": address, "host": given.host, "target": target, "remote": int(remote)}


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            sink.sendall(data)
    for each in (source, sink):
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


def _forward(client: socket.socket, target: int) -> None:
    try:
        server = socket.create_connection(("127.0.0.1", target))
    except OSError:
        client.close()
        return
    for source, sink in ((client, server), (server, client)):
        threading.Thread(target=_pump, args=(source, sink), daemon=True).start()


def main() -> int:
    name = Path(sys.argv[0]).name
    local, given = {"kubectl": _kubectl, "ssh": _ssh}[name](sys.argv[1:])
    file = Path(os.environ[CLUSTER])
    cluster = json.loads(file.read_text())
    with file.with_suffix(".log").open("a") as log:
        log.write(json.dumps({"pid": os.getpid(), "at": time.time(), "local": local, **given}) + "\n")
    if cluster["says"]:
        sys.stderr.write(cluster["says"] + "\n")
        return 1
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", local))
    except OSError:
        sys.stderr.write(f"Unable to listen on port {local}: listen tcp4: bind: address already in use\n")
        return 1
    listener.listen()
    sys.stdout.write(f"Forwarding from 127.0.0.1:{local} -> {given['remote']}\n")
    sys.stdout.flush()
    while True:
        client, _ = listener.accept()
        _forward(client, cluster["target"])


if __name__ == "__main__":
    sys.exit(main())
