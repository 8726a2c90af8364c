"""The commands of `./careloop`."""

import asyncio
import importlib
import importlib.util
import json as json_format
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from careloop import state
from careloop.processes import Identity, StartFailed
from careloop.state import Run

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
clock = typer.Typer(no_args_is_help=True, help="The virtual clock of the running system.")
subscriber = typer.Typer(no_args_is_help=True, help="Readers outside CareLoop.")
app.add_typer(clock, name="clock")
app.add_typer(subscriber, name="subscriber")
console = Console(highlight=False, soft_wrap=True)
EXTRA = {"allow_extra_args": True, "ignore_unknown_options": True}


@app.callback()
def careloop() -> None:
    """CareLoop on one machine. `./careloop demo` is the place to begin."""


def _current() -> Run:
    run = state.current()
    if run is None or "urls" not in run.record():
        raise StartFailed("nothing is running in this clone; start it with ./careloop up")
    return run


def _instant(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise StartFailed(f"not a time: {text} (2026-03-02T15:00Z is one)") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


@app.command()
def up(
    virtual_clock: Annotated[str | None, typer.Option(help="Business time stands still here until advanced.")] = None,
) -> None:
    """Start everything and stay; Ctrl-C or `./careloop down` ends it."""
    from careloop.system import System

    running = state.current()
    if running:
        raise StartFailed(f"this clone runs already, by process {running.supervisor.pid}; see ./careloop status")
    stopped = threading.Event()
    for sign in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sign, lambda *_: _stop_early(stopped))
    try:
        instant = _instant(virtual_clock) if virtual_clock else None
        with System.start(instant, kind="up", report=console.print) as system:
            _show(system.describe())
            while not stopped.wait(0.5):
                pass
            console.print("stopping")
    except KeyboardInterrupt:
        console.print("stopped before it was up")


def _stop_early(stopped: threading.Event) -> None:
    """The first signal asks; before the system is up, and at the second, it interrupts."""
    run = state.current()
    if stopped.is_set() or run is None or "urls" not in run.record():
        raise KeyboardInterrupt
    stopped.set()


def _show(record: dict[str, Any]) -> None:
    table = Table(box=None, show_header=False)
    for name, url in record["urls"].items():
        table.add_row(name, url)
    for name in ("kafka", "postgres", "vault"):
        table.add_row(name, record[name]["address"])
    table.add_row("certificate authority", record["ca_file"])
    console.print(table)
    console.print("a token: ./careloop token care-coordinator     end: Ctrl-C or ./careloop down")


@app.command()
def down() -> None:
    """End the running system, and clear away what a dead one left."""
    run = state.current()
    if run:
        run.supervisor.end(signal.SIGTERM, 60)
    state.clear_dead_runs()
    console.print("stopped" if run else "nothing was running")


@app.command()
def status(json: Annotated[bool, typer.Option("--json", help="For programs.")] = False) -> None:
    """What runs here."""
    run = state.current()
    children = run.record().get("children", {}) if run else {}
    rows = [
        {"name": name, "pid": child["pid"], "state": "running" if Identity(**child).alive else "ended"}
        for name, child in children.items()
    ]
    if run:
        rows.insert(0, {"name": "launcher", "pid": run.supervisor.pid, "state": "running"})
    if json:
        print(json_format.dumps(rows))
    elif not rows:
        console.print("nothing is running in this clone")
    else:
        table = Table(box=None)
        for title in ("name", "pid", "state"):
            table.add_column(title)
        for row in rows:
            table.add_row(str(row["name"]), str(row["pid"]), str(row["state"]))
        console.print(table)
    sys.exit(0 if rows else 3)


@app.command()
def logs(service: str, lines: Annotated[int, typer.Option("-n", help="How many, from the end.")] = 100) -> None:
    """The end of a process's log."""
    run = state.current() or next(reversed([run for run in state.runs() if run.kind == "up"]), None)
    found = {file.stem: file for file in run.logs.glob("*.log")} if run else {}
    if service not in found:
        raise StartFailed(f"no log of {service}; there are: {', '.join(sorted(found)) or 'none'}")
    print("\n".join(found[service].read_text(errors="replace").splitlines()[-lines:]))


@app.command()
def token(
    roles: Annotated[list[str], typer.Argument(help="Roles of deploy/roles.toml.")],
    patient: Annotated[str | None, typer.Option(help="The one patient that a patient or proxy may see.")] = None,
    subject: Annotated[str | None, typer.Option(help="Who it stands for.")] = None,
) -> None:
    """Print an access token of the development issuer."""
    from careloop.issuer import TokenMaker

    record = _current().record()
    maker = TokenMaker(record["urls"]["issuer"], Path(record["issuer_key"]))
    print(maker.token(roles, subject or f"dev-{'-'.join(roles)}", patient))


def _world() -> Any:
    from careloop.barrier import World
    from careloop.kafka import Kafka

    record = _current().record()
    if not record["clock"]:
        raise StartFailed("it runs on real time; start it with ./careloop up --virtual-clock 2026-03-02T15:00Z")
    broker = Kafka(record["kafka"]["port"], Path(record["ca_file"]), record["kafka"]["password"])
    urls = {name: record["urls"][name] for name in record["running"]}
    return World(broker, urls, record["urls"].get("simulator"), Path(record["clock"]))


@clock.command()
def show() -> None:
    """Print the virtual time."""
    print(_world().now().isoformat())


@clock.command()
def advance(
    to: Annotated[str | None, typer.Option(help="An instant.")] = None,
    days: Annotated[float | None, typer.Option(help="So many days from the clock's now.")] = None,
) -> None:
    """Let business time pass, by way of each instant at which something is due."""
    from careloop.barrier import NotSettled

    if (to is None) == (days is None):
        raise StartFailed("say either --to or --days")
    world = _world()
    target = _instant(to) if to else world.now() + timedelta(days=days or 0)
    try:
        steps = asyncio.run(world.advance(target))
    except NotSettled as unrest:
        raise StartFailed(f"the system does not come to rest: {unrest}") from None
    print(f"{world.now().isoformat()} after {steps} due instants")


@app.command()
def trace(trace_id: Annotated[str | None, typer.Argument(help="The id, or how it begins.")] = None) -> None:
    """Show one trace through all services as a tree; without an id, the newest traces."""
    from careloop import trace as traces

    found = [span for run in state.runs() for span in traces.spans(run.spans)]
    if trace_id is None:
        for name, first in traces.latest(found):
            console.print(f"{name}  {first['service']}  {first['name']}")
        return
    drawn = traces.tree(found, trace_id)
    if drawn is None:
        raise StartFailed(f"not one trace begins with {trace_id}")
    console.print(drawn)


@subscriber.command()
def add(name: str, topics: list[str]) -> None:
    """Let an outside program read topics: a Kafka principal, an OpenBao role, and nothing more."""
    from careloop import subscribers

    print(json_format.dumps(subscribers.add(_current().record(), name, topics), indent=1))


@subscriber.command()
def remove(name: str) -> None:
    """Take back all that `add` gave: the Kafka principal with its rights, the OpenBao role with its policy."""
    from careloop import subscribers

    subscribers.remove(_current().record(), name)
    console.print(f"removed {name}")


@app.command(context_settings=EXTRA)
def test(context: typer.Context) -> None:
    """Check the code and run pytest (its arguments may follow) on servers of its own."""
    from careloop import checks

    sys.exit(checks.test(context.args))


def _delegate(module: str, arguments: list[str]) -> None:
    sys.exit(importlib.import_module(f"careloop.{module}").main(arguments) or 0)


@app.command(context_settings=EXTRA)
def demo(context: typer.Context) -> None:
    """Four patients, a year in minutes: what CareLoop does, told as it happens."""
    _delegate("story", context.args)


@app.command(context_settings=EXTRA)
def bench(context: typer.Context) -> None:
    """Measure this machine."""
    _delegate("bench.__main__", context.args)


@app.command(context_settings=EXTRA)
def conformance(context: typer.Context) -> None:
    """Compare with official test cases: `cdsi --cases FILE --schedule FILE --json OUT`. Needs no servers."""
    command = [sys.executable, "-m", "care_gap_engine", "conformance", *context.args]
    sys.exit(subprocess.run(command, check=False).returncode)


if importlib.util.find_spec("careloop.proof"):

    @app.command(context_settings=EXTRA)
    def proof(context: typer.Context) -> None:
        """Try to break the promises: crashes, repeats, opt-outs under load."""
        _delegate("proof", context.args)


def main() -> None:
    """Run one command; what went wrong with a server is told in one line. Being ended ends what was started."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        app()
    except StartFailed as failed:
        print(f"careloop: {failed}", file=sys.stderr)
        sys.exit(1)
