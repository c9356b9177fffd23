"""A way to a server that cannot be reached from here: ``kubectl port-forward``, or an SSH tunnel.

routes   what is run, and what it means when that ends with an error
lease    a process that ends with this one, however that ends
tunnel   keeps a route open, and tells its local port
http     requests that go through it
"""

from __future__ import annotations

from activities.tunnel.http import Passage, passed
from activities.tunnel.routes import PortForward, Route, SshTunnel

__all__ = ["Passage", "PortForward", "Route", "SshTunnel", "passed"]
