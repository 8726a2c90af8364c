"""What each of our processes is told when it starts: addresses and files, never a lasting secret."""

from collections.abc import Callable, Mapping
from pathlib import Path

from careloop.certificates import Leaf
from careloop.issuer import AUDIENCE
from careloop.paths import GATE, ROOT, Program, write_secret
from careloop.processes import base_env
from careloop.servers import Servers


class Environment:
    """Makes the environments of one run; certificates are issued once for each process name."""

    def __init__(self, found: Servers, clock_file: Path | None, trace_ratio: float) -> None:
        """All processes of a run share its clock and the share of requests that they trace."""
        self._servers = found
        self._leaves: dict[str, Leaf] = {}
        self.token_file = found.run.data / "gate.token"
        self.urls = {name: f"https://127.0.0.1:{port}" for name, port in found.ports.items()}
        anchors = found.run.data / "anchors"
        anchors.mkdir(mode=0o700)
        self._shared = {
            **base_env(),
            "PYTHONUNBUFFERED": "1",
            "CARELOOP_CA_FILE": str(found.authority.ca_file),
            "CARELOOP_KAFKA": found.kafka.address,
            "CARELOOP_VAULT": found.openbao.address,
            "CARELOOP_POSTGRES": found.postgres.address,
            "CARELOOP_ISSUER": self.urls["issuer"],
            "CARELOOP_AUDIENCE": AUDIENCE,
            "CARELOOP_ROLES_FILE": str(ROOT / "deploy" / "roles.toml"),
            "CARELOOP_SPANS_DIR": str(found.run.spans),
            "CARELOOP_ANCHOR_DIR": str(anchors),
            "CARELOOP_TRACE_RATIO": str(trace_ratio),
            **({"CARELOOP_CLOCK_FILE": str(clock_file)} if clock_file else {}),
        }

    def _listening(self, name: str, prefix: str) -> dict[str, str]:
        if name not in self._leaves:
            self._leaves[name] = self._servers.authority.issue(name)
        leaf = self._leaves[name]
        return {
            f"{prefix}LISTEN": f"127.0.0.1:{self._servers.ports[name]}",
            f"{prefix}TLS_CERT_FILE": str(leaf.certificate),
            f"{prefix}TLS_KEY_FILE": str(leaf.key),
        }

    def migration(self, program: Program) -> dict[str, str]:
        """For `migrate`, which alone works as the owner of the database."""
        password = self._servers.passwords.database[f"{program.module}_owner"]
        return {**self._shared, f"{program.prefix}MIGRATE_PASSWORD": password}

    def program(self, program: Program) -> Callable[[], Mapping[str, str]]:
        """For one start of a service or the gate: a fresh one-use identity waits in a file that the process deletes."""

        def environment() -> dict[str, str]:
            prefix, vault = program.prefix, self._servers.openbao
            file = self._servers.run.data / f"{program.name}.secret-id"
            wrapped = write_secret(file, vault.fresh_secret_id(program.name))
            return {
                **self._shared,
                **self._listening(program.name, prefix),
                f"{prefix}ROLE_ID": vault.role_ids[program.name],
                f"{prefix}SECRET_ID_FILE": str(wrapped),
                **self._own(program),
            }

        return environment

    def _own(self, program: Program) -> dict[str, str]:
        if program.name == "ingest-fhir":
            return {"INGEST_FHIR_MLLP_LISTEN": f"127.0.0.1:{self._servers.ports['mllp']}"}
        if program.name == GATE:
            return {
                "OUTREACH_GATE_CONSENT_URL": self.urls["consent"],
                "OUTREACH_GATE_PROVIDER_URL": self.urls["simulator"],
                "OUTREACH_GATE_TOKEN_FILE": str(self.token_file),
            }
        return {}

    def issuer(self, key_file: Path) -> Callable[[], Mapping[str, str]]:
        """For the development issuer."""
        return lambda: {**base_env(), **self._listening("issuer", "ISSUER_"), "ISSUER_KEY_FILE": str(key_file)}

    def simulator(self) -> Callable[[], Mapping[str, str]]:
        """For the message provider outside."""
        prefix, words = "CARELOOP_SIMULATOR_", self._servers.passwords
        return lambda: {
            **base_env(),
            **self._listening("simulator", prefix),
            "CARELOOP_CA_FILE": str(self._servers.authority.ca_file),
            f"{prefix}ACCOUNT": words.provider["account"],
            f"{prefix}TOKEN": words.provider["token"],
            f"{prefix}WEBHOOK_SECRET": words.webhook,
            f"{prefix}JOURNAL": str(self._servers.run.data / "simulator.jsonl"),
            f"{prefix}STATUS_URL": f"{self.urls['outreach']}/webhooks/sms/status",
            f"{prefix}INBOUND_URL": f"{self.urls['consent']}/webhooks/sms/inbound",
        }
