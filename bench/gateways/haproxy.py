"""HAProxy doing the work by maps: the fastest way found that leaves none of it out.

Law: writes one configuration and its three maps. Choices that a reader may doubt, each in HAProxy's favour:

* Scopes are bits of one number, so that "holds all that is needed" is an ``and`` and a comparison, however many
  scopes there are; a text search for each scope costs more.
* Operations are found by exact look-up of method and path. Only where that finds nothing is the path looked up
  again with one segment replaced by ``*``, the commonest place of a parameter first (the API has one parameter in a
  path at most; ``shapes.py`` makes sure that the order of the look-ups cannot matter). A ``map_reg`` of the templates,
  the usual way, tries them one after the other and costs far more.
* The cache of patterns is off: its look-ups cost more (5 to 15 % of a request) than the tree look-ups they save.
* Not done at all: the refusal of ambiguous paths, of a second key, and of wrong methods (404 here, not 405).
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from bench.cases import Case
from bench.gateways.gateway import SPOOFABLE, Scene
from bench.gateways.shapes import places, shapes

CONFIGURATION = """\
global
    nbthread {relays}
    tune.pattern.cache-size 0
    maxconn 4096
{global_log}

defaults
    mode http
    timeout client 75s
    timeout http-request 10s
    timeout http-keep-alive 75s
    timeout connect 5s
    timeout server 600s
    http-reuse always
{log}

frontend api
    bind 127.0.0.1:{port}{tls}
    unique-id-format %[uuid()]
    stick-table type ipv6 size {size} store conn_cur

{told}
    http-request set-var(txn.path) path
    http-request set-var(txn.need) {find}
{find_templates}

    http-request set-var(txn.key) req.hdr(X-Api-Key),sha2(256),hex,map_str({keys})
    http-request deny deny_status 401 if !{{ var(txn.key) -m found }}
    http-request set-var(txn.network) src,map_ip({networks})
    http-request deny deny_status 403 if !{{ var(txn.key),field(5,|),strcmp(txn.network) eq 0 }}
    http-request deny deny_status 404 if !{{ var(txn.need) -m found }}
    http-request deny deny_status 403 if !{{ var(txn.key),field(4,|),and(txn.need),xor(txn.need) eq 0 }}
    http-request track-sc0 src
    http-request deny deny_status 429 if {{ sc0_conn_cur gt {cap} }}

    http-request del-header X-Api-Key
    http-request del-header X-Forwarded- -m beg
    http-request del-header X-Keystile- -m beg
{del_spoofable}
    http-request set-header X-Request-Id %[unique-id]
    http-request set-header X-Forwarded-For %[src]
    http-request set-header X-Forwarded-Proto {scheme}
    http-request set-header X-Forwarded-Host %[req.hdr(Host)]
    http-request set-header X-Keystile-Account %[var(txn.key),field(1,|)]
    http-request set-header X-Keystile-Key %[var(txn.key),field(2,|)]
    http-request set-header X-Keystile-Scopes %[var(txn.key),field(3,|)]
    http-request add-header Via "1.1 haproxy"
    http-response set-header X-Request-Id %[unique-id]
    http-response add-header Via "1.1 haproxy"
    default_backend api

backend api
    server api 127.0.0.1:{backend_port}
"""

# The same versions, suites, groups and order as Keystile's profile.
TLS = (
    " ssl crt {certificate} alpn http/1.1 ssl-min-ver TLSv1.2 curves X25519:P-256:P-384"
    " ciphersuites TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
    " ciphers ECDHE+AESGCM:ECDHE+CHACHA20"
)

FIND = "method,concat(,txn.path),map_str_int({operations})"
SHAPE = """'regsub("^((/[^/]+){{{before}}}/)[^/]+","\\1*")'"""
FIND_TEMPLATES = """\
    http-request set-var(txn.path) path,{shape} if !{{ var(txn.need) -m found }}
    http-request set-var(txn.need) {find} if !{{ var(txn.need) -m found }}"""

LOG_FORMAT = (
    '{"time":%Ts.%ms,"request_id":"%[unique-id]","address":"%ci",'
    '"account":"%[var(txn.key),field(1,|)]","key":"%[var(txn.key),field(2,|)]",'
    '"method":"%HM","path":"%HPO","route":"%[var(txn.path),json(utf8s)]","status":%ST,"refusal":"%tsc",'
    '"bytes_in":%U,"bytes_out":%B,"wait":%Tr,"total":%Ta}'
)


class HAProxy:
    """HAProxy with one thread."""

    name = "haproxy"
    leaves_out: tuple[str, ...] = ("ambiguous paths",)

    def missing(self) -> str | None:
        """Debian's package brings it."""
        return None if shutil.which("haproxy") else "HAProxy is not installed: apt-get install haproxy"

    def prepare(self, scene: Scene, directory: Path) -> None:
        """The maps: operations -> bits needed; digest -> account|key|scopes|bits|network; network -> its name."""
        bits = {scope: 1 << place for place, scope in enumerate(scene.scope_names())}
        found = shapes(scene.calls)
        _write(directory / "operations.map", {shape: str(_mask(call.scopes, bits)) for shape, call in found.items()})
        networks = {key.network: f"n{key.network.partition('.')[0]}" for key in scene.keys.every()}
        _write(directory / "networks.map", networks)
        rows = {
            key.digest.hex().upper(): "|".join(
                (key.account, key.id, ",".join(key.scopes), str(_mask(key.scopes, bits)), networks[key.network])
            )
            for key in scene.keys.every()
        }
        _write(directory / "keys.map", rows)

    def command(self, scene: Scene, case: Case, port: int, directory: Path) -> list[str]:
        """Its configuration for ``case``, checked by its own -c before it is run in the foreground."""
        file = directory / f"haproxy-{case.name}.cfg"
        file.write_text(_configuration(scene, case, port, directory))
        subprocess.run(["haproxy", "-c", "-q", "-f", str(file)], check=True)
        return ["haproxy", "-db", "-f", str(file)]

    def version(self) -> str:
        """Its release, such as "HAProxy 2.6.12"."""
        said = subprocess.run(["haproxy", "-v"], capture_output=True, text=True, check=True).stdout
        return "HAProxy " + said.split()[2].partition("-")[0]


def _configuration(scene: Scene, case: Case, port: int, directory: Path) -> str:
    find = FIND.format(operations=directory / "operations.map")
    return CONFIGURATION.format(
        port=port,
        tls=TLS.format(certificate=scene.certificate) if case.tls else "",
        scheme="https" if case.tls else "http",
        backend_port=scene.backend_port,
        cap=case.cap,
        relays=case.relays,
        size="2m" if case.addresses else "100k",
        told="    http-request set-src req.hdr(X-Forwarded-For) if { src 127.0.0.1 }" if case.addresses else "",
        keys=directory / "keys.map",
        networks=directory / "networks.map",
        find=find,
        find_templates="\n".join(
            FIND_TEMPLATES.format(shape=SHAPE.format(before=place - 1), find=find) for place in places(scene.calls)
        ),
        global_log="    log stdout len 4096 format raw local0" if case.log else "",
        log=f"    log global\n    log-format '{LOG_FORMAT}'" if case.log else "",
        del_spoofable="\n".join(f"    http-request del-header {name}" for name in SPOOFABLE),
    )


def _mask(scopes: tuple[str, ...], bits: dict[str, int]) -> int:
    return sum(bits[scope] for scope in scopes)


def _write(file: Path, rows: dict[str, str]) -> None:
    file.write_text("".join(f"{name} {value}\n" for name, value in rows.items()))
