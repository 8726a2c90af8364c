"""The event map: each topic, its one writer and its readers. Topics, ACLs and key policies are made from this table."""

from dataclasses import dataclass

PARTITIONS = 12
RETENTION_DAYS = 14

EHR_PATIENTS = "careloop.ehr.patients"
PROFILE_PATIENTS = "careloop.profile.patients"
PROFILE_CONTACTS = "careloop.profile.contacts"
CLINICAL_FACTS = "careloop.clinical.facts"
CONSENT_PREFERENCES = "careloop.consent.preferences"
GAPS = "careloop.gaps.states"
OUTREACH_MESSAGES = "careloop.outreach.messages"


@dataclass(frozen=True)
class Topic:
    """One stream, cut by who may read it, since a key policy is per topic."""

    name: str
    writer: str
    readers: tuple[str, ...]

    @property
    def key(self) -> str:
        """The name of its Transit key."""
        return "topic-" + self.name.replace(".", "-")


TOPICS = {
    topic.name: topic
    for topic in (
        Topic(EHR_PATIENTS, "ingest-fhir", ("patient-profile",)),
        Topic(PROFILE_PATIENTS, "patient-profile", ("care-gap-engine", "consent", "ingest-fhir", "outreach")),
        Topic(PROFILE_CONTACTS, "patient-profile", ("consent", "outreach")),
        Topic(CLINICAL_FACTS, "ingest-fhir", ("care-gap-engine",)),
        Topic(CONSENT_PREFERENCES, "consent", ("outreach",)),
        Topic(GAPS, "care-gap-engine", ("outreach",)),
        Topic(OUTREACH_MESSAGES, "outreach", ()),
    )
}
