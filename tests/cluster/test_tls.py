"""TLS to the servers that lend slots: contexts, and a real server that speaks it."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from keystile.cluster.tls import Contexts
from keystile.config.model import UpstreamTls
from keystile.wire.certificates import self_signed
from tests.cluster.server import Server, free_port, needs_server
from tests.cluster.test_link import linked
from tests.config import certificates
from tests.relay.running import until

SECRET = "hunter2-of-the-server"


def write(folder: Path, name: str, names: list[str]) -> Path:
    """A certificate that signs itself, with its key beside it."""
    certificate, key = self_signed(names, 5)
    (folder / f"{name}.pem").write_bytes(certificate)
    (folder / f"{name}.key").write_bytes(key)
    return folder / f"{name}.pem"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, int]]:
    """A server that speaks TLS only, wants a certificate and a password; where files are, and its port."""
    folder = tmp_path_factory.mktemp("tls")
    write(folder, "server", ["localhost"])
    certificates.make(folder, "ours")
    write(folder, "other", ["localhost"])
    port = free_port()
    server = Server(  # its plain port tells when it is up, and nobody uses it else
        folder, free_port(), "--tls-port", str(port), "--tls-cert-file", "server.pem", "--tls-key-file", "server.key",
        "--tls-ca-cert-file", "ours.cert.pem", "--tls-auth-clients", "yes", "--requirepass", SECRET,
    )  # fmt: skip
    (folder / "password").write_text(SECRET + "\n")
    yield folder, port
    server.stop()


def tls(folder: Path, **more: object) -> UpstreamTls:
    base: dict[str, object] = {
        "ca": folder / "server.pem",
        "server_name": "localhost",
        "certificate": folder / "ours.cert.pem",
        "private_key": folder / "ours.key.pem",
    }
    return UpstreamTls(**{**base, **more})  # type: ignore[arg-type]


@needs_server
async def test_slots_are_lent_over_tls_with_a_certificate_and_a_password(served: tuple[Path, int]) -> None:
    folder, port = served
    async with linked(port, tls=tls(folder), password_file=folder / "password") as (link, holder):
        await until(lambda: holder.name)
        assert link.trouble is None


@needs_server
@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"ca": "other.pem"}, "certificate verify failed"),
        ({"server_name": "elsewhere.example"}, "certificate verify failed"),
        ({"ca": None}, "certificate verify failed"),
        ({"certificate": None, "private_key": None}, ""),
    ],
)
async def test_who_cannot_be_verified_gets_no_password_and_lends_nothing(
    served: tuple[Path, int], more: dict[str, object], said: str
) -> None:
    folder, port = served
    if more.get("ca"):
        more = {"ca": folder / str(more["ca"])}
    async with linked(port, tls=tls(folder, **more), password_file=folder / "password") as (link, holder):
        await until(lambda: link.trouble != "not yet connected" and holder.slots.unreachable)
        assert said in str(link.trouble)
        assert SECRET not in str(link.trouble)
        assert not holder.name


@needs_server
async def test_a_server_that_speaks_tls_only_is_not_spoken_to_in_clear(served: tuple[Path, int]) -> None:
    folder, port = served
    async with linked(port, password_file=folder / "password") as (link, holder):
        await until(lambda: holder.slots.unreachable)
        assert link.trouble
        assert not holder.name


def test_a_context_is_made_anew_when_a_file_is_another(tmp_path: Path) -> None:
    ca = write(tmp_path, "one", ["a"])
    contexts = Contexts(UpstreamTls(ca=ca))
    first = contexts.get()
    assert contexts.get() is first
    assert first.verify_mode == ssl.CERT_REQUIRED
    assert first.check_hostname
    write(tmp_path, "next", ["b"]).replace(ca)
    assert contexts.get() is not first


def test_nobody_is_verified_only_where_it_is_said_so() -> None:
    assert Contexts(UpstreamTls(verify=False)).get().verify_mode == ssl.CERT_NONE
    assert Contexts(UpstreamTls(minimum_version="1.3")).get().minimum_version == ssl.TLSVersion.TLSv1_3


def test_a_file_that_is_gone_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"."):
        Contexts(UpstreamTls(ca=tmp_path / "nowhere")).get()
