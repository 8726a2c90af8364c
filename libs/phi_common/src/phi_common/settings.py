"""What a process is told by its environment. Secrets are not among it: they come from the key service after login."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Shared(BaseSettings):
    """The same for every process of an installation; prefix `CARELOOP_`."""

    model_config = SettingsConfigDict(env_prefix="CARELOOP_")

    ca_file: Path
    kafka: str
    vault: str
    postgres: str
    """host:port"""
    issuer: str
    audience: str = "careloop"
    roles_file: Path
    clock_file: Path | None = None
    """Present only with a virtual business clock."""
    spans_dir: Path | None = None
    anchor_dir: Path | None = None
    trace_ratio: float = 0.01


class CommonSettings(BaseSettings):
    """What each service has of its own; a service's `Settings` sets the prefix."""

    listen: str = "127.0.0.1:0"
    tls_cert_file: Path | None = None
    tls_key_file: Path | None = None
    role_id: str = ""
    secret_id_file: Path | None = None
    migrate_password: str = Field(default="", repr=False)
    consume: bool = True
    relay: bool = True
    outbox_rows: int = 100_000
    """Accepting stops above this many unpublished rows."""
    outbox_seconds: float = 600.0
    """Accepting stops when the oldest unpublished row is older."""

    @property
    def address(self) -> tuple[str, int]:
        """Host and port to listen on."""
        host, _, port = self.listen.rpartition(":")
        return host, int(port)
