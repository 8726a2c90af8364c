"""What a reply by text means for consent. In doubt it holds all texts, and a person reads it.

The words of 47 CFR 64.1200(a)(10) are definitive, in any case, spacing, punctuation or repetition. Any other
text holds what would be sent, and is flagged for staff, unless every one of its words is plainly harmless: the law
lets a person revoke consent in words of their own.
"""

import re
import unicodedata
from datetime import date, datetime, timedelta
from enum import Enum


class Reply(Enum):
    """What a text asks for."""

    STOP = "stop"
    """Definitive."""
    DOUBT = "doubt"
    """Not plainly harmless: nothing is sent until a person has read it."""
    START = "start"
    """Wants back in. That takes consent on record, so a person has to ask for it; nothing opens by itself."""
    HARMLESS = "harmless"

    @property
    def blocks(self) -> bool:
        """Whether the number gets no more texts, for good or until a person has decided."""
        return self in (Reply.STOP, Reply.DOUBT)

    @property
    def flagged(self) -> bool:
        """Whether a person has to look."""
        return self in (Reply.DOUBT, Reply.START)


class Reading(Enum):
    """What a person says that a flagged reply means."""

    OPT_OUT = "opt-out"
    NO_OPT_OUT = "no-opt-out"


BUSINESS_DAYS = 10
"""In which a revocation has to be honoured, 47 CFR 64.1200(a)(10). Texts stop at once; a reading has this time."""


def decide_by(received: datetime) -> date:
    """The last day on which a flagged reply should be read.

    Ten business days from the earliest date that it then was anywhere, holidays counted in: never later than the law's.
    """
    day = (received - timedelta(hours=12)).date()
    left = BUSINESS_DAYS
    while left:
        day += timedelta(days=1)
        left -= day.weekday() < 5
    return day


SIGNS = str.maketrans({"🛑": " stop ", "⛔": " stop ", "🚫": " stop ", "👍": " ok ", "🙏": " thanks ", "❤": " thanks "})
APOSTROPHES = "'`\u2019"
PHRASES = re.compile(r"\b(opt out|opt in|stop all|cancel all|un subscribe|no mas)\b")
LOOKALIKES = str.maketrans("05", "os")


def _canonical(word: str) -> str:
    """A letter said twice is said once, as in `stoppp`; a digit that poses as a letter is one."""
    posing = word.translate(LOOKALIKES) if any(sign.isalpha() for sign in word) else word
    return re.sub(r"(.)\1+", r"\1", posing)


def _words(text: str) -> list[str]:
    """Words without case, accents, apostrophes and invisible signs; anything else between them is a space."""
    signs = unicodedata.normalize("NFKD", text.translate(SIGNS)).casefold()
    kept = (sign for sign in signs if sign not in APOSTROPHES and unicodedata.category(sign) not in ("Mn", "Cf"))
    spaced = " ".join("".join(sign if sign.isalnum() else " " for sign in kept).split())
    return PHRASES.sub(lambda phrase: phrase[0].replace(" ", ""), spaced).split()


def _vocabulary(words: str) -> frozenset[str]:
    return frozenset(_canonical("".join(_words(word))) for word in words.split())


STOP = _vocabulary("""
    stop stopall quit end revoke optout cancel cancelall unsubscribe unsub remove
    alto para pare parar paren pares basta cancelar cancele detener detenga terminar salir baja nomas fin
    arret arrete arreter arretez stopper desabonner desabonnement sair sispann itigil стоп отписаться
    停止 取消 退订 退訂 停 중지 정지 拒否
""")
POLITE = _vocabulary("""
    please pls plz kindly the all my me it this these that now immediately right today just to
    texting texts text txt txts messages message messaging msgs msg sms sending getting receiving subscription
    thank thanks thx you u sir hi hello ok i want would like
    por favor ya los mensajes mensaje textos svp sil vous plait les
""")
START = _vocabulary("start unstop resume optin subscribe resubscribe")
HARMLESS = _vocabulary("""
    yes y yeah yep si oui ok okay k sure fine good great perfect thanks thank you thx ty gracias merci
    c confirm confirmed help info hi hello hey please pls
    doctor dr dra nurse clinic office appointment appt visit
    i im ill id we my me a an the and or for at on in to of is are was
    will can could would may it this that be with
    come coming call called calling see make made schedule scheduled book booked reschedule need
    what when where which who how there then instead
    time day date today tomorrow tonight morning afternoon evening noon am pm week month next
    monday tuesday wednesday thursday friday saturday sunday mon tue tues wed thu thur thurs fri sat sun
    january february march april may june july august september october november december
""")


def read_reply(text: str) -> Reply:
    """What `text` asks for."""
    words = _words(text)
    said = [_canonical(word) for word in words]
    core = [word for word in said if word not in POLITE]
    squeezed = {_canonical("".join(part)) for part in (words, core)}
    if squeezed & STOP or (core and STOP.issuperset(core)):
        return Reply.STOP
    if squeezed & START:
        return Reply.START
    harmless = words and all(word in HARMLESS or word.isdecimal() for word in said)
    return Reply.HARMLESS if harmless else Reply.DOUBT
