"""The commands of `./careloop`."""

import sys
from typing import Annotated

import typer

from careloop.processes import StartFailed

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
EXTRA = {"allow_extra_args": True, "ignore_unknown_options": True}


@app.callback()
def careloop() -> None:
    """CareLoop on one machine."""


@app.command(context_settings=EXTRA)
def test(context: typer.Context) -> None:
    """Check the code and run pytest (its arguments may follow) on servers of its own."""
    from careloop import checks

    sys.exit(checks.test(context.args))


def main() -> None:
    """Run one command; a server that does not start is told in one line."""
    try:
        app()
    except StartFailed as failed:
        print(f"careloop: {failed}", file=sys.stderr)
        sys.exit(1)
