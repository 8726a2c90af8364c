"""`./careloop proof kills`."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)


@app.callback()
def proof() -> None:
    """Try to break the promises."""


@app.command()
def kills(
    events: Annotated[int, typer.Option(help="How many results are sent.")] = 2000,
    kills: Annotated[int, typer.Option(help="How many processes are killed meanwhile.")] = 8,
    seed: Annotated[int, typer.Option(help="Chooses victims and moments.")] = 1,
    json: Annotated[Path | None, typer.Option("--json", help="Write the findings here too.")] = None,
) -> None:
    """Kill -9 of random services, the gate, Kafka, PostgreSQL and OpenBao in mid-traffic."""
    from careloop.proof.kills import run

    raise typer.Exit(0 if run(events, kills, seed, json).clean else 1)


def main(arguments: list[str]) -> None:
    """What `./careloop proof` hands over."""
    app(arguments)


if __name__ == "__main__":
    app()
