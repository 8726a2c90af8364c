"""The rules of consent: who may be written to, what closes and opens a channel, and what a reply means."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consent.domain.permits import OptOut, Refusal, Standing, confirmation_refusal, refusal
from consent.domain.preferences import (
    Allow,
    Block,
    Hold,
    Preferences,
    Release,
    allow,
    block,
    contact_changed,
    hold,
    profile_changed,
    release,
)
from consent.domain.replies import Reply, decide_by, read_reply
from phi_common.decision import Refused
from phi_common.events.consent import Channel, Permission
from phi_common.events.patients import ContactChanged, Phone, ProfileChanged, Use

P = UUID("00000000-0000-4000-8000-000000000001")
NOW = datetime(2026, 3, 2, 15, tzinfo=UTC)
DAY = timedelta(days=1)
CHANNELS = [Channel.SMS, Channel.PORTAL, Channel.EMAIL, Channel.PHONE]
ALLOWED, BLOCKED = Permission.ALLOWED, Permission.BLOCKED


def agreed(channel=Channel.SMS, **more):
    return Allow(P, channel, "staff", wording="sms-2026-01", **more)


def after(*steps, state=None):
    state = state or Preferences()
    for at, (decider, message) in enumerate(steps):
        state = decider(state, message, NOW + at * DAY).state
    return state


def test_nothing_on_record_is_no_permission():
    assert Preferences().permission(Channel.SMS) is None


def test_consent_opens_a_channel_and_says_so():
    decision = allow(Preferences(), agreed(preferred=True), NOW)
    assert decision.state.permission(Channel.SMS) is ALLOWED
    assert [(e.channel, e.permission, e.preferred, e.version, e.since) for e in decision.events] == [
        (Channel.SMS, ALLOWED, True, 1, NOW)
    ]


def test_a_new_favourite_channel_unseats_the_former_one():
    decision = allow(after((allow, agreed(preferred=True))), agreed(Channel.EMAIL, preferred=True), NOW + DAY)
    assert [(e.channel, e.preferred, e.version) for e in decision.events] == [
        (Channel.EMAIL, True, 2),
        (Channel.SMS, False, 3),
    ]
    assert decision.state.version == 3


@pytest.mark.parametrize(
    ("steps", "command", "reason"),
    [
        ([], Allow(P, Channel.SMS, "staff"), "evidence-missing"),
        ([], agreed(obtained=NOW + 300 * DAY), "evidence-in-the-future"),
        ([(profile_changed, ProfileChanged(patient_id=P, deceased=True))], agreed(), "deceased"),
        (
            [(block, Block(P, Channel.SMS, "patient"))],
            agreed(obtained=NOW - DAY),
            "evidence-not-newer-than-block",
        ),
        ([(block, Block(P, Channel.SMS, "patient"))], agreed(obtained=NOW), "evidence-not-newer-than-block"),
    ],
    ids=[
        "no evidence",
        "future evidence",
        "deceased",
        "evidence older than the block",
        "of the same instant",
    ],
)
def test_consent_is_refused(steps, command, reason):
    with pytest.raises(Refused) as refused:
        allow(after(*steps), command, NOW + 10 * DAY)
    assert refused.value.reason == reason


@pytest.mark.parametrize("obtained", [None, NOW + DAY], ids=["now", "after the block"])
def test_newer_consent_lifts_a_block(obtained):
    state = after((block, Block(P, Channel.SMS, "patient")))
    assert allow(state, agreed(obtained=obtained), NOW + 2 * DAY).state.permission(Channel.SMS) is ALLOWED


def test_a_second_block_keeps_the_date_of_the_first():
    first = after((block, Block(P, Channel.SMS, "patient", "STOP")))
    again = block(first, Block(P, Channel.SMS, "staff"), NOW + DAY)
    assert (again.state, again.events) == (first, ())


def test_a_block_takes_the_favourite_away():
    assert after((allow, agreed(preferred=True)), (block, Block(P, Channel.SMS, "patient"))).preferred is None


def test_death_closes_what_was_open_and_a_corrected_report_opens_just_that():
    alive = after((allow, agreed()), (allow, agreed(Channel.EMAIL)), (block, Block(P, Channel.EMAIL, "patient")))
    died = profile_changed(alive, ProfileChanged(patient_id=P, deceased=True), NOW)
    assert [(e.channel, e.permission) for e in died.events] == [(Channel.SMS, BLOCKED)]
    assert {died.state.permission(channel) for channel in CHANNELS} == {BLOCKED, None}
    corrected = profile_changed(died.state, ProfileChanged(patient_id=P, deceased=False), NOW)
    assert [(e.channel, e.permission) for e in corrected.events] == [(Channel.SMS, ALLOWED)]
    assert corrected.state.permission(Channel.EMAIL) is BLOCKED


def test_contacts_are_noted_and_allow_nothing():
    event = ContactChanged(
        patient_id=P, phones=(Phone(number="+12025550101", use=Use.MOBILE),), emails=("a@b.example",)
    )
    decision = contact_changed(Preferences(), event, NOW)
    assert decision.state.contacts == {("phone", "+12025550101"), ("email", "a@b.example")}
    assert (decision.events, decision.state.rules) == ((), {})


REPLIES = [UUID(int=1), UUID(int=2)]
READ, UNREAD = Release(P, REPLIES[0]), Hold(P, REPLIES[0])


def test_a_reply_in_doubt_holds_texts_and_nothing_else_until_it_is_read():
    state = after((allow, agreed(preferred=True)), (allow, agreed(Channel.PORTAL)))
    held = hold(state, UNREAD, NOW)
    assert [(e.channel, e.permission, e.version) for e in held.events] == [(Channel.SMS, BLOCKED, 3)]
    assert held.state.permission(Channel.PORTAL) is ALLOWED
    read = release(held.state, READ, NOW)
    assert [(e.channel, e.permission, e.preferred, e.version) for e in read.events] == [(Channel.SMS, ALLOWED, True, 4)]
    assert (read.state.rules, read.state.holds) == (state.rules, frozenset())


@pytest.mark.parametrize(
    ("meanwhile", "expected"),
    [
        ((block, Block(P, Channel.SMS, "provider:sms", "stop")), BLOCKED),
        ((profile_changed, ProfileChanged(patient_id=P, deceased=True)), BLOCKED),
        ((hold, Hold(P, REPLIES[1])), BLOCKED),
        ((hold, UNREAD), ALLOWED),
    ],
    ids=["a definite STOP", "a death", "another reply in doubt", "the same one again"],
)
def test_reading_one_reply_lifts_nothing_else(meanwhile, expected):
    state = after((allow, agreed()), (hold, UNREAD), meanwhile)
    assert release(state, READ, NOW).state.permission(Channel.SMS) is expected


def test_a_reading_gives_no_consent_that_was_not_there():
    state = after((hold, UNREAD))
    assert release(state, READ, NOW).state.permission(Channel.SMS) is None


def test_consent_is_not_taken_past_an_unread_reply_but_on_other_channels():
    state = after((allow, agreed()), (hold, UNREAD))
    with pytest.raises(Refused, match="reply-unread"):
        allow(state, agreed(), NOW + DAY)
    assert allow(state, agreed(Channel.PORTAL), NOW + DAY).state.permission(Channel.PORTAL) is ALLOWED


@pytest.mark.parametrize(
    ("received", "expected"),
    [
        ("2026-03-02T15:00", "2026-03-16"),
        ("2026-03-06T23:59", "2026-03-20"),
        ("2026-03-07T06:00", "2026-03-20"),
        ("2026-03-07T18:00", "2026-03-20"),
        ("2026-03-08T18:00", "2026-03-20"),
        ("2026-12-21T18:00", "2027-01-04"),
    ],
    ids=["Monday", "Friday", "still Friday somewhere", "Saturday", "Sunday", "holidays count in"],
)
def test_ten_business_days_never_later_than_the_law_has_it(received, expected):
    assert decide_by(datetime.fromisoformat(received).replace(tzinfo=UTC)).isoformat() == expected


commands = st.one_of(
    st.builds(Block, st.just(P), st.sampled_from(CHANNELS), st.just("patient")),
    st.builds(agreed, st.sampled_from(CHANNELS), preferred=st.booleans()),
    st.builds(agreed, st.sampled_from(CHANNELS), obtained=st.integers(-9, 9).map(lambda d: NOW + d * DAY)),
    st.builds(ProfileChanged, patient_id=st.just(P), deceased=st.booleans()),
    st.builds(Hold, st.just(P), st.sampled_from(REPLIES)),
    st.builds(Release, st.just(P), st.sampled_from(REPLIES)),
)
DECIDERS = {Block: block, Allow: allow, ProfileChanged: profile_changed, Hold: hold, Release: release}


@given(st.lists(commands, max_size=20))
def test_whatever_happens_versions_count_up_and_readers_see_what_holds(history):
    """A reader of the events ends with our own answer for every channel; only new evidence lifts a block."""
    state, seen, last = Preferences(), {}, 0
    for step, message in enumerate(history):
        before = state
        try:
            decision = DECIDERS[type(message)](state, message, NOW + step * DAY)
        except Refused:
            continue
        for event in decision.events:
            assert event.version == last + 1
            last, seen[event.channel] = event.version, (event.permission, event.preferred)
        state = decision.state
        for channel in CHANNELS:
            opened = before.permission(channel) is BLOCKED and state.permission(channel) is ALLOWED
            assert not opened or isinstance(message, Allow | Release) or (before.deceased and not state.deceased)
    assert last == state.version
    for channel in CHANNELS:
        expected = state.rules.get(channel) and (state.permission(channel), channel is state.preferred)
        assert seen.get(channel) == expected


@pytest.mark.parametrize(
    ("standings", "addressed", "address_blocked", "expected"),
    [
        ([Standing(ALLOWED)], True, False, None),
        ([Standing(None)], True, False, Refusal.NO_CONSENT),
        ([Standing(BLOCKED)], True, False, Refusal.OPTED_OUT),
        ([Standing(Permission.OTHER)], True, False, Refusal.OPTED_OUT),
        ([Standing(ALLOWED, deceased=True)], True, False, Refusal.DECEASED),
        ([Standing(ALLOWED)], True, True, Refusal.OPTED_OUT),
        ([Standing(ALLOWED)], False, False, Refusal.NO_ADDRESS),
        ([Standing(ALLOWED), Standing(BLOCKED)], True, False, Refusal.OPTED_OUT),
        ([Standing(ALLOWED), Standing(ALLOWED, held=True)], True, False, Refusal.OPTED_OUT),
        ([Standing(ALLOWED), Standing(None)], True, False, Refusal.NO_CONSENT),
        ([Standing(ALLOWED), Standing(ALLOWED)], True, False, None),
        ([], True, False, Refusal.NO_CONSENT),
    ],
)
def test_the_strictest_wins(standings, addressed, address_blocked, expected):
    assert refusal(standings, addressed=addressed, address_blocked=address_blocked) is expected


HERE, ELSEWHERE = b"here", b"elsewhere"
HEARD = OptOut(HERE, confirmable=True, received=NOW, effective=NOW)
MINUTES = timedelta(minutes=5)


@pytest.mark.parametrize(
    ("optout", "more", "expected"),
    [
        (HEARD, {}, None),
        (HEARD, {"upto": NOW + MINUTES}, None),
        (HEARD, {"upto": NOW + MINUTES + timedelta(microseconds=1)}, Refusal.TOO_LATE),
        (replace(HEARD, effective=None), {}, Refusal.NOT_CONFIRMABLE),
        (replace(HEARD, confirmable=False), {}, Refusal.NOT_CONFIRMABLE),
        (replace(HEARD, digest=None), {"digest": None}, Refusal.NOT_CONFIRMABLE),
        (HEARD, {"digest": ELSEWHERE}, Refusal.NOT_CONFIRMABLE),
        (HEARD, {"digest": None}, Refusal.NOT_CONFIRMABLE),
        (HEARD, {"address_blocked": False}, Refusal.NOT_CONFIRMABLE),
        (HEARD, {"deceased": True}, Refusal.DECEASED),
        (None, {}, Refusal.NOT_CONFIRMABLE),
    ],
    ids=[
        "at once",
        "at the last moment",
        "a moment later",
        "not effective yet",
        "no definite STOP",
        "without an address",
        "to another address",
        "to no address",
        "opened again by newer consent",
        "deceased",
        "no such opt-out",
    ],
)
def test_what_an_opt_out_may_be_answered_with(optout, more, expected):
    asked = {"digest": HERE, "address_blocked": True, "deceased": False, "upto": NOW} | more
    assert confirmation_refusal(optout, **asked) is expected


KEYWORDS = [
    "STOP",
    "QUIT",
    "END",
    "REVOKE",
    "OPT OUT",
    "CANCEL",
    "UNSUBSCRIBE",
    "STOPALL",
    "ARRET",
    "ALTO",
    "PARAR",
]
FORMS = [
    "{}",
    " {} ",
    "{}.",
    "{}!!!",
    "*{}*",
    '"{}"',
    "{} please",
    "Please {}!",
    "{}\n",
    "{} 🙏",
    "{} {}",
    "\u200b{}",
    "{} now",
]


@pytest.mark.parametrize("keyword", KEYWORDS)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", [str.upper, str.lower, str.title, str.swapcase], ids=lambda f: f.__name__)
def test_keywords_stop_in_every_form(keyword, form, case):
    assert read_reply(form.replace("{}", case(keyword))) is Reply.STOP


STOPS = """
    S T O P | s.t.o.p. | st0p | STOPPP | Stop texting me | stop sending me these messages please | Stop all
    \uff33\uff34\uff2f\uff30 | opt-out | OptOut | un-subscribe | remove me | ARRÊT | arrête | 🛑 | 🛑🛑🛑
    STOP STOP STOP | stop thanks | I want to stop this | alto por favor | ¡PARE! | no más | No mas mensajes
    cancelar | 停止 | Стоп | STOP ALL | end! | Baja | I would like to unsubscribe
"""
DOUBTS = """
    don't text me | Do not contact me again | take me off your list | leave me alone | wrong number | who dis
    No | no more | I need to cancel my appointment | can we end this | stpo | sotp | unsuscribe | wtf | spam
    I moved away | lose my number | I did not sign up for this | no quiero mensajes | ne m'écrivez plus
    👎 | 🖕 | ... | ? | \u0405\u0422\u041e\u0420 | This is his wife, he is in hospital | f off
    will you ever quit it | Stop by tomorrow? | I never asked for this
"""
HARMLESS = """
    Yes | Y | ok 👍 | Thanks! | C | HELP | Can I come Tuesday at 3 instead? | 1 | Call me tomorrow morning
    I'll be there | When is my appointment? | Gracias | ❤️
"""


def texts(table):
    return [text.strip() for line in table.strip().splitlines() for text in line.split("|")]


@pytest.mark.parametrize("text", texts(STOPS))
def test_other_ways_to_say_stop(text):
    assert read_reply(text) is Reply.STOP


@pytest.mark.parametrize("text", ["", "  ", *texts(DOUBTS)])
def test_what_is_unclear_blocks_and_is_read_by_a_person(text):
    reply = read_reply(text)
    assert reply is Reply.DOUBT
    assert reply.blocks
    assert reply.flagged


@pytest.mark.parametrize("text", texts(HARMLESS))
def test_plainly_harmless_replies_block_nothing(text):
    assert read_reply(text) is Reply.HARMLESS


@pytest.mark.parametrize("text", ["START", "unstop", "Start please", "opt in", "Subscribe!"])
def test_wanting_back_in_opens_nothing_by_itself(text):
    reply = read_reply(text)
    assert reply is Reply.START
    assert not reply.blocks
    assert reply.flagged


@given(st.text(), st.sampled_from(KEYWORDS), st.text())
def test_a_text_with_a_keyword_as_a_word_always_blocks(before, keyword, behind):
    assert read_reply(f"{before} {keyword} {behind}").blocks


@given(st.text())
def test_every_text_has_a_meaning(text):
    assert read_reply(text) in Reply
