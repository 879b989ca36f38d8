/* Processes that run: their streams and credit, signals, exit. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent.h"

struct process processes[MAX_PROCESSES];

struct process *process_find(uint32_t id)
{
	for (int i = 0; i < MAX_PROCESSES; i++)
		if (processes[i].used && processes[i].id == id)
			return &processes[i];
	return NULL;
}

struct process *process_allocate(uint32_t id)
{
	for (int i = 0; i < MAX_PROCESSES; i++)
		if (!processes[i].used) {
			processes[i] = (struct process){.used = true, .id = id, .go = -1, .fault = -1, .in = -1, .out = {-1, -1}};
			return &processes[i];
		}
	return NULL;
}

void drop(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void process_release(struct process *p)
{
	drop(&p->go);
	drop(&p->fault);
	drop(&p->in);
	drop(&p->out[0]);
	drop(&p->out[1]);
	free(p->pending);
	p->used = false;
}

/* Payload: process, signal, whether all processes of the container are meant (each 4 bytes). */
void process_signal(uint32_t request, const char *data, uint32_t length)
{
	struct process *p = length >= 12 ? process_find(u32(data)) : NULL;
	int error = 0;

	if (!p || p->dead)
		error = ESRCH;
	else if (!u32(data + 8))
		error = kill(p->pid, u32(data + 4)) ? errno : 0;
	else {
		FILE *list = fopen("/cgroup/container/cgroup.procs", "re");
		int pid;
		while (list && fscanf(list, "%d", &pid) == 1)
			kill(pid, u32(data + 4));
		if (list)
			fclose(list);
		else
			error = ENOENT;
	}
	wire_answer(request, error, NULL, 0);
}

void process_push_input(struct process *p)
{
	uint32_t taken = 0;

	while (p->in >= 0 && p->pending_length) {
		ssize_t n = write(p->in, p->pending, p->pending_length);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0) {            /* nobody reads any more: swallow it */
			taken += p->pending_length;
			p->pending_length = 0;
			drop(&p->in);
			break;
		}
		taken += n;
		p->pending_length -= n;
		memmove(p->pending, p->pending + n, p->pending_length);
	}
	if (taken)
		wire_send(CREDIT, p->id, &taken, 4);
	if (p->in_closing && !p->pending_length)
		drop(&p->in);
}

void process_input(uint32_t id, const char *data, uint32_t length)
{
	struct process *p = process_find(id);

	if (!p)
		return;
	if (!length) {
		p->in_closing = true;
	} else if (p->in < 0) {
		wire_send(CREDIT, id, &length, 4);
		return;
	} else {
		p->pending = realloc(p->pending, p->pending_length + length);
		memcpy(p->pending + p->pending_length, data, length);
		p->pending_length += length;
	}
	process_push_input(p);
}

void process_close(struct process *p, int which) { drop(&p->out[which]); }

/* Sends what the process wrote, as far as the host has granted; an empty frame marks the end of the stream. */
void process_pull_output(struct process *p, int which)
{
	static char chunk[1 + 32768];

	while (p->out[which] >= 0 && p->credit[which]) {
		size_t want = p->credit[which] < sizeof chunk - 1 ? p->credit[which] : sizeof chunk - 1;
		ssize_t n = read(p->out[which], chunk + 1, want);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		chunk[0] = which + 1;
		if (n <= 0) {
			drop(&p->out[which]);
			wire_send(OUTPUT, p->id, chunk, 1);
			return;
		}
		p->credit[which] -= n;
		wire_send(OUTPUT, p->id, chunk, 1 + n);
		if ((size_t)n < want)
			return;
	}
}

static bool drained(struct process *p, int which)
{
	if (p->out[which] >= 0)
		process_pull_output(p, which);
	return p->out[which] < 0 || p->credit[which];
}

void process_reap(void)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		for (int i = 0; i < MAX_PROCESSES; i++)
			if (processes[i].used && processes[i].pid == pid) {
				processes[i].dead = true;
				processes[i].status = status;
			}
	/* A process ends only when all that it wrote is on its way; what a daemon of it writes later is not waited for. */
	for (int i = 0; i < MAX_PROCESSES; i++) {
		struct process *p = &processes[i];
		/* One that died before it was given an id is left to whoever asks for it. */
		if (!p->used || !p->id || !p->dead || !drained(p, 0) || !drained(p, 1))
			continue;
		uint32_t code = WIFSIGNALED(p->status) ? 128 + WTERMSIG(p->status) : WEXITSTATUS(p->status);
		wire_send(EXITED, p->id, &code, 4);
		process_release(p);
	}
}
