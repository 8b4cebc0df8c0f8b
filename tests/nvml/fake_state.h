/*
 * What the stand-in of NVML tells.
 *
 * The file `state` beside the library is read again at every call, so that a test can change a GPU while
 * the program under test runs. A word and its values a line; GPUs and instances count from 0:
 *
 *   driver 570.10.01
 *   cuda 12080
 *   init_error 9                 # what nvmlInit returns (4 permission, 9 no driver, 18 versions)
 *   hang                         # every call of the library never returns
 *   gpu 0 uuid GPU-1             # makes GPU 0; count is the highest number and one
 *   gpu 0 name NVIDIA L4
 *   gpu 0 memory 24000000000 0   # total, used; none: the board shares the machine's, NOT_SUPPORTED
 *   gpu 0 error 15               # every call on this GPU fails so (15: lost)
 *   gpu 0 hang                   # every call on this GPU never returns
 *   gpu 0 duty 100000 100 0      # samples: us between them, then percents in turn; none: NOT_SUPPORTED
 *   gpu 0 proc 42 1000 30        # a compute process: pid, bytes (0: not told), percent of the SMs
 *   gpu 0 graphics 43            # a process that draws
 *   gpu 0 no_process_samples     # NOT_SUPPORTED
 *   gpu 0 energy 5000 250        # mJ at the epoch, mJ more per ms; none: NOT_SUPPORTED
 *   gpu 0 energy_error 999       # what asking for it returns
 *   gpu 0 xid 79                 # one critical event, told once to who has registered before
 *   gpu 0 mig 0 MIG-1 2 9984     # MIG is on: instance, uuid, slices, MiB; without a uuid: no instance
 *
 * Sample k of a duty is at k * step us of the epoch, tells of the step before it, and is kept for 10 s.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
	OK = 0, UNINIT = 1, INVALID = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, TOO_SMALL = 7, TIMEOUT = 10, UNKNOWN = 999,
	MAX_GPUS = 8, MAX_MIG = 7, MAX_PROCS = 16, MAX_DUTY = 32, MAX_SETS = 64,
	KEPT_US = 10000000,
};

typedef unsigned long long u64;

struct process { unsigned pid, sm, is_graphics; u64 bytes; };
struct instance { char uuid[96]; unsigned slices; u64 mib; };
struct gpu {
	char uuid[96], name[96];
	u64 total, used, energy_mj, energy_per_ms, step_us;
	unsigned error, energy_error, has_energy, has_memory, is_hung, no_process_samples, xid;
	unsigned duty_count, duty[MAX_DUTY];
	unsigned is_mig, process_count;
	struct process processes[MAX_PROCS];
	struct instance instances[MAX_MIG];
};
struct state { char driver[80]; int cuda, init_error, is_hung; unsigned count; struct gpu gpus[MAX_GPUS]; };

static int started;
static char handles[MAX_GPUS * (1 + MAX_MIG)]; /* a handle is the address of its place: GPU, or instance */
static unsigned told_xids[MAX_GPUS];
static _Thread_local struct state S; /* as it was at this call */

static void gpu_line(struct gpu *gpu, const char *word, const char *rest)
{
	if (!strcmp(word, "uuid"))
		snprintf(gpu->uuid, sizeof gpu->uuid, "%s", rest);
	else if (!strcmp(word, "name"))
		snprintf(gpu->name, sizeof gpu->name, "%s", rest);
	else if (!strcmp(word, "memory"))
		gpu->has_memory = sscanf(rest, "%llu %llu", &gpu->total, &gpu->used) > 0;
	else if (!strcmp(word, "error"))
		sscanf(rest, "%u", &gpu->error);
	else if (!strcmp(word, "energy_error"))
		sscanf(rest, "%u", &gpu->energy_error);
	else if (!strcmp(word, "hang"))
		gpu->is_hung = 1;
	else if (!strcmp(word, "no_process_samples"))
		gpu->no_process_samples = 1;
	else if (!strcmp(word, "xid"))
		sscanf(rest, "%u", &gpu->xid);
	else if (!strcmp(word, "energy"))
		gpu->has_energy = sscanf(rest, "%llu %llu", &gpu->energy_mj, &gpu->energy_per_ms) > 0;
	else if (!strcmp(word, "duty")) {
		int used = 0;

		sscanf(rest, "%llu %n", &gpu->step_us, &used);
		for (rest += used; gpu->duty_count < MAX_DUTY; rest += used)
			if (sscanf(rest, "%u %n", &gpu->duty[gpu->duty_count], &used) == 1)
				gpu->duty_count++;
			else
				break;
	} else if ((!strcmp(word, "proc") || !strcmp(word, "graphics")) && gpu->process_count < MAX_PROCS) {
		struct process *one = &gpu->processes[gpu->process_count++];

		one->is_graphics = *word == 'g';
		sscanf(rest, "%u %llu %u", &one->pid, &one->bytes, &one->sm);
	} else if (!strcmp(word, "mig")) {
		unsigned number = 0;
		struct instance one = { .slices = 0 };

		gpu->is_mig = 1;
		if (sscanf(rest, "%u %95s %u %llu", &number, one.uuid, &one.slices, &one.mib) == 4 &&
		    number < MAX_MIG)
			gpu->instances[number] = one;
	}
}

static void hang(void)
{
	for (;;)
		pause();
}

static void refresh(void)
{
	char path[4096], line[512], word[32];
	Dl_info self;
	FILE *file;

	memset(&S, 0, sizeof S);
	snprintf(S.driver, sizeof S.driver, "570.00.00");
	S.cuda = 12080;
	if (!dladdr(handles, &self) || snprintf(path, sizeof path, "%s", self.dli_fname) < 0)
		return;
	strcpy(strrchr(path, '/') + 1, "state");
	if (!(file = fopen(path, "r")))
		return;
	while (fgets(line, sizeof line, file)) {
		unsigned number;
		int used = 0;

		line[strcspn(line, "\n")] = '\0';
		sscanf(line, "driver %79s", S.driver);
		sscanf(line, "cuda %d", &S.cuda);
		sscanf(line, "init_error %d", &S.init_error);
		S.is_hung |= !strcmp(line, "hang");
		if (sscanf(line, "gpu %u %31s %n", &number, word, &used) < 2 || number >= MAX_GPUS)
			continue;
		if (number >= S.count)
			S.count = number + 1;
		gpu_line(&S.gpus[number], word, line + used);
	}
	fclose(file);
	if (S.is_hung)
		hang();
}
