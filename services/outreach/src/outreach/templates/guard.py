"""The last look at a text for an open channel: no diagnosis, medication, test or specialty may be read in it."""

import re
import unicodedata

# Stems, without accents; a word that begins with one is blocked. English and Spanish.
STEMS = """
diabet prediabet hba1c glucos insulin metformin ozempic semaglutid hyperglyc hypoglyc mammogra mamogra
cervical cervix colonosc colorect colorrect colposcop prostat biops tumor tumour cancer oncolog carcino
chemother quimio hepatit syphili sifili chlamyd clamid gonorr herpes pregnan embaraz prenatal postpartum
obstetr ginecolog gynecolog gynaecolog fertil contracept anticoncept abort miscarr depress depresi anxiety
ansiedad bipolar schizo esquizo psychiat psiquiat psycholog psicolog suicid alcohol opioid naloxon methadon
metadona buprenorph addict adicci overdos sobredos hypertens hipertens cholesterol colesterol cardiac
cardiol cardiovas asthma asmatic kidney renal nephro nefro dialys dialis thyroid tiroid anemi epilep convuls
dementia demencia alzheimer parkinson arthrit artrit osteopor diagnos prescri medication medicament
medicacion immuniz inmuniz vacun vaccin influenza retinopat obes
"""
WORDS = """
a1c hiv vih aids sida std sti pap psa ptsd adhd tdah phq gad dxa copd epoc bmi stroke asthma asma breast
breasts mama mamas colon seizure seizures statin statins estatina rehab tetanus sickle dose doses dosis
receta recetas smoking tobacco tabaco
"""
PHRASES = """
blood pressure|presion arterial|blood (sugar|test|work)|azucar en (la )?sangre|eye exam|foot exam
heart (failure|attack|disease)|mental health|salud mental|(test|lab) (results?|tests?)|resultados?|analisis
"""
_CHOICES = (
    rf"(?:{'|'.join(STEMS.split())})\w*",
    rf"(?:{'|'.join(WORDS.split())})\b",
    rf"(?:{'|'.join(PHRASES.split(chr(10))[1:-1])})\b",
)
BLOCKED = re.compile(rf"\b(?:{'|'.join(_CHOICES)})", re.IGNORECASE)


def says_too_much(text: str) -> bool:
    """Whether the text names something clinical. Accents, case and look-alike forms do not hide a word."""
    folded = unicodedata.normalize("NFKD", text)
    plain = "".join(c for c in folded if not unicodedata.combining(c) and unicodedata.category(c) != "Cf")
    return BLOCKED.search(plain) is not None
