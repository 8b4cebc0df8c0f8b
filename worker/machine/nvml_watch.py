"""Look at the GPUs by NVML, once for each line that comes, and answer with a line of JSON: a `Look`.

A program of its own, because NVML may hang in the driver for good: who asks kills it then. It ends when
its input does, also while it hangs, so that it does not outlive the agent.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from worker.machine.gpu_look import PROGRAM_XIDS
from worker.machine.nvml_probe import devices, start, text

__all__ = ["Watcher", "main"]

NOT_TOLD = (3, 4, 13)  # NVML_ERROR_NOT_SUPPORTED, NO_PERMISSION, FUNCTION_NOT_FOUND: others are faults
LOST = (15, 16)  # NVML_ERROR_GPU_IS_LOST, RESET_REQUIRED; and of what a run can do without, only these
NOT_FOUND = 6  # no sample since
SUCCESS = 0  # the binding raises it where there is no process sample
RESTART_PAUSE_S = 30.0  # between two restarts of NVML for GPUs that fail: it tells no events meanwhile


def main() -> None:
    """Answer until the input ends."""
    import pynvml  # noqa: PLC0415 - its absence ends this program, as who started it expects

    asked: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=listen, args=(asked,), daemon=True).start()
    watcher = Watcher(pynvml)
    while True:
        asked.get()
        sys.stdout.write(json.dumps(watcher.look()) + "\n")
        sys.stdout.flush()


def listen(asked: queue.SimpleQueue[str]) -> None:
    """Pass lines on; end the program with its input, whatever hangs."""
    for line in sys.stdin:
        asked.put(line)
    os._exit(0)


class Watcher:
    """NVML, and what was seen of it before."""

    def __init__(self, pynvml: Any) -> None:
        """Begin with nothing seen; NVML is started by the first look."""
        self._nvml = pynvml
        self._is_started = False
        self._has_failed = False  # some GPU, at the last look
        self._restart_mono = 0.0  # no restart for such a GPU before
        self._events: dict[int, tuple[str, Any]] = {}  # by the number of the GPU: its UUID and set of events
        self._boards: dict[int, str] = {}  # the same without the sets, also of those that fail
        self._uuids: dict[int, list[str]] = {}  # what it, or its instances, are
        self._xids: dict[str, int] = {}  # by UUID of the GPU: numbers may change with a restart
        self._looked_us: dict[str, int] = {}
        self._sampled_us: dict[str, int] = {}
        self._process_us: dict[str, int] = {}

    def look(self) -> dict[str, Any]:
        """Return the fields of a `Look`. After a fault NVML is started anew at the next.

        For GPUs that go on failing only now and then: the events of the others would be lost each time.
        """
        if self._has_failed and time.monotonic() >= self._restart_mono:
            self._stop()
            self._restart_mono = time.monotonic() + RESTART_PAUSE_S
        if not self._is_started:
            if (failure := start(self._nvml)) is not None:
                return failure
            self._is_started = True
        try:
            count = self._nvml.nvmlDeviceGetCount()
        except self._nvml.NVMLError as exc:
            self._stop()
            return {"error": f"NVML failed: {exc}", "kind": "other"}
        seen: list[dict[str, Any]] = []
        failed: list[str] = []
        for index in range(count):
            self._register(index)
        self._take_events()
        for index in range(count):
            self._look_at_gpu(index, seen, failed)
        self._has_failed = bool(failed) or any("error" in one for one in seen)
        return {"devices": seen, "failed": failed}

    def _stop(self) -> None:
        """Stop NVML, with what it had to tell taken; the next look starts it."""
        self._take_events()
        for _, events in self._events.values():
            with suppress(self._nvml.NVMLError):
                self._nvml.nvmlEventSetFree(events)
        self._events.clear()
        with suppress(self._nvml.NVMLError):
            self._nvml.nvmlShutdown()
        self._is_started = self._has_failed = False

    def _look_at_gpu(self, index: int, seen: list[dict[str, Any]], failed: list[str]) -> None:
        """Add what is told of one GPU or its instances."""
        try:
            handles = list(devices(self._nvml, index))
            self._uuids[index] = [text(self._nvml.nvmlDeviceGetUUID(handle)) for handle, _ in handles]
        except self._nvml.NVMLError as exc:
            known = self._uuids.get(index, [])
            seen += [{"uuid": uuid, "error": str(exc), "xid": self._xid(index)} for uuid in known]
            failed += [] if known else [f"GPU {index}: {exc}"]
            return
        for uuid, (handle, parent) in zip(self._uuids[index], handles, strict=True):
            seen.append({"uuid": uuid, "xid": self._xid(index)})
            try:
                seen[-1] |= self._look_at(uuid, handle, is_instance=handle is not parent)
            except self._nvml.NVMLError as exc:
                seen[-1] |= {"error": str(exc)}

    def _look_at(self, uuid: str, handle: Any, *, is_instance: bool) -> dict[str, Any]:
        """Return the fields of a `DeviceLook`."""
        at_us = time.time_ns() // 1000
        since_us = self._sampled_us.setdefault(uuid, at_us)
        self._process_us.setdefault(uuid, at_us)
        told: dict[str, Any] = {}
        reasons: dict[str, str] = {}

        def tell(name: str, read: Callable[[], Any], *, is_needed: bool = False) -> None:
            try:
                told[name] = read()
            except self._nvml.NVMLError as exc:
                code = getattr(exc, "value", None)
                if code in LOST or (is_needed and code not in NOT_TOLD):
                    raise
                reasons[name] = str(exc)

        tell("memory", lambda: self._nvml.nvmlDeviceGetMemoryInfo(handle), is_needed=True)
        tell("processes", lambda: self._processes(handle), is_needed=True)
        tell("samples", lambda: self._samples(uuid, handle))
        tell("process_samples", lambda: self._process_samples(uuid, handle))
        tell("energy_mj", lambda: int(self._nvml.nvmlDeviceGetTotalEnergyConsumption(handle)))
        memory = told.pop("memory", None)
        looked_before_us = self._looked_us.get(uuid, 0)
        self._looked_us[uuid] = at_us
        return told | {
            "at_us": at_us,
            "is_instance": is_instance,
            "memory_used_bytes": memory and int(memory.used),
            "memory_total_bytes": memory and int(memory.total),
            "since_us": since_us,
            "looked_before_us": looked_before_us,
            "reasons": reasons,
        }

    def _processes(self, handle: Any) -> list[tuple[int, int | None, bool]]:
        computing = self._nvml.nvmlDeviceGetComputeRunningProcesses_v3(handle)
        try:
            drawing = self._nvml.nvmlDeviceGetGraphicsRunningProcesses_v3(handle)
        except self._nvml.NVMLError as exc:
            if getattr(exc, "value", None) not in NOT_TOLD:
                raise
            drawing = []
        return [
            (int(one.pid), one.usedGpuMemory, is_graphics)
            for is_graphics, them in ((False, computing), (True, drawing))
            for one in them
        ]

    def _samples(self, uuid: str, handle: Any) -> list[tuple[int, int]]:
        """Return the samples since the last ones; the first look leaves out what was before it."""
        kind, since_us = self._nvml.NVML_GPU_UTILIZATION_SAMPLES, self._sampled_us[uuid]
        found = self._none_found(lambda: self._nvml.nvmlDeviceGetSamples(handle, kind, since_us)[1])
        fresh = sorted((int(one.timeStamp), int(one.sampleValue.uiVal)) for one in found)
        samples = [one for one in fresh if one[0] > since_us]
        self._sampled_us[uuid] = samples[-1][0] if samples else since_us
        return samples

    def _process_samples(self, uuid: str, handle: Any) -> list[tuple[int, int, int]]:
        since_us = self._process_us[uuid]
        found = self._none_found(lambda: self._nvml.nvmlDeviceGetProcessUtilization(handle, since_us))
        samples = [(int(one.pid), int(one.timeStamp), int(one.smUtil)) for one in found]
        samples = [one for one in samples if one[1] > since_us]  # drivers return stale and empty entries, too
        self._process_us[uuid] = max([since_us, *(one[1] for one in samples)])
        return samples

    def _none_found(self, read: Callable[[], Any]) -> list[Any]:
        try:
            return list(read())
        except self._nvml.NVMLError as exc:
            if getattr(exc, "value", None) in (NOT_FOUND, SUCCESS):
                return []
            raise

    def _register(self, index: int) -> None:
        """Ask for the critical events of one GPU, in a set of its own: one that is lost spoils its set.

        Where they cannot be had there are none, and the next look asks again.
        """
        if index in self._events:
            return
        with suppress(self._nvml.NVMLError):
            handle = self._nvml.nvmlDeviceGetHandleByIndex(index)
            self._boards[index] = text(self._nvml.nvmlDeviceGetUUID(handle))
            events = self._nvml.nvmlEventSetCreate()
            try:
                kind = self._nvml.nvmlEventTypeXidCriticalError
                self._nvml.nvmlDeviceRegisterEvents(handle, kind, events)
            except self._nvml.NVMLError:
                self._nvml.nvmlEventSetFree(events)
                return
            self._events[index] = self._boards[index], events

    def _take_events(self) -> None:
        """Note critical events; one that a program caused replaces none: the other may end a GPU."""
        for uuid, events in self._events.values():
            with suppress(self._nvml.NVMLError):  # mostly: no more events
                while True:
                    xid = int(self._nvml.nvmlEventSetWait_v2(events, 0).eventData)
                    if xid not in PROGRAM_XIDS or uuid not in self._xids:
                        self._xids[uuid] = xid

    def _xid(self, index: int) -> int | None:
        return self._xids.get(self._boards.get(index, ""))


if __name__ == "__main__":
    main()
