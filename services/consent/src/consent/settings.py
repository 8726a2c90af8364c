"""What the environment tells consent; prefix `CONSENT_`."""

from pydantic_settings import SettingsConfigDict

from phi_common.settings import CommonSettings


class Settings(CommonSettings):
    """What is the practice's to decide; secrets come from the key service."""

    model_config = SettingsConfigDict(env_prefix="CONSENT_")

    confirm_optouts: bool = True
    """Off where the provider confirms a STOP itself: the law allows one confirmation, not two."""
