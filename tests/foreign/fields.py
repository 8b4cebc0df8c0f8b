"""The fields of bodies and answers, as the reference lists them."""

__all__ = ["JOB_BODY", "PUT_RUN_BODY", "RUN_BODY", "RUN_FIELDS", "TASK_BODY"]

JOB_BODY = {"createdBy", "title", "type", "orgId", "id", "schedulerState"}
TASK_BODY = {"createdBy", "title", "type", "orgId", "id", "jobId", "parameters"}
MACHINE_FIELDS = [
    "requestCPUs",
    "limitCPUs",
    "nodeCPUs",
    "requestRAM",
    "limitRAM",
    "nodeRAM",
    "cpuPlatform",
    "machineType",
    "gpuType",
    "instanceID",
    "zone",
    "preemptible",
    "podId",
]
RUN_BODY = {
    *("createdBy", "orgId", "taskId", "id", "jobId", "reportProgress", "progress", "startedAt", "createdAt"),
    *MACHINE_FIELDS,
}
PUT_RUN_BODY = {"startedAt", "stoppedAt", "resultCode", "error", "progress", "results", "machine"}
USAGE_FIELDS = ("GPUTime", "CPUTime", "RAMUsage", "wallClockTime")
RUN_FIELDS = (
    *("id", "taskId", "jobId", "orgId", "createdBy", "createdAt", "updatedAt", "startedAt", "stoppedAt"),
    *("results", "resultCode", "resultMessage", "error", "progress", "machine", "reportProgress"),
    *USAGE_FIELDS,
    *MACHINE_FIELDS,
)
