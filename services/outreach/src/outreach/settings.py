"""What only this service needs."""

from datetime import timedelta

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from outreach.domain.budget import Budget
from phi_common.settings import CommonSettings


class Settings(CommonSettings):
    """Environment prefix `OUTREACH_`."""

    model_config = SettingsConfigDict(env_prefix="OUTREACH_")


class BudgetSettings(BaseSettings):
    """How many automated messages a person gets, over all gaps and channels; prefix `OUTREACH_BUDGET_`.

    At most this many in any 24 hours, in any 7 days and in any 30 days.
    """

    model_config = SettingsConfigDict(env_prefix="OUTREACH_BUDGET_")

    day: int = Field(1, ge=1)
    week: int = Field(3, ge=1)
    month: int = Field(4, ge=1)

    @property
    def budget(self) -> Budget:
        """As the rules take it."""
        return Budget(((timedelta(1), self.day), (timedelta(7), self.week), (timedelta(30), self.month)))
