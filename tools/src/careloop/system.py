"""The whole of CareLoop, running: servers, services, gate, issuer and the provider outside."""

import asyncio
import importlib.util
import os
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx2

from careloop.barrier import World
from careloop.environment import Environment
from careloop.issuer import TokenMaker
from careloop.kafka import Kafka
from careloop.paths import GATE, Program, programs, services, write_secret
from careloop.processes import StartFailed, run
from careloop.servers import Servers, servers
from careloop.supervisor import Child
from phi_common.clock import set_virtual

READY_SECONDS = 90.0
TOKEN_RENEWAL_SECONDS = 1800.0
Report = Callable[[str], None]


def silent(_: str) -> None:
    """No progress is told."""


@dataclass
class System:
    """A running system. `urls` has every program that listens; `wanted` are the ones that answer `/readyz`."""

    servers: Servers
    environment: Environment
    tokens: TokenMaker
    clock_file: Path | None
    running: list[Program] = field(default_factory=list)
    has_simulator: bool = False

    @classmethod
    @contextmanager
    def start(
        cls,
        virtual: datetime | None = None,
        *,
        kind: str = "system",
        trace_ratio: float = 1.0,
        environment: Mapping[str, Mapping[str, str]] | None = None,
        report: Report = silent,
    ) -> "Iterator[System]":
        """Run everything for the length of a `with`.

        With `virtual`, business time stands at that instant until advanced. `environment` adds variables for
        single programs, by name.
        """
        report("starting PostgreSQL, Kafka and OpenBao")
        with servers(kind) as found:
            clock = found.run.data / "clock" if virtual else None
            if clock and virtual:
                set_virtual(clock, virtual)
            made = Environment(found, clock, trace_ratio)
            tokens = TokenMaker(made.urls["issuer"], found.run.data / "issuer.key")
            system = cls(found, made, tokens, clock)
            system._start_programs(environment or {}, report)
            found.run.write({**found.run.record(), **system.describe()})
            yield system

    @property
    def urls(self) -> dict[str, str]:
        """Base URLs of the running programs, `issuer` and `simulator` by name; `mllp` is host and port, for TLS."""
        names = [program.name for program in self.running] + ["issuer"] + ["simulator"] * self.has_simulator
        mllp = f"127.0.0.1:{self.servers.ports['mllp']}"
        return {name: self.environment.urls[name] for name in names} | {"mllp": mllp}

    @property
    def ca_file(self) -> Path:
        """The certificate authority of this run."""
        return self.servers.authority.ca_file

    @property
    def kafka(self) -> Kafka:
        """The broker, with its administrator."""
        return self.servers.kafka

    def token(self, *roles: str, subject: str | None = None, patient_id: str | None = None) -> str:
        """An access token with these roles."""
        return self.tokens.token(list(roles), subject or f"dev-{'-'.join(roles)}", patient_id)

    def client(self, name: str, *roles: str, **how: Any) -> httpx2.Client:
        """An HTTP client for one program, with a token where roles are named."""
        headers = {"Authorization": f"Bearer {self.token(*roles)}"} if roles else {}
        trust = ssl.create_default_context(cafile=self.ca_file)
        return httpx2.Client(base_url=self.urls[name], verify=trust, trust_env=False, headers=headers, **how)

    def log(self, name: str) -> Path:
        """The log of a child."""
        return self.servers.run.logs / f"{name}.log"

    def stop(self, name: str) -> None:
        """End a child properly; it stays ended until `restart`."""
        self.servers.supervisor.stop(name)

    def kill(self, name: str) -> None:
        """End a child as a crash does; it is started again."""
        self.servers.supervisor.kill(name)

    def restart(self, name: str, environment: Mapping[str, str] | None = None) -> None:
        """Start a stopped child again, with further variables if given, and wait until it is ready."""
        child = self.servers.supervisor.children[name]
        if environment:
            child.env = _with(child.env, environment)
        self.servers.supervisor.start(child)
        self.wait_ready(name)

    def wait_ready(self, *names: str, seconds: float = READY_SECONDS) -> None:
        """Wait until programs answer that they are ready; all of ours when none is named."""
        with ThreadPoolExecutor(8) as pool:
            chosen = names or [program.name for program in self.running]
            list(pool.map(lambda name: self._wait_ready(name, seconds), chosen))

    def world(self) -> World:
        """What the barrier looks at."""
        if self.clock_file is None:
            raise ValueError("this system has no virtual clock")
        urls = {program.name: self.environment.urls[program.name] for program in self.running}
        return World(self.kafka, urls, self.urls.get("simulator"), self.clock_file)

    def settle(self) -> None:
        """Wait until all that was set in motion is done."""
        asyncio.run(self.world().settle())

    def advance(self, to: datetime) -> int:
        """Let business time pass until `to`, by way of each instant at which something is due."""
        return asyncio.run(self.world().advance(to))

    def describe(self) -> dict[str, Any]:
        """What other `./careloop` commands need to know."""
        key = str(self.servers.run.data / "issuer.key")
        clock = str(self.clock_file) if self.clock_file else None
        running = [program.name for program in self.running]
        return {**self.servers.describe(), "urls": self.urls, "clock": clock, "issuer_key": key, "running": running}

    def _start_programs(self, more: Mapping[str, Mapping[str, str]], report: Report) -> None:
        ready = [program for program in services() if program.ready]
        report("bringing databases up to date")
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(self._migrate, ready))
        self._keep_gate_token()
        key_file = self.servers.run.data / "issuer.key"
        issuer = [sys.executable, "-m", "careloop.issuer"]
        self._supervise(Child("issuer", lambda: issuer, self.environment.issuer(key_file)))
        if importlib.util.find_spec("careloop.simulator"):
            simulator = [sys.executable, "-m", "careloop.simulator"]
            self._supervise(Child("simulator", lambda: simulator, self.environment.simulator()))
            self.has_simulator = True
        report("starting services")
        self.running = [program for program in programs() if program.ready]
        for program in self.running:
            env = _with(self.environment.program(program), more.get(program.name, {}))
            self._supervise(Child(program.name, _command(program), env))
        self.wait_ready("issuer", *(program.name for program in self.running))

    def _supervise(self, child: Child) -> None:
        self.servers.supervisor.start(child)

    def _migrate(self, program: Program) -> None:
        command = [sys.executable, "-m", program.module, "migrate"]
        run(command, self.log(program.name), env=self.environment.migration(program))

    def _keep_gate_token(self) -> None:
        """The gate asks consent with a token of its own, which the launcher renews in place."""

        def write() -> None:
            fresh = self.environment.token_file.with_suffix(".new")
            token = self.tokens.token(["service"], GATE, seconds=int(2 * TOKEN_RENEWAL_SECONDS))
            os.replace(write_secret(fresh, token), self.environment.token_file)

        def keep() -> None:
            while not self.servers.supervisor.ending.wait(TOKEN_RENEWAL_SECONDS):
                write()

        write()
        threading.Thread(target=keep, name="gate-token", daemon=True).start()

    def _wait_ready(self, name: str, seconds: float) -> None:
        child = self.servers.supervisor.children[name]
        trust = ssl.create_default_context(cafile=self.ca_file)
        deadline = time.monotonic() + seconds
        with httpx2.Client(verify=trust, trust_env=False, timeout=5) as http:
            while True:
                try:
                    if http.get(f"{self.environment.urls[name]}/readyz").is_success:
                        return
                except httpx2.HTTPError:
                    if child.failures > 3:
                        raise StartFailed(f"{name} does not start", self.log(name)) from None
                if time.monotonic() > deadline:
                    raise StartFailed(f"{name} is not ready", self.log(name))
                time.sleep(0.1)


def _command(program: Program) -> Callable[[], list[str]]:
    return lambda: [sys.executable, "-m", program.module, program.verb]


def _with(env: Callable[[], Mapping[str, str]], more: Mapping[str, str]) -> Callable[[], Mapping[str, str]]:
    return lambda: {**env(), **more}
