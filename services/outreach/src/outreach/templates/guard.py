"""The last look at a text that leaves on an open channel: no diagnosis, medication, test or specialty may be read in it."""

import re
import unicodedata

# Stems, without accents; a word that begins with one is blocked. English and Spanish.
STEMS = """
diabet prediabet hba1c a1c glucos insulin metformin ozempic semaglutid hyperglyc hypoglyc
mammo mamogr breast mama pap cervic cervix colon colorect colorrect colposcop prostat psa biops tumor cancer oncolog carcino
chemo quimio hiv vih aids sida hepatit std sti syphilis sifilis chlamyd clamid gonorr herpes
pregnan embaraz prenatal postpartum obstetr ginecolog gynecolog fertil contracept anticoncept abort miscarr
depress depresi anxiety ansiedad bipolar schizo esquizo psychiat psiquiat psycholog psicolog suicid ptsd adhd tdah phq gad
alcohol opioid naloxon methadon metadona buprenorph substance adicc addict overdos sobredos rehab
hypertens hipertens cholesterol colesterol statin estatin cardiac cardiol cardiovas stroke
asthma asma copd epoc kidney renal nephro nefro dialys dialis thyroid tiroid anemi epilep seizure convuls dementia demencia
alzheimer parkinson arthrit artrit osteopor sickle diagnos prescri receta medication medicament dose dosis
immuniz vacun vaccin tetan influenza retinopath retinopat obes bmi
"""
PHRASES = """
blood pressure|presion arterial|blood sugar|azucar en (la )?sangre|eye exam|foot exam|heart (failure|attack|disease)
mental health|salud mental|test results?|lab results?|resultados?|lab test|blood test|analisis|smoking|tobacco|tabaco
"""
BLOCKED = re.compile(
    rf"\b(?:(?:{'|'.join(STEMS.split())})\w*|(?:{'|'.join(PHRASES.split(chr(10))[1:-1])})\b)", re.IGNORECASE
)


def says_too_much(text: str) -> bool:
    """Whether the text names something clinical. Accents, case and look-alike forms do not hide a word."""
    folded = unicodedata.normalize("NFKD", text)
    plain = "".join(c for c in folded if not unicodedata.combining(c) and unicodedata.category(c) != "Cf")
    return BLOCKED.search(plain) is not None
