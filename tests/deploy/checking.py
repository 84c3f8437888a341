"""``keystile check`` on settings that are meant for another place: with their folders where a test has them.

Law: replaces folders by folders of the test's, and nothing else.
"""

from __future__ import annotations

from pathlib import Path

from keystile import app
from keystile.cli.main import main
from keystile.config.model import Settings
from tests.e2e.running import make_certificate

STORE, TLS = "/var/lib/keystile", "/etc/keystile-tls"


def settled(text: str, directory: Path, certificate: str = "cert.pem", key: str = "key.pem") -> Settings:
    """What ``text`` means once ``keystile check`` has found it good; names of two files that it finds in TLS."""
    folder, store = directory / "tls", directory / "store"
    folder.mkdir()
    store.mkdir()
    for made, name in zip(make_certificate(folder), (certificate, key), strict=True):
        made.rename(folder / name)
    assert all(named in text for named in (f"{TLS}/{certificate}", f"{TLS}/{key}", f"sqlite:///{STORE}/"))
    file = directory / "gateway.yaml"
    file.write_text(text.replace(TLS, str(folder)).replace(STORE, str(store)), encoding="utf-8")
    assert main(["check", "-c", str(file)]) == 0
    return app.load_settings(file)
