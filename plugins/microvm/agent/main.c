/* PID 1 of the guest.  Also the kernel's module loader, when the kernel calls it under its other name. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "agent.h"

static void handle(uint8_t kind, uint32_t id, char *data, uint32_t length)
{
	struct process *p;

	switch (kind) {
	case PING: wire_answer(id, 0, data, length); break;
	case ENTROPY: wire_answer(id, guest_entropy(data, length), NULL, 0); break;
	case DATE: wire_answer(id, guest_date(data, length), NULL, 0); break;
	case HOSTNAME: wire_answer(id, sethostname(data, length) ? errno : 0, NULL, 0); break;
	case SYSCTL: wire_answer(id, guest_sysctl(data, length), NULL, 0); break;
	case NETLINK: guest_netlink(id, data, length); break;
	case CREATE: process_create(id, data, length); break;
	case EXEC: process_exec(id, data, length); break;
	case START: process_start(id, length >= 4 ? u32(data) : 0); break;
	case SIGNAL: process_signal(id, data, length); break;
	case INPUT: process_input(id, data, length); break;
	case GRANT:
		if ((p = process_find(id)) && length >= 5)
			p->credit[data[0] == 2] += u32(data + 1);
		break;
	case CLOSE:
		if ((p = process_find(id)) && length >= 1)
			process_close(p, data[0] == 2);
		break;
	case SHUTDOWN: guest_power_off(); break;
	default: wire_answer(id, ENOSYS, NULL, 0);
	}
}

/* A container that is busy must not keep the host's questions waiting; what the agent starts does not inherit this. */
static void be_prompt(void)
{
	struct sched_param p = {.sched_priority = 1};

	if (sched_setscheduler(0, SCHED_RR | SCHED_RESET_ON_FORK, &p))
		dprintf(2, "agent: priority: %m\n");
}

static void say_ready(void)
{
	struct utsname u;
	struct timespec up;
	char text[300];

	uname(&u);
	clock_gettime(CLOCK_BOOTTIME, &up);
	int n = snprintf(text, sizeof text, "%s %ld.%03ld", u.release, (long)up.tv_sec, up.tv_nsec / 1000000);
	wire_send(READY, PROTOCOL_VERSION, text, n);
}

static void loop(int port, int signals)
{
	struct pollfd fds[2 + 3 * MAX_PROCESSES];
	struct process *owner[2 + 3 * MAX_PROCESSES];
	struct signalfd_siginfo info;

	for (;;) {
		nfds_t n = 2;
		fds[0] = (struct pollfd){port, POLLIN, 0};
		fds[1] = (struct pollfd){signals, POLLIN, 0};
		for (int i = 0; i < MAX_PROCESSES; i++) {
			struct process *p = &processes[i];
			if (!p->used)
				continue;
			for (int k = 0; k < 2; k++)
				if (p->out[k] >= 0 && p->credit[k]) {
					owner[n] = p;
					fds[n++] = (struct pollfd){p->out[k], POLLIN, 0};
				}
			if (p->in >= 0 && p->pending_length) {
				owner[n] = p;
				fds[n++] = (struct pollfd){p->in, POLLOUT, 0};
			}
		}
		if (poll(fds, n, -1) < 0)
			continue;
		for (nfds_t i = 2; i < n; i++) {
			struct process *p = owner[i];
			if (!fds[i].revents)
				continue;
			if (fds[i].fd == p->in)
				process_push_input(p);
			else
				process_pull_output(p, fds[i].fd == p->out[1]);
		}
		if (fds[1].revents)
			while (read(signals, &info, sizeof info) == sizeof info)
				;
		process_reap();
		/* A hang-up without data means that the relay has died: nobody is left to serve. */
		if (fds[0].revents & POLLIN) {
			if (!wire_read(handle))
				guest_power_off();
		} else if (fds[0].revents & (POLLHUP | POLLERR)) {
			guest_power_off();
		}
	}
}

int main(int argc, char **argv)
{
	sigset_t all;

	if (getpid() != 1)
		return argc > 1 ? guest_modprobe(argv[argc - 1]) : 2;
	guest_boot();
	sigemptyset(&all);
	sigaddset(&all, SIGCHLD);
	sigprocmask(SIG_BLOCK, &all, NULL);
	signal(SIGPIPE, SIG_IGN);
	int signals = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
	int port = wire_open();
	if (port < 0) {
		dprintf(2, "agent: no port to the host\n");
		guest_power_off();
	}
	be_prompt();
	process_prepare();
	say_ready();
	loop(port, signals);
}
