from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from keystile.config.model import Certificate, Listener, Management, Server, Tls, Upstream, UpstreamTls
from keystile.management.certificates import certificate_ends
from keystile.wire.certificates import certificate_facts, self_signed
from tests.relay.running import settings


def test_every_certificate_is_told_with_its_place_the_first_to_end_first() -> None:
    files: dict[Path, bytes] = {}
    for name, days in (("late", 90), ("soon", 3), ("page", 30), ("client", 60)):
        files[Path(f"/etc/{name}.pem")] = self_signed([f"{name}.example.com"], days)[0]
    files[Path("/etc/odd.pem")] = b"what only OpenSSL reads"

    def pair(name: str) -> Certificate:
        return Certificate(Path(f"/etc/{name}.pem"), Path(f"/etc/{name}.key"))

    wanted = replace(
        settings(9),
        listeners=(
            Listener("::1", 443, Tls((pair("late"), pair("soon"), pair("odd"), pair("soon")))),
            Listener("127.0.0.1", 80),
        ),
        management=Management("127.0.0.1", 8443, Tls((pair("page"),))),
        upstreams=(
            Upstream("api", (Server("a", 443),), tls=UpstreamTls(certificate=Path("/etc/client.pem"))),
            Upstream("plain", (Server("a", 80),)),
        ),
    )
    found = certificate_ends(wanted, files.__getitem__)
    assert [(one.place, one.file, one.names) for one in found] == [
        ("listener [::1]:443", "/etc/soon.pem", ("soon.example.com",)),
        ("management 127.0.0.1:8443", "/etc/page.pem", ("page.example.com",)),
        ("upstream api", "/etc/client.pem", ("client.example.com",)),
        ("listener [::1]:443", "/etc/late.pem", ("late.example.com",)),
    ]
    assert found[0].ends == certificate_facts(files[Path("/etc/soon.pem")]).not_after
    assert certificate_ends(settings(9), files.__getitem__) == ()
