"""What this service reads from its environment."""

from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field
from pydantic_settings import SettingsConfigDict

from phi_common.settings import CommonSettings


def known_zone(name: str) -> str:
    """The name of an IANA zone, or an error that names the key."""
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError) as wrong:
        raise ValueError(f"`{name}` is no IANA time zone") from wrong
    return name


Zone = Annotated[str, AfterValidator(known_zone)]


class Settings(CommonSettings):
    """Where facilities are: `PATIENT_PROFILE_FACILITY_ZONES={"NORTH": "America/Chicago"}`, or the default."""

    model_config = SettingsConfigDict(env_prefix="PATIENT_PROFILE_")

    facility_zones: dict[str, Zone] = Field(default_factory=dict)
    default_zone: Zone = "America/New_York"
