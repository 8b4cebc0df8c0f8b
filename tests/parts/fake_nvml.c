/*
 * A stand-in for libnvidia-ml.so.1 with just what the worker's probe calls, so that the real Python
 * bindings are tested on machines without a GPU. Written from the documented names and types of NVML's
 * interface; holds nothing of NVIDIA's.
 *
 *   gcc -shared -fPIC -DSTATE='"/path/of/state"' -o libnvidia-ml.so.1 fake_nvml.c
 *
 * The state file is read when NVML is started, one word and its value a line:
 *
 *   driver 570.10.01
 *   init_error 9              # what nvmlInit returns
 *   hang                      # nvmlInit never returns
 *   gpu GPU-1 24000000000 NVIDIA L4      # uuid, bytes, name
 *   lost GPU-2                # a GPU off the bus: each call fails with 15
 *   shared GPU-3 NVIDIA GB10  # no memory of its own: NOT_SUPPORTED
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { OK = 0, INVALID = 2, NOT_SUPPORTED = 3, TOO_SMALL = 7, LOST = 15, MAX_GPUS = 16 };

struct gpu { char uuid[96], name[96]; unsigned long long bytes; int lost; };
struct memory { unsigned long long total, free, used; };

static struct gpu gpus[MAX_GPUS];
static unsigned count;
static char driver[80] = "570.00.00";

static int read_state(void)
{
	char line[256];
	int error = OK;
	FILE *file = fopen(STATE, "r");

	if (!file)
		return OK;
	while (fgets(line, sizeof line, file)) {
		struct gpu one = { .lost = 0 };
		if (!strncmp(line, "hang", 4))
			for (;;)
				pause();
		sscanf(line, "driver %79s", driver);
		sscanf(line, "init_error %d", &error);
		if (sscanf(line, "gpu %95s %llu %95[^\n]", one.uuid, &one.bytes, one.name) < 3 &&
		    sscanf(line, "shared %95s %95[^\n]", one.uuid, one.name) < 2) {
			one.lost = sscanf(line, "lost %95s", one.uuid) == 1;
			if (!one.lost)
				continue;
		}
		if (count < MAX_GPUS)
			gpus[count++] = one;
	}
	fclose(file);
	return error;
}

static int copy_out(const char *from, char *to, unsigned length)
{
	if (strlen(from) + 1 > length)
		return TOO_SMALL;
	strcpy(to, from);
	return OK;
}

int nvmlInitWithFlags(unsigned flags) { (void)flags; count = 0; return read_state(); }
int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
int nvmlShutdown(void) { return OK; }
int nvmlSystemGetDriverVersion(char *to, unsigned length) { return copy_out(driver, to, length); }
int nvmlDeviceGetCount_v2(unsigned *to) { *to = count; return OK; }

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle)
{
	if (index >= count)
		return INVALID;
	*handle = &gpus[index];
	return gpus[index].lost ? LOST : OK;
}

int nvmlDeviceGetName(void *handle, char *to, unsigned length)
{
	return copy_out(((struct gpu *)handle)->name, to, length);
}

int nvmlDeviceGetUUID(void *handle, char *to, unsigned length)
{
	return copy_out(((struct gpu *)handle)->uuid, to, length);
}

int nvmlDeviceGetMemoryInfo(void *handle, struct memory *to)
{
	const struct gpu *gpu = handle;

	if (!gpu->bytes)
		return NOT_SUPPORTED;
	*to = (struct memory){ gpu->bytes, gpu->bytes, 0 };
	return OK;
}
