from __future__ import annotations

import ssl
import subprocess
import sys

from keystile.management.aiohttp_ahead import without_certificates


def test_a_context_made_meanwhile_trusts_nobody_and_one_made_later_whom_the_system_trusts() -> None:
    with without_certificates():
        meanwhile = ssl.create_default_context()
        meanwhile.set_default_verify_paths()
    assert meanwhile.cert_store_stats()["x509_ca"] == 0
    assert (meanwhile.verify_mode, meanwhile.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert "set_default_verify_paths" not in vars(ssl.SSLContext)
    ssl.create_default_context().set_default_verify_paths()


def test_management_does_not_read_the_systems_certificates_at_its_start() -> None:
    """They are read where they are asked for: contexts to upstreams have their own."""
    program = (
        "import sys, ssl\n"
        "def seen(frame, event, called):\n"
        "    if getattr(called, '__name__', '') == 'set_default_verify_paths': sys.exit('they were read')\n"
        "sys.setprofile(seen)\n"
        "import keystile.process.management\n"
        "sys.setprofile(None)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
