/* Processes are made: the container's first, before it is known what it shall be, and those that join it. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent.h"

/* Namespaces of the container's init process, entered by everything that is started later. */
static int container_pid_ns = -1, container_mount_ns = -1, container_ipc_ns = -1;

/* The container's first process while it waits for its specification, and where that goes. */
static struct process *first;
static int first_spec = -1;

/* Of a process: its three streams, what went wrong before execve, the word to go on, its specification. */
enum { FAULT = 3, GO, SPEC, PIPES };

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

static void settle(int pipes[PIPES][2])
{
	sigset_t none;

	container_fault_to(pipes[FAULT][1]);
	join_cgroup();
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	setsid();
	dup2(pipes[0][0], 0);
	dup2(pipes[1][1], 1);
	dup2(pipes[2][1], 2);
}

/* The container's first process: made when the guest boots, finished when the host says what it shall be. */
static _Noreturn void first_child(int pipes[PIPES][2])
{
	struct spec spec;
	uint32_t length, filled = 0;
	char *data;

	settle(pipes);
	/* The other ends of these are the agent's: the child must not keep them open and so wait for itself. */
	close(pipes[GO][1]);
	close(pipes[SPEC][1]);
	container_enter();
	if (read(pipes[SPEC][0], &length, 4) != 4 || !(data = malloc(length)))
		_exit(1);
	while (filled < length) {
		ssize_t n = read(pipes[SPEC][0], data + filled, length - filled);
		if (n <= 0)
			_exit(1);
		filled += n;
	}
	if (!spec_parse(&spec, data, length))
		_exit(1);
	container_build(&spec);
	container_exec(&spec, pipes[GO][0]);
	_exit(1);
}

static _Noreturn void later_child(const struct spec *spec, int pipes[PIPES][2])
{
	settle(pipes);
	if (setns(container_ipc_ns, CLONE_NEWIPC) || setns(container_mount_ns, CLONE_NEWNS)) {
		dprintf(pipes[FAULT][1], "joining the container's namespaces: %m");
		_exit(1);
	}
	container_exec(spec, -1);
	_exit(1);
}

static pid_t fork_into_container(void)
{
	pid_t pid;
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

/* Makes a process; NULL with errno set if that cannot be.  The spec's pipe is left open for whoever wants to write it. */
static struct process *make(uint32_t id, const struct spec *spec, int *spec_pipe)
{
	int pipes[PIPES][2], error;
	struct process *p = process_allocate(id);

	memset(pipes, -1, sizeof pipes);
	if (!p) {
		errno = EAGAIN;
		return NULL;
	}
	for (int i = 0; i < PIPES; i++)
		if (pipe2(pipes[i], O_CLOEXEC))
			goto fail;
	p->pid = spec ? fork_into_container()
		      : syscall(SYS_clone, CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | SIGCHLD, 0, 0, 0, 0);
	if (p->pid == 0) {
		if (spec)
			later_child(spec, pipes);
		first_child(pipes);
	}
	if (p->pid < 0)
		goto fail;
	close(pipes[0][0]); close(pipes[1][1]); close(pipes[2][1]);
	close(pipes[FAULT][1]); close(pipes[GO][0]); close(pipes[SPEC][0]);
	p->in = pipes[0][1];
	p->out[0] = pipes[1][0];
	p->out[1] = pipes[2][0];
	p->fault = pipes[FAULT][0];
	p->go = pipes[GO][1];
	for (int i = 0; i < 2; i++)
		fcntl(p->out[i], F_SETFL, O_NONBLOCK);
	fcntl(p->in, F_SETFL, O_NONBLOCK);
	*spec_pipe = pipes[SPEC][1];
	return p;
fail:
	error = errno;
	for (int i = 0; i < PIPES; i++) {
		drop(&pipes[i][0]);
		drop(&pipes[i][1]);
	}
	p->used = false;
	errno = error;
	return NULL;
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

static void answer_fault(uint32_t request, struct process *p, const char *text, size_t length)
{
	wire_answer(request, ENOEXEC, text, length);
	waitpid(p->pid, NULL, 0);
	process_release(p);
}

void process_prepare(void)
{
	first = make(0, NULL, &first_spec);
	if (first)
		container_ipc_ns = namespace_of(first->pid, "ipc");
	else
		dprintf(2, "agent: the container's process: %m\n");
}

/* Settings of System V IPC and message queues are those of the namespace that writes them. */
int process_in_ipc(int (*act)(const char *, const char *, size_t), const char *path, const char *value, size_t length)
{
	int own = namespace_of(getpid(), "ipc"), error;

	if (container_ipc_ns < 0 || own < 0 || setns(container_ipc_ns, CLONE_NEWIPC))
		error = errno;
	else {
		error = act(path, value, length);
		setns(own, CLONE_NEWIPC);
	}
	drop(&own);
	return error;
}

static bool hand_over(const char *data, uint32_t length)
{
	bool done = write(first_spec, &length, 4) == 4;

	for (uint32_t at = 0; done && at < length;) {
		ssize_t n = write(first_spec, data + at, length - at);
		done = n > 0;
		at += done ? n : 0;
	}
	drop(&first_spec);
	return done;
}

void process_create(uint32_t request, char *data, uint32_t length)
{
	struct process *p = first;
	struct spec spec;
	char text[512];
	ssize_t n;

	if (!spec_parse(&spec, data, length) || !p) {
		wire_answer(request, p ? EINVAL : EEXIST, NULL, 0);
		spec_free(&spec);
		return;
	}
	first = NULL;
	p->id = spec.process;
	limit_pids(&spec);
	spec_free(&spec);
	/* If it has died its fault says why. */
	hand_over(data, length);
	n = read_fault(p, text, sizeof text);
	/* It says one NUL when all but execve is done. */
	if (n != 1 || text[0]) {
		answer_fault(request, p, text, n);
		return;
	}
	container_pid_ns = namespace_of(p->pid, "pid");
	container_mount_ns = namespace_of(p->pid, "mnt");
	wire_answer(request, 0, NULL, 0);
}

void process_exec(uint32_t request, char *data, uint32_t length)
{
	struct process *p = NULL;
	struct spec spec;
	char text[512];
	ssize_t n;
	int unused = -1;

	if (!spec_parse(&spec, data, length))
		wire_answer(request, EINVAL, NULL, 0);
	else if (container_mount_ns < 0 || process_find(spec.process))
		wire_answer(request, ESRCH, NULL, 0);
	else if (!(p = make(spec.process, &spec, &unused)))
		wire_answer(request, errno, NULL, 0);
	spec_free(&spec);
	drop(&unused);
	if (!p)
		return;
	/* It says nothing unless it fails. */
	n = read_fault(p, text, sizeof text);
	if (n) {
		answer_fault(request, p, text, n);
		return;
	}
	drop(&p->fault);
	drop(&p->go);
	wire_answer(request, 0, NULL, 0);
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
