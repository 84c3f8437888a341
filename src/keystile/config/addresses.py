"""Texts of gateway.yaml that mean a place on a network: listening addresses, networks, upstream servers, origins.

Law: as in ``units.py``: one value in, its real type out, ValueError with what would be right. Nothing is
looked up and nothing is opened here.
"""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from keystile.config.model import Network, Server
from keystile.config.units import text

MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")

_HOST_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*\.?")
_USUAL = {"http": 80, "https": 443}
_PORT = re.compile(r"[0-9]{1,5}")
_ADDRESS_HINT = 'write an IP address and a port, such as 127.0.0.1:8080 or "[::]:8080"'


class Address(NamedTuple):
    """An IP address without brackets and a port; port 0 means any free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return ipaddress.ip_address(self.host).is_loopback


def address(value: object) -> Address:
    """A listening address: ``127.0.0.1:8080``, ``[::1]:8080``; a host name is refused, since it may change."""
    host, colon, port = text(value).rpartition(":")
    if host.lower() == "localhost":
        raise ValueError("names no single address; write 127.0.0.1 or [::1] instead of localhost")
    bracketed = host.startswith("[") and host.endswith("]")
    ip = _ip(host[1:-1] if bracketed else host)
    if not colon or not _PORT.fullmatch(port) or ip is None or bracketed != (ip.version == 6):
        raise ValueError(f"is not an address to listen on; {_ADDRESS_HINT}")
    if int(port) > 65535:
        raise ValueError("has a port above 65535")
    return Address(str(ip), int(port))


def network(value: object) -> Network:
    """A network in CIDR or a single address; ``::ffff:`` networks are the IPv4 networks that they mean."""
    written = text(value)
    try:
        parsed = ipaddress.ip_network(written, strict=False)
    except ValueError:
        raise ValueError("is not a network; write an address or a CIDR, such as 10.0.0.0/8") from None
    if "%" in written:
        raise ValueError("has a zone; write the network without it")
    if "/" in written and ipaddress.ip_address(written.partition("/")[0]) != parsed.network_address:
        raise ValueError(f"has bits set beyond its prefix; write {parsed} for the whole network")
    if isinstance(parsed, ipaddress.IPv6Network) and parsed.subnet_of(MAPPED):
        mapped = parsed.network_address.ipv4_mapped
        return ipaddress.IPv4Network(f"{mapped}/{parsed.prefixlen - 96}")
    return parsed


def server(value: object) -> Server:
    """A server of an upstream: ``http://host[:port]`` or https and nothing more; port 80 or 443 unless written.

    Or ``unix:`` and the path of a socket, as written.
    """
    written = text(value)
    if written.startswith("unix:"):
        return _unix(written.removeprefix("unix:"))
    if re.match(r"http\+unix:|/", written):
        raise ValueError("is not a server; write the path of a Unix socket as unix:run/api.sock")
    if "://" not in written and _split(f"http://{written}") is not None:
        raise ValueError(f"lacks its scheme; write http://{written}")
    parts = _split(written)
    if parts is None or parts.scheme not in _USUAL or parts.path not in ("", "/") or "?" in written or "#" in written:
        raise ValueError("is not a server; write http://host:port without a path, such as http://127.0.0.1:9000")
    assert parts.hostname is not None
    ip = _ip(parts.hostname)
    port = _USUAL[parts.scheme] if parts.port is None else parts.port
    return Server(str(ip) if ip else parts.hostname, port, tls=parts.scheme == "https")


def _unix(written: str) -> Server:
    """The server on a Unix socket; the path is relative to gateway.yaml, and becomes absolute in ``settle.py``."""
    path = Path(written.removeprefix("//") if written.startswith("///") else written)
    if not path.name or written.endswith("/") or re.match(r"//[^/]", written):
        raise ValueError("is not the path of a socket; write such as unix:run/api.sock or unix:/run/api.sock")
    return Server("localhost", 0, unix=path)


def server_name(value: object) -> str | None:
    """A host name to ask for in TLS (RFC 6066 section 3 has no addresses there), in lower case; null for none."""
    if value is None:
        return None
    written = text(value).lower()
    if _ip(written.removeprefix("[").removesuffix("]")) or not _HOST_NAME.fullmatch(written) or "_" in written:
        raise ValueError("is not a host name; write it without scheme, port and path, such as api.internal")
    return written


def https_origin(value: object) -> str | None:
    """``https://host[:port]`` and nothing more; null for none."""
    if value is None:
        return None
    written = text(value)
    parts = _split(written)
    if parts is None or parts.scheme != "https" or parts.path or set("?#") & set(written):
        raise ValueError(
            "is not an https origin; write scheme and host without user, path and query, such as https://api.example.com"
        )
    return origin(written)


def host_name(value: object) -> str:
    """A host name or an IP address as it stands in a Host field, without a port, in lower case."""
    written = text(value).lower()
    if _ip(written.removeprefix("[").removesuffix("]")) or _HOST_NAME.fullmatch(written):
        return written
    raise ValueError("is not a host name; write it without scheme, port and path, such as keys.example.com")


def origin(value: object) -> str:
    """An origin as browsers send it (RFC 6454 section 6.2), or ``*``."""
    written = text(value)
    if written == "*":
        return written
    parts = _split(written)
    if parts is None or parts.scheme not in ("http", "https") or parts.path or set("?#") & set(written):
        raise ValueError("is not an origin; write scheme and host, such as https://app.example.com, or *")
    # Browsers leave out the scheme's own port, and compare byte for byte.
    port = "" if parts.port in (None, _USUAL[parts.scheme]) else f":{parts.port}"
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}{port}"


def _split(url: str) -> SplitResult | None:
    """A URL with a valid host, a port from 1 or none, and no user; None for any other text."""
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname
    except ValueError:
        return None
    if not host or port == 0 or "@" in parts.netloc or parts.netloc.endswith(":"):
        return None
    if not (_ip(host) or _HOST_NAME.fullmatch(host)) or re.search(r"\s", url):
        return None
    return parts


def _ip(written: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address that a text means; a zone (``%eth0``) is not part of one here."""
    if "%" in written:
        return None
    try:
        return ipaddress.ip_address(written)
    except ValueError:
        return None
