"""Rules of the house that a review would forget: who may commit, read the clock, reach Kafka or the key service."""

import ast
import importlib.metadata
import re
import sys
from collections.abc import Iterator

import pytest
from house import LIBRARIES, ROOT, SERVICES, TOOLS, Member, sources_of

from phi_common.logs import FIELDS

PLUMBING = "libs/phi_common/src/phi_common/"
OWNERS = {
    r"\.(commit|rollback)$": ("db.py", "eventing/broker.py"),
    r"(^|\.)(datetime\.now|datetime\.utcnow|datetime\.today|date\.today)$": ("clock.py",),
    r"(^|\.)uuid[14]$": ("clock.py",),
    r"^print$": (),
    r"(^|\.)AIOKafka\w+$": ("eventing/broker.py",),
    r"(^|\.)KafkaBroker$": ("eventing/broker.py",),
    r"\.subscriber$": ("eventing/broker.py",),
    r"^hvac\.": ("vault.py", "testing.py"),
}
"""A call -> the files of phi_common that may make it. `tools/` is free."""

CARE_WORDS = re.compile(r"\b(gap|referral|consent|outreach)\b", re.IGNORECASE)
CODE = LIBRARIES + SERVICES


def calls(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Every call as dotted text."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node.lineno


def trespasses(tree: ast.AST, path: str) -> list[str]:
    """Calls in `path` that are another file's business."""
    return [
        f"{path}:{line} {call}("
        for call, line in calls(tree)
        for pattern, owners in OWNERS.items()
        if re.search(pattern, call) and path not in [PLUMBING + owner for owner in owners]
    ]


@pytest.mark.parametrize("member", CODE, ids=lambda member: member.name)
def test_calls_stay_with_their_owner(member):
    assert [found for source in sources_of(member) for found in trespasses(source.tree, str(source))] == []


@pytest.mark.parametrize(
    "code",
    [
        "connection.commit()",
        "await session.rollback()",
        "datetime.now(UTC)",
        "datetime.datetime.now()",
        "date.today()",
        "uuid4()",
        "uuid.uuid4()",
        "print(1)",
        "AIOKafkaConsumer()",
        "aiokafka.AIOKafkaProducer()",
        "KafkaBroker('x')",
        "broker.subscriber('x')",
        "hvac.Client()",
    ],
)
def test_the_rule_itself_catches_a_trespass(code):
    tree = ast.parse(code, mode="exec") if "await" not in code else ast.parse(f"async def f():\n    {code}")
    assert trespasses(tree, "services/consent/src/consent/api.py")


def test_the_library_knows_no_care_word():
    [library] = [member for member in LIBRARIES if member.name == "phi_common"]
    found = [
        f"{source}: {match.group()}"
        for source in sources_of(library)
        if "/events/" not in str(source) and source.path.name != "topics.py"
        for match in CARE_WORDS.finditer(source.text)
    ]
    assert found == []


def test_no_work_is_left_for_later_in_code():
    marks = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "X" * 3]) + r")\b|NotImplementedError")
    found = [str(source) for member in CODE + TOOLS for source in sources_of(member) if marks.search(source.text)]
    assert found == []


@pytest.mark.parametrize("member", CODE + TOOLS, ids=lambda member: member.name)
def test_every_import_of_a_member_is_declared(member):
    assert undeclared(member) == {}


def undeclared(member: Member) -> dict[str, str]:
    """Imported module -> where, for those that come from no declared dependency. `testing.py` is for developers."""
    declared = {normal(re.split(r"[\[<>=!~; ]", text)[0]) for text in member.dependencies}
    ours = {found.package: [found.name] for found in CODE}
    providers = ours | importlib.metadata.packages_distributions()
    missing = {}
    for source in sources_of(member):
        for module in imported(source.tree) if source.path.name != "testing.py" else ():
            given_by = {normal(name) for name in providers.get(module, ())}
            if module not in sys.stdlib_module_names and module != member.package and not given_by & declared:
                missing[module] = str(source)
    return missing


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def imported(tree: ast.AST) -> Iterator[str]:
    """The top-level package of every absolute import, lazy ones too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".")[0]


@pytest.mark.parametrize("member", CODE, ids=lambda member: member.name)
def test_logs_name_constant_events_and_listed_fields(member):
    """A field that the allow list lacks would be dropped in silence; an event built from data would not."""
    wrong = []
    for source in sources_of(member):
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Call) and re.fullmatch(r"log\.(info|warning|error)", ast.unparse(node.func)):
                fields = {keyword.arg for keyword in node.keywords} - {"error"}
                if not (isinstance(node.args[0], ast.Constant) and fields <= FIELDS):
                    wrong.append(f"{source}:{node.lineno}")
    assert wrong == []


def test_nothing_logs_past_the_allow_list():
    """`logging` and `structlog` have no allow list."""
    found = [
        str(source)
        for member in CODE
        for source in sources_of(member)
        if {"logging", "structlog"} & set(imported(source.tree)) and source.path.name != "logs.py"
    ]
    assert found == []


def test_the_file_of_a_service_bears_a_known_name_or_is_listed_in_the_layers():
    layers = (ROOT / "pyproject.toml").read_text()
    plain = {"__init__", "__main__", "main", "settings", "migrations"}
    for service in SERVICES:
        for path in service.source.iterdir():
            name = path.stem
            if name != "__pycache__" and name not in plain:
                assert re.search(rf"\({name}\)", layers), f"{service.name}: add {name} to the layers on purpose"
