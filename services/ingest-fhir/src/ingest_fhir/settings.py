"""What this service is told from outside."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from phi_common.settings import CommonSettings


class Settings(CommonSettings):
    """Variables begin with INGEST_FHIR_; mappings are JSON objects."""

    model_config = SettingsConfigDict(env_prefix="INGEST_FHIR_")

    mllp_listen: str = "127.0.0.1:2575"
    mllp_client_ca_file: Path | None = None
    """With it, senders must show a certificate of this authority."""
    mllp_charset: str = "utf-8"
    """For bytes that are not UTF-8 while MSH-18 is empty."""
    mllp_idle_seconds: float = 300.0
    mllp_connections: int = 256
    judged_share: float = Field(0.001, ge=0, le=1)
    """Which share of accepted FHIR resources the full model judges too; only metric and log tell of it."""
    sources: dict[str, str] = Field(default_factory=dict)
    """`MSH-3|MSH-4` to the name of a source, as events carry it; all others are `hl7v2`."""
    facilities: dict[str, str] = Field(default_factory=dict)
    """MSH-4 to the name of a facility; without an entry the name is MSH-4."""
