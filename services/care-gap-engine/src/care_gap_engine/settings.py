"""What this service reads from its environment."""

from pydantic_settings import SettingsConfigDict

from phi_common.settings import CommonSettings


class Settings(CommonSettings):
    """Nothing beyond what every service needs."""

    model_config = SettingsConfigDict(env_prefix="CARE_GAP_ENGINE_")
