"""What only this service needs."""

from pydantic_settings import SettingsConfigDict

from phi_common.settings import CommonSettings


class Settings(CommonSettings):
    """Environment prefix `OUTREACH_`."""

    model_config = SettingsConfigDict(env_prefix="OUTREACH_")
