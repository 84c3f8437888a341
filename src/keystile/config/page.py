"""Where people find the page: the address that a command or a log line sends them to.

Law: settings in, text out. Behind a proxy the outside may be reached elsewhere; who knows better puts its own
address in front of the path.
"""

from __future__ import annotations

from keystile.config.model import Management


def page_url(management: Management, port: int | None = None) -> str:
    """Return ``https://keys.example.com:8443``: the first of ``hosts``, or the address, and the port.

    ``port``: the one that is listened on, where the settings leave it open (0).
    """
    scheme, usual = ("https", 443) if management.tls else ("http", 80)
    host = management.hosts[0] if management.hosts else _reachable(management.host)
    if ":" in host and not host.startswith("["):
        host = f"[{host}]"
    number = port or management.port
    return f"{scheme}://{host}" + ("" if number == usual else f":{number}")


def link_path(token: str) -> str:
    """Return the path of a one-time link. The token stands in the query, which no log or error of ours holds."""
    return f"/link?token={token}"


def _reachable(host: str) -> str:
    # "Every address" is none that a browser can go to.
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
