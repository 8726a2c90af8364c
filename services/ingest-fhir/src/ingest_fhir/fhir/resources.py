"""The elements of R4 resources that this service reads."""

from typing import Literal

import msgspec
from msgspec import Raw


class Element(msgspec.Struct, rename="camel", gc=False):
    """Names are FHIR's, in snake case; what is not listed is skipped."""


class Coding(Element):
    """A code and its system."""

    system: str | None = None
    code: str | None = None
    display: str | None = None


class CodeableConcept(Element):
    """A meaning, coded or in words."""

    coding: tuple[Coding, ...] = ()
    text: str | None = None


class BusinessIdentifier(Element):
    """FHIR `Identifier`."""

    system: str | None = None
    value: str | None = None


class Reference(Element):
    """Another resource, by address or by identifier."""

    reference: str | None = None
    identifier: BusinessIdentifier | None = None
    display: str | None = None


class Period(Element):
    """From, until."""

    start: str | None = None
    end: str | None = None


class Quantity(Element):
    """A number, kept in the digits in which it was sent."""

    value: Raw = Raw()
    comparator: str | None = None
    unit: str | None = None
    code: str | None = None


class HumanName(Element):
    """A name, in use or old."""

    use: str | None = None
    family: str | None = None
    given: tuple[str | None, ...] = ()


class ContactPoint(Element):
    """A phone number or address."""

    system: str | None = None
    value: str | None = None
    use: str | None = None
    period: Period | None = None


class Address(Element):
    """Only the postal code matters here."""

    use: str | None = None
    postal_code: str | None = None


class Communication(Element):
    """A language."""

    language: CodeableConcept
    preferred: bool = False


class Resource(Element):
    """What every resource has."""

    resource_type: str
    id: str | None = None


class Patient(Resource):
    """A person."""

    identifier: tuple[BusinessIdentifier, ...] = ()
    name: tuple[HumanName, ...] = ()
    telecom: tuple[ContactPoint, ...] | None = None
    gender: str | None = None
    birth_date: str | None = None
    deceased_boolean: bool | None = None
    deceased_date_time: str | None = None
    address: tuple[Address, ...] = ()
    communication: tuple[Communication, ...] = ()
    managing_organization: Reference | None = None


class Component(Element):
    """A part of an observation, with a code and value of its own."""

    code: CodeableConcept
    value_quantity: Quantity | None = None
    value_string: str | None = None
    value_integer: int | None = None
    value_boolean: bool | None = None
    value_codeable_concept: CodeableConcept | None = None


class Observation(Resource, kw_only=True):
    """A measurement or result."""

    status: str
    code: CodeableConcept
    subject: Reference
    identifier: tuple[BusinessIdentifier, ...] = ()
    effective_date_time: str | None = None
    effective_instant: str | None = None
    effective_period: Period | None = None
    value_quantity: Quantity | None = None
    value_string: str | None = None
    value_integer: int | None = None
    value_boolean: bool | None = None
    value_codeable_concept: CodeableConcept | None = None
    component: tuple[Component, ...] = ()


class Condition(Resource, kw_only=True):
    """A diagnosis or problem."""

    code: CodeableConcept
    subject: Reference
    identifier: tuple[BusinessIdentifier, ...] = ()
    clinical_status: CodeableConcept | None = None
    verification_status: CodeableConcept | None = None
    onset_date_time: str | None = None
    onset_period: Period | None = None
    abatement_date_time: str | None = None
    abatement_period: Period | None = None
    recorded_date: str | None = None


class Request(Element):
    """What a Bundle entry asks for."""

    method: str
    url: str
    if_none_exist: str | None = None


class Entry(Element):
    """One resource of a Bundle, in its own bytes."""

    resource: Raw
    request: Request
    full_url: str | None = None


class Bundle(Element):
    """Resources to be stored together."""

    resource_type: Literal["Bundle"]
    type: str
    entry: tuple[Entry, ...] = ()


class AnyResource(Element):
    """Enough to know which one it is."""

    resource_type: str = ""
