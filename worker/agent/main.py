"""Run the agent on this machine: the real parts, put together."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from random import SystemRandom
from typing import Any
from uuid import uuid4

import structlog

from worker.agent.assemble import Agent, Parts, assemble
from worker.agent.clients import open_clients
from worker.agent.drain import Drain
from worker.agent.files import open_spool, store_of, store_secrets
from worker.agent.free_space import FreeSpace, filled_folders
from worker.agent.gpus.pool import Gpus
from worker.agent.gpus.quarantine_file import QuarantineFile
from worker.agent.input_cache import open_input_cache
from worker.agent.isolation import confinement_of, prepare_state_dir
from worker.agent.offer import offered_types, reader_of, tell_lacks, tell_problems
from worker.agent.operators.control.orders import Orders
from worker.agent.operators.control.pause import Pause
from worker.agent.operators.control.serving import taking_orders
from worker.agent.operators.listening import listen_for_operators, operators_page
from worker.agent.operators.presence import Presence, handlers_told, present
from worker.agent.operators.service import told_to_the_manager
from worker.agent.server_kind import FoundKinds, ServerKind
from worker.agent.statedir import StateDir
from worker.agent.watches import watches_of
from worker.agent.workdirs import open_workdirs
from worker.api.connect import token_source
from worker.api.wire import ErrorKind
from worker.clock import Clock, SystemClock
from worker.config import AgentConfig
from worker.executor.catalogue import open_catalogue
from worker.executor.describer import Describer
from worker.executor.installed import installed_handlers
from worker.executor.limits import Limits
from worker.executor.named_secrets import NamedSecrets
from worker.executor.output import OutputRules
from worker.executor.process_executor import ProcessExecutor
from worker.executor.spawn import ProcessSpawner
from worker.executor.sweep import end_marked
from worker.machine.chosen_gpus import with_chosen
from worker.machine.detect import clouds_of, detect_configured
from worker.machine.gpu import gpu_facts
from worker.machine.gpu_watch import GpuWatch
from worker.machine.identity import load_agent_id, machine_fingerprint
from worker.machine.live_facts import LiveFacts
from worker.redaction import OwnSecrets
from worker.reporting.disk import DiskIO
from worker.reporting.journal import Journal
from worker.service_manager import ServiceManager
from worker.signals import Signals, signals_to_the_end
from worker.stacks import dump_on_signal, stacks
from worker.usage.gpu_meter import GpuAccounts

__all__ = ["run"]

GPU_LIMIT_S = 2.0  # of asking again for GPUs that were not known; the end of the agent may wait for it
log = structlog.get_logger()


async def run(
    config: AgentConfig, secrets: OwnSecrets | None = None, on_built: Callable[[], None] = lambda: None
) -> int:
    """Work until SIGTERM or SIGINT has drained the agent; returns the exit code.

    `secrets` are what it knows and does not tell (see `own_secrets`), where others ask for them too;
    `on_built` is told when all parts are there, before the work begins.

    Raises: ValueError where a setting cannot be used; OSError where the state directory cannot be;
    StateDirBusy where another agent uses it.
    """
    with StateDir.acquire(config.state_dir) as state:
        async with AsyncExitStack() as stack:
            signals = stack.enter_context(signals_to_the_end())  # the first: what follows is closed before it
            agent = await build(config, state, stack, secrets or own_secrets(config), signals)
            on_built()
            return await agent.run()


async def build(
    config: AgentConfig, state: StateDir, stack: AsyncExitStack, secrets: OwnSecrets, signals: Signals
) -> Agent:
    """Put the real parts together, and listen for signals; `stack` closes what was opened."""
    manager = ServiceManager.take(os.environ)  # before there is a child that could have it
    dump_on_signal()
    listening = listen_for_operators(config, stack)
    clock, random = SystemClock(), SystemRandom()
    confinement = confinement_of(config)
    prepare_state_dir(state.path, confinement.user)
    inputs = open_input_cache(config.input_cache, config.input_cache_bytes, confinement.user)
    environment = child_environment(config) | confinement.environment()
    describer = Describer(state.path, environment=environment, wish=confinement.wish())
    installed = installed_handlers()
    catalogue = await open_catalogue(config.handlers, describer, installed)
    tell_problems(catalogue)
    secrets_here = NamedSecrets(config.secrets_dir, config.secrets)
    tell_lacks(catalogue, secrets_here)
    types = offered_types(catalogue, config)
    clouds = clouds_of(config, os.environ)
    facts = await detect_configured(config, os.environ, clouds)
    live = LiveFacts(facts, clouds)
    agent_id = load_agent_id(state.path, uuid4, machine_fingerprint())
    pod_id = f"{facts.podId.value}/{agent_id}"
    await end_leftovers(agent_id)
    journal = await Journal.open(DiskIO(state.journal_path), clock)
    stack.push_async_callback(journal.aclose)
    spool = await open_spool(config, journal, confinement.user.uid if confinement.user else None)
    store = store_of(config)
    stack.push_async_callback(store.aclose)
    workdirs = await open_workdirs(config, clock, confinement.user)
    watch = GpuWatch(os.environ, clock)  # started where there are GPUs
    options = {type_: entry.options for type_ in types if (entry := catalogue.get(type_)) is not None}
    gpus = gpus_of(config, live, watch, clock, options)
    spawner = ProcessSpawner(
        environment,
        mark=agent_id,
        wish=confinement.wish(),
        max_processes=config.max_processes,
        has_groups=config.cgroups == "auto",
    )
    executor = ProcessExecutor(
        catalogue=catalogue,
        spawner=spawner,
        clock=clock,
        workdirs=workdirs,
        spool=spool,
        concurrency=config.concurrency,
        limits=Limits(
            timeout_s=config.timeout_s,
            no_progress_s=config.no_progress_s,
            memory_bytes=config.memory_bytes,
        ),
        load_timeout_s=config.load_timeout_s,
        idle_s=config.child_idle_s,
        max_runs=config.child_runs,
        growth_bytes=config.child_growth_bytes,
        redactor=secrets,
        output=OutputRules(head_bytes=config.output_bytes, keep=config.keep_output),
        gpus=GpuAccounts(watch, clock, shares=gpus.shares, runs_per_gpu=config.gpu_runs),
        inputs=inputs,
        secrets=lambda type_: reader_of(secrets_here, catalogue.secrets_of(type_)),
    )
    stack.push_async_callback(executor.aclose)
    kinds = FoundKinds(state.path / "servers.json")
    clients = await open_clients(stack, config, pod_id)
    parts = Parts(
        clock=clock,
        random=random,
        poll_api=clients.poll,
        claim_api=clients.claim,
        report_api=clients.report,
        executor=executor,
        journal=journal,
        spool=spool,
        store=store,
        pod_id=pod_id,
        types=types,
        options=options,
        lacks=lambda type_: secrets_here.lacks(catalogue.secrets_of(type_)),
        facts=live.as_claim,
        machine=live.as_body,
        gpus=gpus,
        kind=kind_of(config, kinds),
        version=installed.version or "not installed",
        on_kind=lambda kind: kinds.keep(config.api.url, kind),
        space=FreeSpace(filled_folders(config), config.min_free_bytes),
        watches=watches_of(config, clouds, live, clock, random, let_idle_go=executor.let_idle_go),
        standing={"minder": spawner.is_silent},
        not_ending=spawner.not_ending,
    )
    agent = assemble(parts, config)
    pause = Pause(agent.survey.holds, state.path, clock)
    pause.restore()
    presence = Presence(
        parts.report_api,
        agent.survey,
        agent.drain,
        machine=live.as_run_fields,
        handlers=handlers_told(catalogue, types),
    )
    await stack.enter_async_context(present(presence))
    await stack.enter_async_context(operators_page(agent.survey, listening))
    await stack.enter_async_context(taking_orders(state.path, orders_of(agent, pause)))
    listen(agent.drain, signals)  # before it says that it has started: who reads that may stop it at once
    await stack.enter_async_context(told_to_the_manager(manager, agent.survey))
    log.info(
        "agent.started", pod_id=pod_id, url=config.api.url, slots=config.concurrency, types=sorted(types)
    )
    return agent


def orders_of(agent: Agent, pause: Pause) -> Orders:
    """Return what carries out orders of people."""
    loop = asyncio.get_running_loop()

    def metrics() -> str:
        from worker.agent.operators.metrics import Metrics  # noqa: PLC0415 - asked for rarely, 50 ms to load

        return Metrics(agent.survey).text().decode()

    return Orders(agent.survey, agent.drain, pause, stacks=lambda: stacks(loop), metrics=metrics)


def gpus_of(
    config: AgentConfig,
    facts: LiveFacts,
    watch: GpuWatch,
    clock: Clock,
    options: Mapping[str, Mapping[str, Any]],
) -> Gpus:
    """Return who gives GPUs away; none of them is in quarantine yet."""
    quarantine = QuarantineFile(config.state_dir)
    quarantine.keep({})
    return Gpus(
        facts.now,
        config,
        watch,
        clock=clock,
        find=lambda: with_chosen(gpu_facts(Path("/"), os.environ, limit_s=GPU_LIMIT_S), config.gpus),
        on_found=facts.add,
        on_quarantine=quarantine.keep,
        handlers={type_: count for type_, given in options.items() if (count := given.get("gpus"))},
    )


async def end_leftovers(agent_id: str) -> None:
    """End what an earlier life of this agent left running, if its minder was killed with it."""
    if count := await end_marked(agent_id):
        log.warning("agent.leftovers_killed", processes=count)


def child_environment(config: AgentConfig) -> dict[str, str]:
    """Return what children may choose from: ours, with the settings that are meant for handlers."""
    templates = config.command_templates
    told = {
        "MILLHAND_COMMANDS": ",".join(config.commands),
        "MILLHAND_COMMAND_TEMPLATES": str(templates.absolute()) if templates else None,
        "MILLHAND_IMAGES": ",".join(config.images),
        "MILLHAND_CONTAINER_ENGINE": config.container_engine,
        "MILLHAND_CONTAINER_NETWORK": config.container_network,
        "MILLHAND_CONTAINER_USER": config.container_user,
    }
    return {**os.environ, **{name: value for name, value in told.items() if value}}


def own_secrets(config: AgentConfig) -> OwnSecrets:
    """Return the secrets of the agent, which must never stand in a log.

    Files of tokens may change: they are looked at for each run, and read where they did.
    """
    source, of_store = token_source(config.api), store_secrets(config)
    return OwnSecrets(lambda: (*((token,) if (token := source.current()) else ()), *of_store()))


def kind_of(config: AgentConfig, kinds: FoundKinds) -> ServerKind:
    """Return what is known of the server: configured, or found out by an earlier life."""
    configured = {"key": ServerKind.KEY, "election": ServerKind.IGNORES}.get(config.claims)
    return configured or kinds.load(config.api.url)


def listen(drain: Drain, signals: Signals) -> None:
    """Drain on SIGTERM and SIGINT; a second one means now."""
    for number in (signal.SIGTERM, signal.SIGINT):
        message = f"{number.name} received"
        signals.take(number, partial(drain.request, ErrorKind.DRAINED, message))
