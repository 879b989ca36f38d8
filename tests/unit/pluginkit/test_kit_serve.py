"""How a plugin may be started, and mutual TLS as it really is."""

from __future__ import annotations

import datetime
import ipaddress
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from vnfm.pb.vim.v1 import vim_pb2 as pb
from vnfm.pb.vim.v1 import vim_pb2_grpc as rpc
from vnfm.pluginkit import serve

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("argv", "env", "says"),
    [
        ([], {}, "the manager starts"),
        ([], {"VNFM_PLUGIN_COOKIE": "x"}, "VNFM_PLUGIN_DIR is not set"),
        ([], {"VNFM_PLUGIN_COOKIE": "x", "VNFM_PLUGIN_DIR": "/no/such/folder"}, "No such file"),
        (["--listen", "7000"], {}, "expected HOST:PORT"),
        (["--listen", "192.0.2.1:7000"], {}, "not loopback"),
        (["--listen", "[::]:7000"], {}, "not loopback"),
        (["--listen", "127.0.0.1:7000", "--tls-cert", "x"], {}, "needs all of"),
        (
            ["--listen", "h:1", "--tls-cert", "/no/c", "--tls-key", "/no/k", "--tls-client-ca", "/no/ca"],
            {},
            "/no/c cannot be read",
        ),
    ],
)
def test_a_wrong_start_is_told_in_one_line_with_exit_2(
    argv: list[str],
    env: dict[str, str],
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("VNFM_PLUGIN_COOKIE", "VNFM_PLUGIN_DIR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)

    def never() -> None:
        raise AssertionError("nothing is made before the start is known to be good")

    assert serve.run("some", "1", never, argv) == 2  # type: ignore[arg-type]
    captured = capsys.readouterr()
    assert captured.out == ""
    assert says in captured.err
    assert captured.err.count("\n") == 1


def test_a_folder_too_deep_for_a_socket_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    deep = tmp_path / ("d" * 120)
    deep.mkdir(mode=0o700)
    monkeypatch.setenv("VNFM_PLUGIN_COOKIE", "x")
    monkeypatch.setenv("VNFM_PLUGIN_DIR", str(deep))
    assert serve.run("some", "1", lambda: None, []) == 2  # type: ignore[arg-type, return-value]
    assert "too long" in capsys.readouterr().err


@dataclass(frozen=True)
class Identity:
    """A certificate and its key, PEM."""

    cert: bytes
    key: bytes


def _identity(
    name: str, issuer: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None = None
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[0].subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
    )
    return builder.sign(issuer[1] if issuer else key, hashes.SHA256()), key


def _pem(pair: tuple[x509.Certificate, ec.EllipticCurvePrivateKey]) -> Identity:
    return Identity(
        pair[0].public_bytes(serialization.Encoding.PEM),
        pair[1].private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )


@pytest.fixture
def authority() -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    return _identity("authority")


@pytest.fixture
def remote(
    tmp_path: Path, authority: tuple[x509.Certificate, ec.EllipticCurvePrivateKey]
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A remote plugin with mutual TLS, and its address."""
    ours = _pem(_identity("plugin", authority))
    files = {"cert": ours.cert, "key": ours.key, "client-ca": _pem(authority).cert}
    argv = [sys.executable, "-m", "plugins.mock", "--listen", "127.0.0.1:0"]
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        argv += [f"--tls-{name}", str(tmp_path / name)]
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, cwd=ROOT)
    assert process.stdout is not None
    layout, _, network, address, _ = process.stdout.readline().decode().split("|")
    assert (layout, network) == ("1", "tcp")
    yield address, process
    process.terminate()
    process.wait(15)


def _handshake(channel: grpc.Channel) -> str:
    with channel:
        return rpc.IdentityStub(channel).Handshake(pb.HandshakeRequest(api_versions=[1]), timeout=10).name


def test_a_remote_plugin_answers_only_who_shows_a_certificate_of_its_authority(
    remote: tuple[str, subprocess.Popen[bytes]],
    authority: tuple[x509.Certificate, ec.EllipticCurvePrivateKey],
) -> None:
    address, process = remote
    root = _pem(authority).cert
    good, stranger = _pem(_identity("manager", authority)), _pem(_identity("stranger"))
    trusted = grpc.ssl_channel_credentials(root, good.key, good.cert)
    assert _handshake(grpc.secure_channel(address, trusted)) == "mock"
    for refused in (
        grpc.insecure_channel(address),
        grpc.secure_channel(address, grpc.ssl_channel_credentials(root)),
        grpc.secure_channel(address, grpc.ssl_channel_credentials(root, stranger.key, stranger.cert)),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            _handshake(refused)
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
    assert process.poll() is None, "that stdin is empty does not end a remote plugin"
    process.terminate()
    assert process.wait(15) == 0
