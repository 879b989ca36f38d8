/* Processes as the agent sees them: pipes, credit, signals, exit. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
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

/* Namespaces of the container's init process, entered by everything that is started later. */
static int container_pid_ns = -1, container_mount_ns = -1;
static pid_t init_pid;

struct process *process_find(uint32_t id)
{
	for (int i = 0; i < MAX_PROCESSES; i++)
		if (processes[i].used && processes[i].id == id)
			return &processes[i];
	return NULL;
}

static struct process *allocate(uint32_t id)
{
	for (int i = 0; i < MAX_PROCESSES; i++)
		if (!processes[i].used) {
			processes[i] = (struct process){.used = true, .id = id, .go = -1, .fault = -1, .in = -1, .out = {-1, -1}};
			return &processes[i];
		}
	return NULL;
}

static void drop(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void release(struct process *p)
{
	drop(&p->go);
	drop(&p->fault);
	drop(&p->in);
	drop(&p->out[0]);
	drop(&p->out[1]);
	free(p->pending);
	p->used = false;
}

static int namespace_of(pid_t pid, const char *kind)
{
	char path[64];

	snprintf(path, sizeof path, "/proc/%d/ns/%s", pid, kind);
	return open(path, O_RDONLY | O_CLOEXEC);
}

static void join_cgroup(void)
{
	int fd = open("/cgroup/container/cgroup.procs", O_WRONLY | O_CLOEXEC);

	if (fd >= 0) {
		if (write(fd, "0", 1) < 0)
			dprintf(2, "agent: cgroup: %m\n");
		close(fd);
	}
}

static void limit_pids(const struct spec *spec)
{
	for (size_t i = 0; i < spec->count; i++)
		if (spec->fields[i].tag == T_PIDS_MAX) {
			int fd = open("/cgroup/container/pids.max", O_WRONLY | O_CLOEXEC);
			if (fd >= 0) {
				dprintf(fd, "%llu", (unsigned long long)u64(spec->fields[i].data));
				close(fd);
			}
		}
}

static _Noreturn void child(const struct spec *spec, bool init, int pipes[5][2])
{
	sigset_t none;

	container_fault_to(pipes[3][1]);
	join_cgroup();
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	setsid();
	dup2(pipes[0][0], 0);
	dup2(pipes[1][1], 1);
	dup2(pipes[2][1], 2);
	if (init) {
		/* The other end of this pipe is the agent's: the child must not keep it open and so wait for itself. */
		close(pipes[4][1]);
		container_build(spec);
	} else if (setns(container_mount_ns, CLONE_NEWNS)) {
		dprintf(pipes[3][1], "joining the container's mounts: %m");
		_exit(1);
	}
	container_exec(spec, init ? pipes[4][0] : -1);
	_exit(1);
}

static pid_t fork_in(bool init)
{
	pid_t pid;

	if (init)
		return syscall(SYS_clone, CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | SIGCHLD, 0, 0, 0, 0);
	int own = namespace_of(getpid(), "pid");
	if (setns(container_pid_ns, CLONE_NEWPID)) {
		close(own);
		return -1;
	}
	pid = fork();
	int error = errno;
	if (pid) {
		setns(own, CLONE_NEWPID);
		close(own);
		errno = error;
	}
	return pid;
}

/* Reads one line of fault text; returns its length, 0 at end of file. */
static ssize_t read_fault(struct process *p, char *text, size_t size)
{
	ssize_t n;

	do
		n = read(p->fault, text, size);
	while (n < 0 && errno == EINTR);
	return n < 0 ? 0 : n;
}

void process_spawn(uint32_t request, char *data, uint32_t length, bool init)
{
	struct spec spec;
	struct process *p = NULL;
	int pipes[5][2] = {{-1, -1}, {-1, -1}, {-1, -1}, {-1, -1}, {-1, -1}};
	char text[512];
	ssize_t n;

	if (!spec_parse(&spec, data, length)) {
		wire_answer(request, EINVAL, NULL, 0);
		spec_free(&spec);
		return;
	}
	if (init == (init_pid != 0) || process_find(spec.process) || !(p = allocate(spec.process))) {
		wire_answer(request, init ? EEXIST : p ? ESRCH : EAGAIN, NULL, 0);
		spec_free(&spec);
		return;
	}
	for (int i = 0; i < 5; i++)
		if (pipe2(pipes[i], O_CLOEXEC)) {
			wire_answer(request, errno, NULL, 0);
			goto fail;
		}
	if (init)
		limit_pids(&spec);
	p->pid = fork_in(init);
	if (p->pid == 0)
		child(&spec, init, pipes);
	if (p->pid < 0) {
		wire_answer(request, errno, NULL, 0);
		goto fail;
	}
	close(pipes[0][0]); close(pipes[1][1]); close(pipes[2][1]); close(pipes[3][1]); close(pipes[4][0]);
	p->in = pipes[0][1];
	p->out[0] = pipes[1][0];
	p->out[1] = pipes[2][0];
	p->fault = pipes[3][0];
	p->go = pipes[4][1];
	for (int i = 0; i < 2; i++)
		fcntl(p->out[i], F_SETFL, O_NONBLOCK);
	fcntl(p->in, F_SETFL, O_NONBLOCK);
	spec_free(&spec);
	n = read_fault(p, text, sizeof text);
	/* The init process says one NUL when all but execve is done; others say nothing unless they fail. */
	if (init && n == 1 && !text[0]) {
		init_pid = p->pid;
		container_pid_ns = namespace_of(p->pid, "pid");
		container_mount_ns = namespace_of(p->pid, "mnt");
		wire_answer(request, 0, NULL, 0);
	} else if (!init && n == 0) {
		drop(&p->fault);
		wire_answer(request, 0, NULL, 0);
	} else {
		wire_answer(request, ENOEXEC, text, n);
		waitpid(p->pid, NULL, 0);
		release(p);
	}
	return;
fail:
	for (int i = 0; i < 5; i++) {
		drop(&pipes[i][0]);
		drop(&pipes[i][1]);
	}
	p->used = false;
	spec_free(&spec);
}

void process_start(uint32_t request, uint32_t id)
{
	struct process *p = process_find(id);
	char text[512];

	if (!p || p->go < 0 || write(p->go, "", 1) != 1) {
		wire_answer(request, ESRCH, NULL, 0);
		return;
	}
	drop(&p->go);
	ssize_t n = read_fault(p, text, sizeof text);
	drop(&p->fault);
	wire_answer(request, n ? ENOEXEC : 0, text, n);
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
		if (!p->used || !p->dead || !drained(p, 0) || !drained(p, 1))
			continue;
		uint32_t code = WIFSIGNALED(p->status) ? 128 + WTERMSIG(p->status) : WEXITSTATUS(p->status);
		wire_send(EXITED, p->id, &code, 4);
		release(p);
	}
}
