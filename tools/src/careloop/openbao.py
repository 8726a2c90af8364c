"""A private OpenBao: sealed by a static key, audited, each principal held to the keys that the event map gives it."""

import os
import secrets
import signal
import ssl
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hvac
import requests

from careloop.certificates import Authority
from careloop.paths import GATE, Program, write_secret
from careloop.processes import StartFailed, base_env, wait_until
from careloop.supervisor import Child, Supervisor
from phi_common.topics import TOPICS

WRAP_TTL = "120s"
CONFIG = """
ui = false
disable_mlock = true
api_addr = "https://127.0.0.1:{port}"
cluster_addr = "https://127.0.0.1:{cluster_port}"
storage "raft" {{
  path    = "{folder}/raft"
  node_id = "n1"
}}
seal "static" {{
  current_key_id = "k1"
  current_key    = "file://{folder}/unseal.key"
}}
listener "tcp" {{
  address         = "127.0.0.1:{port}"
  cluster_address = "127.0.0.1:{cluster_port}"
  tls_cert_file   = "{certificate}"
  tls_key_file    = "{key}"
  tls_min_version = "tls12"
}}
audit "file" "file" {{
  description = "every request, values hashed"
  options {{
    file_path = "{folder}/audit.log"
    mode      = "0600"
  }}
}}
"""
LAUNCHER_POLICY = """
path "auth/approle/role/+/secret-id" { capabilities = ["update"] min_wrapping_ttl = "1s" }
path "auth/approle/role/+/role-id" { capabilities = ["read"] }
path "auth/approle/role/subscriber-*" { capabilities = ["create", "update", "read", "delete"] }
path "sys/policies/acl/subscriber-*" { capabilities = ["create", "update", "read", "delete"] }
path "kv/data/kafka/subscriber-*" { capabilities = ["create", "update"] }
path "sys/seal" { capabilities = ["update", "sudo"] }
path "kv/metadata/kafka/subscriber-*" { capabilities = ["delete"] }
"""


@dataclass(frozen=True)
class OpenBao:
    """Where it is, and the token of a launcher that may hand out identities but has none of their rights."""

    port: int
    ca_file: Path
    token: str
    role_ids: Mapping[str, str]

    @property
    def address(self) -> str:
        """The base URL."""
        return f"https://127.0.0.1:{self.port}"

    def client(self, token: str | None = None) -> hvac.Client:
        """A client with the launcher's token."""
        return hvac.Client(url=self.address, token=token or self.token, verify=str(self.ca_file), timeout=20)

    def seal(self) -> None:
        """Close the key service as an operator does in an emergency; only a start of the server opens it again."""
        self.client().sys.seal()

    def fresh_secret_id(self, principal: str) -> str:
        """A wrapping token in which a new secret-id waits for one process to take it out."""
        answer = self.client().auth.approle.generate_secret_id(principal, wrap_ttl=WRAP_TTL)
        return str(answer["wrap_info"]["token"])


def binary() -> Path:
    """The server, from the virtual environment."""
    return Path(sys.executable).parent / "bao"


def start(
    supervisor: Supervisor,
    authority: Authority,
    ports: tuple[int, int],
    principals: Iterable[Program],
    kv: Mapping[str, Mapping[str, str]],
) -> OpenBao:
    """Run the server, set it up with a root token that then ends, and keep only the launcher's token."""
    folder = supervisor.data / "openbao"
    (folder / "raft").mkdir(mode=0o700, parents=True)
    leaf = authority.issue("openbao")
    with open(os.open(folder / "unseal.key", os.O_WRONLY | os.O_CREAT, 0o600), "wb") as key:
        key.write(secrets.token_bytes(32))
    values = {"port": ports[0], "cluster_port": ports[1], "folder": folder}
    config = write_secret(folder / "config.hcl", CONFIG.format(certificate=leaf.certificate, key=leaf.key, **values))
    command: list[str | Path] = [binary(), "server", f"-config={config}"]
    supervisor.start(Child("openbao", lambda: command, base_env, stop_signal=signal.SIGKILL))
    server = OpenBao(ports[0], authority.ca_file, "", {})
    client = hvac.Client(url=server.address, verify=str(server.ca_file), timeout=20)
    if not wait_until(lambda: _state(client) is not None, 30):
        raise StartFailed("OpenBao does not answer", supervisor.run.logs / "openbao.log")
    root = client.adapter.put("/v1/sys/init", json={"recovery_shares": 1, "recovery_threshold": 1})["root_token"]
    client = server.client(token=root)
    if not wait_until(lambda: _state(client) == 200, 30):
        raise StartFailed("OpenBao stays sealed", supervisor.run.logs / "openbao.log")
    return _set_up(server, client, list(principals), kv)


def _state(client: hvac.Client) -> int | None:
    try:
        return int(client.sys.read_health_status(method="GET", standby_ok=False).status_code)
    except (requests.ConnectionError, ssl.SSLError):
        return None
    except AttributeError:
        return 200


def _set_up(
    server: OpenBao, root: hvac.Client, principals: list[Program], kv: Mapping[str, Mapping[str, str]]
) -> OpenBao:
    root.sys.enable_secrets_engine("transit", path="transit")
    root.sys.enable_secrets_engine("kv", path="kv", options={"version": "2"})
    root.sys.enable_auth_method("approle", path="approle")
    own = [f"{use}-{p.service}" for p in principals if p.name == p.service for use in ("bucket", "index")]
    for key in [*(topic.key for topic in TOPICS.values()), *own]:
        root.secrets.transit.create_key(key, key_type="aes256-gcm96")
    role_ids = {}
    for program in principals:
        root.sys.create_or_update_policy(program.name, policy(program))
        root.auth.approle.create_or_update_approle(program.name, **role_terms(program.name))
        role_ids[program.name] = root.auth.approle.read_role_id(program.name)["data"]["role_id"]
    _store(root, kv)
    root.sys.create_or_update_policy("launcher", LAUNCHER_POLICY)
    token = root.auth.token.create_orphan(policies=["launcher"], period="768h", no_default_policy=True)
    root.auth.token.revoke_self()
    return OpenBao(server.port, server.ca_file, token["auth"]["client_token"], role_ids)


def _store(client: hvac.Client, kv: Mapping[str, Mapping[str, str]]) -> None:
    def stored() -> bool:
        try:
            for path, value in kv.items():
                client.secrets.kv.v2.create_or_update_secret(path, dict(value), mount_point="kv")
        except hvac.exceptions.InvalidRequest:
            return False
        return True

    if not wait_until(stored, 10):
        raise StartFailed("OpenBao's key-value store does not come up")


def role_terms(name: str) -> dict[str, Any]:
    """A secret-id serves one login within minutes; a token lives on only while its process renews it."""
    return {
        "token_policies": [name],
        "secret_id_num_uses": 1,
        "secret_id_ttl": "10m",
        "token_period": "20m",
        "token_type": "service",
    }


def _update(*paths: str) -> list[str]:
    return [f'path "{path}" {{ capabilities = ["update"] }}' for path in paths]


def _read(*paths: str) -> list[str]:
    return [f'path "kv/data/{path}" {{ capabilities = ["read"] }}' for path in paths]


def policy(program: Program) -> str:
    """The least that a principal can work with: wrap for topics it writes, unwrap for topics it reads, its own keys."""
    if program.name == GATE:
        rules = _update("transit/decrypt/bucket-outreach") + _read(f"db/{GATE}", "provider/sms")
        return "\n".join(rules)
    rules = _read(f"db/{program.name}", f"kafka/{program.name}")
    for topic in TOPICS.values():
        if program.name == topic.writer:
            rules += _update(f"transit/datakey/plaintext/{topic.key}")
        if program.name in topic.readers:
            rules += _update(f"transit/decrypt/{topic.key}")
    for use in ("bucket", "index"):
        key = f"{use}-{program.service}"
        rules += _update(f"transit/datakey/plaintext/{key}", f"transit/decrypt/{key}")
    if program.name in ("consent", "outreach"):
        rules += _read("webhook/sms")
    return "\n".join(rules)


def reader_policy(principal: str, topics: Iterable[str]) -> str:
    """What an outside subscriber may do: open the topics it was given, and read its own password."""
    keys = (f"transit/decrypt/{TOPICS[name].key}" for name in topics)
    return "\n".join(_update(*keys) + _read(f"kafka/{principal}"))
