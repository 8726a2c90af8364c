"""Evidence of immunity and contraindications of one antigen (7.2, 7.3)."""

from dataclasses import dataclass

from care_gap_engine.domain.vaccines.model import Antigen, BirthDateImmunity, Contraindication, Series, Vaccine
from care_gap_engine.domain.vaccines.patient import Patient


@dataclass(frozen=True, slots=True)
class Safety:
    """What speaks against another dose of an antigen for one person on the as-of day."""

    immune: bool
    contraindicated: bool
    forbidden: frozenset[str]
    observations: tuple[str, ...]

    @property
    def warns(self) -> bool:
        """Anything at all speaks against some product."""
        return self.contraindicated or bool(self.forbidden)

    def forbids(self, series: Series) -> bool:
        """The antigen is contraindicated, or every preferable product of the whole series is (7.3)."""
        if self.contraindicated or not self.forbidden:
            return self.contraindicated
        products = [vaccine.cvx for target in series.targets for vaccine in target.preferable]
        return bool(products) and self.forbidden.issuperset(products)


CLEAR = Safety(immune=False, contraindicated=False, forbidden=frozenset(), observations=())
IMMUNE = Safety(immune=True, contraindicated=False, forbidden=frozenset(), observations=())


def determine_safety(antigen: Antigen, patient: Patient) -> Safety:
    """Read the person's observations against what the schedule says of an antigen."""
    immune = is_immune(antigen, patient)
    if not patient.observations:
        return IMMUNE if immune else CLEAR
    found = [one.observation for one in antigen.contraindications
             if patient.observed(one.observation) and _at_age(one, patient)]  # fmt: skip
    forbidden = [(one.observation, vaccine.cvx) for one in antigen.product_contraindications
                 if patient.observed(one.observation)
                 for vaccine in one.vaccines if _at_age(vaccine, patient)]  # fmt: skip
    observations = (*found, *(observation for observation, _ in forbidden))
    return Safety(immune, bool(found), frozenset(cvx for _, cvx in forbidden), tuple(dict.fromkeys(observations)))


def _at_age(one: Contraindication | Vaccine, patient: Patient) -> bool:
    ages = patient.ages
    return patient.as_of.within(ages[one.begin] if one.begin else None, ages[one.end] if one.end else None)


def is_immune(antigen: Antigen, patient: Patient) -> bool:
    """Determine evidence of immunity (7.2): an observation, or born before a day."""
    if any(patient.observed(one) for one in antigen.immunity_observations):
        return True
    return any(_is_immune_by_birth(one, patient) for one in antigen.immunity_by_birth)


def _is_immune_by_birth(rule: BirthDateImmunity, patient: Patient) -> bool:
    """An unknown country of birth is not the country that the rule names."""
    return (
        patient.ages.birth < rule.born_before
        and not any(patient.observed(one) for one in rule.exclusions)
        and (rule.country is None or _bare(rule.country) == _bare(patient.country or ""))
    )


def _bare(country: str) -> str:
    return "".join(letter for letter in country.upper() if letter.isalpha())
