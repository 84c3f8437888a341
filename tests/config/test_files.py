from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from keystile.config import files
from keystile.config.model import Certificate, Settings, Tls
from tests.config import certificates
from tests.unprivileged import folder_of_a_user, unprivileged

Lines = Callable[[str], list[str]]
TLS = "listeners: [{{address: 127.0.0.1:0, tls: {{certificate: {}, private_key: {}}}}}]"


def test_a_pair_that_belongs_together_is_taken(with_settings: Callable[[str], Settings], tmp_path: Path) -> None:
    certificate, key = certificates.make(tmp_path)
    listener = with_settings(TLS.format("a.cert.pem", key)).listeners[0]
    assert listener.tls == Tls((Certificate(certificate, key),), "1.2")


def test_files_that_do_not_exist_are_both_told(lines_with: Lines) -> None:
    lines = lines_with(TLS.format("a.pem", "b.pem"))
    assert [line.partition(": listeners[0].tls.")[2] for line in lines] == [
        "certificate: 'a.pem' cannot be read: No such file or directory",
        "private_key: 'b.pem' cannot be read: No such file or directory",
    ]


def test_a_key_of_another_certificate_is_refused(lines_with: Lines, tmp_path: Path) -> None:
    certificates.make(tmp_path, "a")
    certificates.make(tmp_path, "b")
    [line] = lines_with(TLS.format("a.cert.pem", "b.key.pem"))
    assert "private_key: 'b.key.pem' is not the private key of the certificate 'a.cert.pem'" in line


def test_a_key_with_a_passphrase_is_refused_and_nobody_is_asked(lines_with: Lines, tmp_path: Path) -> None:
    certificates.make(tmp_path, "a", passphrase=b"secret")
    [line] = lines_with(TLS.format("a.cert.pem", "a.key.pem"))
    assert "private_key: 'a.key.pem' needs a passphrase" in line


def test_files_that_are_something_else_are_refused(lines_with: Lines, tmp_path: Path) -> None:
    certificates.make(tmp_path)
    (tmp_path / "cut.pem").write_bytes((tmp_path / "a.cert.pem").read_bytes()[:200])
    assert "holds no certificate in PEM form" in lines_with(TLS.format("a.key.pem", "a.key.pem"))[0]
    assert "holds no private key in PEM form" in lines_with(TLS.format("a.cert.pem", "a.cert.pem"))[0]
    assert "cannot be used with its private key" in lines_with(TLS.format("cut.pem", "a.key.pem"))[0]


def test_a_key_in_place_of_its_path_is_not_shown(lines_with: Lines, tmp_path: Path) -> None:
    certificates.make(tmp_path)
    pem = (tmp_path / "a.key.pem").read_text()
    told = "\n".join(lines_with(TLS.format("a.cert.pem", '"' + pem.replace("\n", "\\n") + '"')))
    assert "private_key: a text of several lines" in told
    assert pem.splitlines()[1] not in told


def test_management_has_its_files_looked_at_too(lines_with: Lines) -> None:
    lines = lines_with("management: {address: 0.0.0.0:0, tls: {certificate: a, private_key: b}}")
    assert len(lines) == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("store: sqlite:///nowhere/k.db", "store: 'sqlite:///nowhere/k.db' lies in a directory that does not exist"),
        ("store: sqlite:////dev", "is a directory"),
        ("access_log: nowhere/a.log", "lies in a directory that does not exist"),
        ("access_log: .", "is a directory"),
        ("access_log: {to: nowhere/a.log}", "lies in a directory that does not exist"),
        (f"access_log: {'a' * 300}/x", "cannot be looked at: File name too long"),
    ],
)
def test_a_place_where_nothing_can_lie_is_refused(lines_with: Lines, text: str, said: str) -> None:
    [line] = lines_with(text)
    assert said in line


def test_a_place_that_cannot_be_written_is_refused(
    lines_with: Lines, with_settings: Callable[[str], Settings]
) -> None:
    with folder_of_a_user() as folder, unprivileged():
        assert with_settings(f"store: sqlite:///{folder}/k.db").store == folder / "k.db"
        folder.chmod(0o500)
        [line] = lines_with(f"store: sqlite:///{folder}/k.db")
        assert "cannot be written by this user" in line


def test_a_pipe_or_a_folder_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(ValueError, match="not a file"):
            files.bounded(path)


def test_a_file_is_read_up_to_its_bound(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 11)
    assert len(files.bounded(tmp_path / "a", 11)) == 11
    with pytest.raises(ValueError, match="larger than"):
        files.bounded(tmp_path / "a", 10)


def test_a_reason_never_holds_the_path() -> None:
    assert (
        files.reason(FileNotFoundError(2, "No such file or directory", "/secret/place")) == "No such file or directory"
    )
    assert files.reason(ValueError("embedded null byte")) == "embedded null byte"


def test_relative_paths_start_at_the_folder() -> None:
    folder = Path("/etc/keystile")
    assert files.absolute(folder, "tls/../k.db") == Path("/etc/keystile/k.db")
    assert files.absolute(folder, "/var/k.db") == Path("/var/k.db")
