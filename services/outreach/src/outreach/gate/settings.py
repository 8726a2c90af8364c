"""What only the gate needs."""

from pathlib import Path

from pydantic_settings import SettingsConfigDict

from phi_common.settings import CommonSettings


class GateSettings(CommonSettings):
    """Environment prefix `OUTREACH_GATE_`."""

    model_config = SettingsConfigDict(env_prefix="OUTREACH_GATE_")

    consent_url: str
    provider_url: str
    token_file: Path
    """An access token with role `service`, for consent; read anew each time, since it is renewed in place."""
