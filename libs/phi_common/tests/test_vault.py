"""Keys and secrets from a real OpenBao, and what callers see when it is sealed, gone or unwilling."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path

import hvac
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from phi_common import vault as module
from phi_common.clock import system_now
from phi_common.vault import Vault, VaultError, VaultUnavailable

POLICY = """
path "transit/datakey/plaintext/mine" { capabilities = ["update"] }
path "transit/decrypt/mine" { capabilities = ["update"] }
path "transit/decrypt/read-only" { capabilities = ["update"] }
path "kv/data/db/me" { capabilities = ["read"] }
"""
CONFIG = """
storage "raft" {{ path = "{folder}/raft" node_id = "n1" }}
seal "static" {{ current_key_id = "k1" current_key = "file://{folder}/seal" }}
listener "tcp" {{
  address = "127.0.0.1:{port}" cluster_address = "127.0.0.1:{cluster}"
  tls_cert_file = "{folder}/cert.pem" tls_key_file = "{folder}/key.pem"
}}
api_addr = "https://127.0.0.1:{port}"
cluster_addr = "https://127.0.0.1:{cluster}"
"""


@dataclass
class Bao:
    """A private OpenBao, with the root token that set it up."""

    process: subprocess.Popen[bytes]
    address: str
    ca_file: Path
    root: hvac.Client

    def secret_id_file(self, folder: Path) -> Path:
        """A fresh response-wrapped secret-id, as the launcher hands it to a process."""
        made = self.root.auth.approle.generate_secret_id("me", wrap_ttl="60s")
        path = folder / "secret-id"
        path.write_text(made["wrap_info"]["token"])
        return path

    async def login(self, folder: Path) -> Vault:
        role_id = self.root.auth.approle.read_role_id("me")["data"]["role_id"]
        return await Vault.login(self.address, self.ca_file, role_id, self.secret_id_file(folder))


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def certificate(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "vault")])
    start = system_now() - timedelta(hours=1)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, start, start + timedelta(days=1))
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    made = builder.add_extension(names, critical=False).sign(key, hashes.SHA256())
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    formats = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "key.pem").write_bytes(key.private_bytes(*formats))


@pytest.fixture(scope="module")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bao]:
    binary = shutil.which("bao") or Path(os.sys.executable).parent / "bao"
    folder = tmp_path_factory.mktemp("bao")
    certificate(folder)
    (folder / "seal").write_bytes(os.urandom(32))
    (folder / "raft").mkdir()
    port = free_port()
    (folder / "config.hcl").write_text(CONFIG.format(folder=folder, port=port, cluster=free_port()))
    with (folder / "log").open("wb") as output:
        command = [binary, "server", f"-config={folder}/config.hcl"]
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        address = f"https://127.0.0.1:{port}"
        yield Bao(process, address, folder / "cert.pem", set_up(address, folder / "cert.pem"))
    finally:
        process.kill()
        process.wait()


def set_up(address: str, ca_file: Path) -> hvac.Client:
    client = hvac.Client(address, token="", verify=str(ca_file))
    eventually(lambda: client.sys.read_seal_status() is not None)
    made = client.sys.initialize(None, None, recovery_shares=1, recovery_threshold=1)
    client.token = made["root_token"]
    eventually(lambda: client.sys.read_leader_status()["is_self"])
    client.sys.enable_secrets_engine("transit")
    client.sys.enable_secrets_engine("kv", options={"version": "2"})
    client.sys.enable_auth_method("approle")
    for key in ("mine", "read-only"):
        client.secrets.transit.create_key(key)
    client.sys.create_or_update_policy("me", POLICY)
    client.auth.approle.create_or_update_approle(
        "me", token_policies=["me"], secret_id_num_uses=1, secret_id_ttl="10m", token_period="20m"
    )
    store = client.secrets.kv.v2.create_or_update_secret
    eventually(lambda: store("db/me", {"password": "p"}, mount_point="kv"))
    return client


def eventually(work, seconds: float = 20) -> None:
    """Try until it works."""
    until = time.monotonic() + seconds
    while True:
        try:
            if work():
                return
        except Exception:
            if time.monotonic() > until:
                raise
        time.sleep(0.1)


@pytest.fixture
async def vault(bao, tmp_path):
    found = await bao.login(tmp_path)
    yield found
    found.close()


async def test_a_data_key_comes_back_from_its_wrapped_form(vault):
    plain, wrapped = await vault.data_key("mine")
    assert len(plain) == 32
    assert plain not in wrapped
    assert await vault.unwrap("mine", wrapped) == plain


async def test_secrets_are_read_and_the_token_is_known(vault):
    assert await vault.secret("db/me") == {"password": "p"}
    assert await vault.healthy()


async def test_the_secret_id_works_once_and_its_file_is_gone(bao, tmp_path):
    role_id = bao.root.auth.approle.read_role_id("me")["data"]["role_id"]
    path = bao.secret_id_file(tmp_path)
    token = path.read_text()
    (await Vault.login(bao.address, bao.ca_file, role_id, path)).close()
    assert not path.exists()
    path.write_text(token)
    with pytest.raises(VaultError) as refused:
        await Vault.login(bao.address, bao.ca_file, role_id, path)
    assert (refused.value.operation, refused.value.status) == ("unwrap", 400)


async def test_errors_name_operation_key_and_status_and_nothing_else(bao, vault):
    _, wrapped = await vault.data_key("mine")
    bad = wrapped[:-4] + b"AAA="
    for call, operation, status in (
        (vault.data_key("read-only"), "datakey", 403),
        (vault.unwrap("elsewhere", wrapped), "decrypt", 403),
        (vault.unwrap("mine", bad), "decrypt", 400),
        (vault.unwrap("mine", b"\xff"), "decrypt", 400),
        (vault.secret("db/other"), "read", 403),
    ):
        with pytest.raises(VaultError) as refused:
            await call
        error = refused.value
        assert (error.operation, error.status) == (operation, status)
        assert not isinstance(error, VaultUnavailable)
        assert error.__cause__ is None
        assert error.__context__ is None
        assert str(error) == f"{operation} {error.name}: {status}"


async def test_a_token_is_renewed_and_a_lost_one_ends_the_renewal(bao, tmp_path):
    vault = await bao.login(tmp_path)
    vault._lease = 0.3
    task = asyncio.create_task(vault.renew())
    await asyncio.sleep(0.5)
    assert vault._lease == 1200
    task.cancel()
    bao.root.auth.token.revoke(vault._hvac.token)
    vault._lease = 0.03
    with pytest.raises(VaultError) as lost:
        await asyncio.wait_for(vault.renew(), 5)
    assert lost.value.status == 403
    assert not await vault.healthy()
    vault.close()


async def test_a_stopped_server_is_unavailable_within_the_deadline_and_then_at_once(bao, vault, monkeypatch):
    monkeypatch.setattr(module, "TIMEOUT", 0.3)
    slow = await bao.login(Path(bao.ca_file.parent))
    bao.process.send_signal(signal.SIGSTOP)
    try:
        started = time.monotonic()
        for _ in range(module.BREAKER_FAILURES):
            with pytest.raises(VaultUnavailable) as gone:
                await slow.unwrap("mine", b"vault:v1:AAAA")
        assert gone.value.status is None
        assert time.monotonic() - started < module.DEADLINE * 2
        started = time.monotonic()
        with pytest.raises(VaultUnavailable):
            await slow.data_key("mine")
        assert time.monotonic() - started < 0.05
    finally:
        bao.process.send_signal(signal.SIGCONT)
    await asyncio.sleep(module.BREAKER_SECONDS)
    assert len((await slow.data_key("mine"))[0]) == 32
    slow.close()


async def test_an_unreachable_or_untrusted_server_is_unavailable(bao, tmp_path):
    for address, ca_file in (("https://127.0.0.1:1", bao.ca_file), (bao.address, None)):
        path = bao.secret_id_file(tmp_path)
        other = ca_file or _another(tmp_path)
        with pytest.raises(VaultUnavailable):
            await Vault.login(address, other, "role", path)
        assert path.exists(), "a later try must be possible"


def _another(folder: Path) -> Path:
    (folder / "other").mkdir()
    certificate(folder / "other")
    return folder / "other" / "cert.pem"


async def test_a_sealed_server_is_unavailable(bao, tmp_path):
    vault = await bao.login(tmp_path)
    bao.root.sys.seal()
    with pytest.raises(VaultUnavailable) as sealed:
        await vault.data_key("mine")
    assert sealed.value.status in (503, None)
    assert not await vault.healthy()
    vault.close()
