"""What the environment tells consent; prefix `CONSENT_`."""

from pydantic_settings import SettingsConfigDict

from phi_common.settings import CommonSettings


class Settings(CommonSettings):
    """Nothing of its own: its secrets come from the key service."""

    model_config = SettingsConfigDict(env_prefix="CONSENT_")
