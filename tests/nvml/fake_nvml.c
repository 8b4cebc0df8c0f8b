/*
 * A stand-in for libnvidia-ml.so.1, so that the real Python bindings are tested on machines without a
 * GPU. Written from the documented names and types of NVML's interface; holds nothing of NVIDIA's.
 *
 *   gcc -shared -fPIC -o libnvidia-ml.so.1 fake_nvml.c
 *
 * What it tells stands in a file; see fake_state.h.
 */
#include "fake_state.h"

typedef struct { u64 total, free, used; } memory_info;
typedef struct { unsigned pid; u64 bytes; unsigned gpu_instance, compute_instance; } process_info;
typedef struct { unsigned pid; u64 stamp; unsigned sm, mem, enc, dec; } process_sample;
typedef union { double real; unsigned number; u64 large; } value;
typedef struct { u64 stamp; value value; } sample;
typedef struct { unsigned sms, engines[5], gpu_slices, compute_slices; u64 mib; } attributes;
typedef struct { void *device; u64 type, data; unsigned gpu_instance, compute_instance; } event;
typedef struct {
	char bus_id_legacy[16];
	unsigned domain, bus, device, device_id, subsystem_id;
	char bus_id[32];
} pci_info;

/* Finds the GPU behind a handle, and the instance where it is one; sets *error where there is none. */
static struct gpu *device(void *handle, struct instance **instance, int *error)
{
	size_t place = (size_t)((char *)handle - handles);
	unsigned number = (unsigned)(place / (1 + MAX_MIG)), part = (unsigned)(place % (1 + MAX_MIG));

	*error = UNINIT;
	if (!started)
		return NULL;
	refresh();
	*error = INVALID;
	if (place >= sizeof handles || number >= S.count)
		return NULL;
	if (S.gpus[number].is_hung)
		hang();
	*error = (int)S.gpus[number].error;
	*instance = part ? &S.gpus[number].instances[part - 1] : NULL;
	return *error ? NULL : &S.gpus[number];
}

#define DEVICE(handle)                                    \
	int error_;                                       \
	struct instance *instance = NULL;                 \
	struct gpu *gpu = device(handle, &instance, &error_); \
	if (!gpu)                                         \
		return error_

static u64 now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (u64)now.tv_sec * 1000000u + (u64)now.tv_nsec / 1000u;
}

static int copy_out(const char *from, char *to, unsigned length)
{
	if (strlen(from) + 1 > length)
		return TOO_SMALL;
	strcpy(to, from);
	return OK;
}

/* --- the library ---------------------------------------------------------- */

int nvmlInitWithFlags(unsigned flags)
{
	(void)flags;
	refresh();
	started += !S.init_error;
	return S.init_error;
}

int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }

int nvmlShutdown(void)
{
	if (!started)
		return UNINIT;
	started--;
	return OK;
}

int nvmlSystemGetDriverVersion(char *to, unsigned length)
{
	refresh();
	return copy_out(S.driver, to, length);
}

int nvmlSystemGetCudaDriverVersion_v2(int *to)
{
	refresh();
	*to = S.cuda;
	return OK;
}

int nvmlDeviceGetCount_v2(unsigned *to)
{
	if (!started)
		return UNINIT;
	refresh();
	*to = S.count;
	return OK;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle)
{
	*handle = &handles[(index % MAX_GPUS) * (1 + MAX_MIG)];
	DEVICE(*handle);
	return OK;
}

/* --- one device ----------------------------------------------------------- */

int nvmlDeviceGetName(void *handle, char *to, unsigned length)
{
	char full[160];
	DEVICE(handle);
	if (!instance)
		return copy_out(gpu->name, to, length);
	snprintf(full, sizeof full, "%s MIG %ug.%llugb", gpu->name, instance->slices, instance->mib / 1000);
	return copy_out(full, to, length);
}

int nvmlDeviceGetUUID(void *handle, char *to, unsigned length)
{
	DEVICE(handle);
	return copy_out(instance ? instance->uuid : gpu->uuid, to, length);
}

int nvmlDeviceGetPciInfo_v3(void *handle, pci_info *to)
{
	DEVICE(handle);
	*to = (pci_info){ .bus = 1 + (unsigned)(gpu - S.gpus) };
	snprintf(to->bus_id, sizeof to->bus_id, "00000000:%02X:00.0", to->bus);
	return OK;
}

int nvmlDeviceGetMemoryInfo(void *handle, memory_info *to)
{
	DEVICE(handle);
	u64 total = instance ? instance->mib << 20 : gpu->total;

	if (!gpu->has_memory)
		return NOT_SUPPORTED;
	*to = (memory_info){ total, total - gpu->used, gpu->used };
	return OK;
}

int nvmlDeviceGetTotalEnergyConsumption(void *handle, u64 *to)
{
	DEVICE(handle);
	if (gpu->energy_error)
		return (int)gpu->energy_error;
	if (!gpu->has_energy || instance)
		return NOT_SUPPORTED;
	*to = gpu->energy_mj + gpu->energy_per_ms * (now_us() / 1000);
	return OK;
}

int nvmlDeviceGetMigMode(void *handle, unsigned *current, unsigned *pending)
{
	DEVICE(handle);
	if (instance)
		return NOT_SUPPORTED;
	*current = *pending = gpu->is_mig;
	return OK;
}

int nvmlDeviceGetMaxMigDeviceCount(void *handle, unsigned *to)
{
	DEVICE(handle);
	*to = gpu->is_mig ? MAX_MIG : 0;
	return OK;
}

int nvmlDeviceGetMigDeviceHandleByIndex(void *handle, unsigned index, void **to)
{
	DEVICE(handle);
	if (index >= MAX_MIG || !gpu->instances[index].slices)
		return NOT_FOUND;
	*to = (char *)handle + 1 + index;
	return OK;
}

int nvmlDeviceGetAttributes_v2(void *handle, attributes *to)
{
	DEVICE(handle);
	if (!instance)
		return NOT_SUPPORTED;
	*to = (attributes){ .gpu_slices = instance->slices, .mib = instance->mib };
	return OK;
}

/* --- what goes on on it --------------------------------------------------- */

static int processes(struct gpu *gpu, unsigned is_graphics, unsigned *count, process_info *to)
{
	unsigned room = to ? *count : 0;

	*count = 0;
	for (unsigned i = 0; i < gpu->process_count; i++) {
		struct process *one = &gpu->processes[i];

		if (one->is_graphics != is_graphics)
			continue;
		if (*count < room)
			to[*count] = (process_info){ one->pid, one->bytes ? one->bytes : ~0ULL, ~0u, ~0u };
		++*count;
	}
	return *count > room ? TOO_SMALL : OK;
}

int nvmlDeviceGetComputeRunningProcesses_v3(void *handle, unsigned *count, process_info *to)
{
	DEVICE(handle);
	return processes(gpu, 0, count, to);
}

int nvmlDeviceGetGraphicsRunningProcesses_v3(void *handle, unsigned *count, process_info *to)
{
	DEVICE(handle);
	return processes(gpu, 1, count, to);
}

int nvmlDeviceGetSamples(void *handle, int kind, u64 since, int *type, unsigned *count, sample *to)
{
	DEVICE(handle);
	u64 now = now_us(), first, last;

	if (instance || gpu->is_mig || kind != 1 || !gpu->duty_count)
		return NOT_SUPPORTED;
	if (since + KEPT_US < now)
		since = now - KEPT_US;
	first = since / gpu->step_us + 1;
	last = now / gpu->step_us;
	if (last < first)
		return NOT_FOUND;
	*type = 1;
	if (!to || *count > last - first + 1)
		*count = (unsigned)(last - first + 1);
	for (unsigned i = 0; to && i < *count; i++)
		to[i] = (sample){ (first + i) * gpu->step_us,
				  { .number = gpu->duty[(first + i) % gpu->duty_count] } };
	return OK;
}

int nvmlDeviceGetProcessUtilization(void *handle, process_sample *to, unsigned *count, u64 since)
{
	DEVICE(handle);
	u64 now = now_us();
	unsigned room = to ? *count : 0;

	if (instance || gpu->is_mig || gpu->no_process_samples)
		return NOT_SUPPORTED;
	*count = 0;
	for (unsigned i = 0; since < now && i < gpu->process_count; i++) {
		struct process *one = &gpu->processes[i];

		if (!one->sm)
			continue; /* as the driver: none of processes that did nothing */
		if (*count < room)
			to[*count] = (process_sample){ one->pid, now, one->sm, 0, 0, 0 };
		++*count;
	}
	if (!*count)
		return NOT_FOUND;
	return *count > room ? TOO_SMALL : OK;
}

/* --- events --------------------------------------------------------------- */

static unsigned sets[MAX_SETS]; /* the GPUs that are registered in each, a bit each; bit 31: it is in use */

int nvmlEventSetCreate(void **set)
{
	for (unsigned i = 0; i < MAX_SETS; i++)
		if (!sets[i]) {
			sets[i] = 1u << 31;
			*set = &sets[i];
			return OK;
		}
	return UNKNOWN; /* somebody frees none */
}

int nvmlEventSetFree(void *set)
{
	*(unsigned *)set = 0;
	return OK;
}

int nvmlDeviceRegisterEvents(void *handle, u64 types, void *set)
{
	DEVICE(handle);
	if (types != 8) /* critical Xid */
		return NOT_SUPPORTED;
	*(unsigned *)set |= 1u << (gpu - S.gpus);
	told_xids[gpu - S.gpus] = gpu->xid; /* what was before is not told */
	return OK;
}

int nvmlEventSetWait_v2(void *set, event *to, unsigned timeout_ms)
{
	(void)timeout_ms;
	refresh();
	for (unsigned i = 0; i < S.count; i++) {
		if (!(*(unsigned *)set >> i & 1))
			continue;
		if (S.gpus[i].error)
			return (int)S.gpus[i].error;
		if (S.gpus[i].xid == told_xids[i])
			continue;
		told_xids[i] = S.gpus[i].xid;
		*to = (event){ .device = &handles[i * (1 + MAX_MIG)], .type = 8, .data = told_xids[i] };
		if (told_xids[i])
			return OK;
	}
	return TIMEOUT;
}
