/* The guest as a whole: boot, kernel modules, entropy, date, sysctl, rtnetlink, power. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <linux/netlink.h>
#include <linux/random.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "agent.h"

static int write_file(const char *path, const char *data, size_t length)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), error = 0;

	if (fd < 0)
		return errno;
	if (write(fd, data, length) < 0)
		error = errno;
	close(fd);
	return error;
}

static int load(const char *file)
{
	char path[200];
	int fd, error = 0;

	snprintf(path, sizeof path, "/modules/%s", file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno;
	if (syscall(SYS_finit_module, fd, "", 0) && errno != EEXIST)
		error = errno;
	close(fd);
	return error;
}

static void load_list(char *files)
{
	char *save;

	for (char *f = strtok_r(files, " \n", &save); f; f = strtok_r(NULL, " \n", &save))
		if (load(f))
			dprintf(2, "agent: module %s: %m\n", f);
}

/* Each line of the table: a pattern with - written as _, then the files to load, dependencies first. */
int guest_modprobe(const char *name)
{
	char wanted[256], *line = NULL;
	size_t size = 0;
	FILE *table = fopen("/modules/table", "re");
	int found = 1;

	snprintf(wanted, sizeof wanted, "%s", name);
	for (char *c = wanted; *c; c++)
		if (*c == '-')
			*c = '_';
	while (table && getline(&line, &size, table) > 0) {
		char *space = strchr(line, ' ');
		if (!space)
			continue;
		*space = 0;
		if (!fnmatch(line, wanted, 0)) {
			load_list(space + 1);
			found = 0;
		}
	}
	free(line);
	if (table)
		fclose(table);
	return found;
}

static void loopback_up(void)
{
	struct ifreq r = {.ifr_name = "lo"};
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (s >= 0 && !ioctl(s, SIOCGIFFLAGS, &r)) {
		r.ifr_flags |= IFF_UP;
		ioctl(s, SIOCSIFFLAGS, &r);
	}
	close(s);
}

/* Files live in memory.  A container that fills its disk shall be told so, not be killed for want of memory. */
static void bound_files(void)
{
	struct sysinfo memory;
	struct statfs files;
	char size[64];

	if (sysinfo(&memory) || statfs("/", &files))
		return;
	unsigned long long used = (unsigned long long)(files.f_blocks - files.f_bfree) * files.f_bsize;
	unsigned long long spare = (unsigned long long)memory.freeram * memory.mem_unit;
	snprintf(size, sizeof size, "size=%llu", used + spare / 5 * 3);
	mount(NULL, "/", NULL, MS_REMOUNT, size);
}

void guest_boot(void)
{
	char list[4096];
	int fd;
	ssize_t n;

	mount("dev", "/dev", "devtmpfs", MS_NOSUID, NULL);
	mount("proc", "/proc", "proc", 0, NULL);
	mount("sys", "/sys", "sysfs", 0, NULL);
	fd = open("/dev/console", O_RDWR);
	for (int i = 0; fd >= 0 && i < 3; i++)
		dup2(fd, i);
	if (fd > 2)
		close(fd);
	write_file("/proc/sys/kernel/modprobe", "/modprobe", 9);
	write_file("/proc/self/oom_score_adj", "-1000", 5);
	fd = open("/modules/boot", O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? 0 : read(fd, list, sizeof list - 1);
	list[n > 0 ? n : 0] = 0;
	close(fd);
	load_list(list);
	if (!mount("cgroup", "/cgroup", "cgroup2", 0, NULL)) {
		write_file("/cgroup/cgroup.subtree_control", "+pids", 5);
		mkdir("/cgroup/container", 0755);
	}
	bound_files();
	loopback_up();
}

/* Writing to /dev/urandom credits nothing; RNDADDENTROPY does, and the reseed makes it count at once. */
int guest_entropy(const char *data, uint32_t length)
{
	struct rand_pool_info *pool = malloc(sizeof *pool + length);
	int fd = open("/dev/urandom", O_RDWR | O_CLOEXEC), error = 0;

	pool->entropy_count = length * 8;
	pool->buf_size = length;
	memcpy(pool->buf, data, length);
	if (fd < 0 || ioctl(fd, RNDADDENTROPY, pool))
		error = errno;
	else
		ioctl(fd, RNDRESEEDCRNG);
	if (fd >= 0)
		close(fd);
	free(pool);
	return error;
}

int guest_date(const char *data, uint32_t length)
{
	struct timespec now;

	if (length != 16)
		return EINVAL;
	now.tv_sec = u64(data);
	now.tv_nsec = u64(data + 8);
	return clock_settime(CLOCK_REALTIME, &now) ? errno : 0;
}

/* Payload: path below /proc/sys, NUL, value. */
int guest_sysctl(const char *data, uint32_t length)
{
	static const char *const ipc[] = {"kernel/msg", "kernel/sem", "kernel/shm", "fs/mqueue/"};
	char path[512];
	const char *value = memchr(data, 0, length);
	int error;

	if (!value || strstr(data, ".."))
		return EINVAL;
	value++;
	snprintf(path, sizeof path, "/proc/sys/%s", data);
	for (size_t i = 0; i < sizeof ipc / sizeof *ipc; i++)
		if (!strncmp(data, ipc[i], strlen(ipc[i])))
			return process_in_ipc(write_file, path, value, data + length - value);
	error = write_file(path, value, data + length - value);
	if (error == ENOENT) {
		/* These trees appear with their module. */
		if (!strncmp(data, "net/bridge/", 11))
			guest_modprobe("br_netfilter");
		else if (!strncmp(data, "net/netfilter/", 14) || !strncmp(data, "net/nf_conntrack", 16))
			guest_modprobe("nf_conntrack");
		else
			return error;
		error = write_file(path, value, data + length - value);
	}
	return error;
}

/* One rtnetlink request; everything that the kernel says until its end mark goes back. */
void guest_netlink(uint32_t id, const char *data, uint32_t length)
{
	static char answer[MAX_PAYLOAD - 16];
	static int s = -1;
	size_t filled = 0;
	bool done = false;
	int error = 0;

	if (s < 0)
		s = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	if (s < 0 || send(s, data, length, 0) < 0)
		error = errno;
	while (!error && !done && filled < sizeof answer) {
		ssize_t n = recv(s, answer + filled, sizeof answer - filled, 0);
		if (n <= 0) {
			error = n ? errno : EIO;
			break;
		}
		struct nlmsghdr *h = (struct nlmsghdr *)(answer + filled);
		filled += n;
		for (int left = n; NLMSG_OK(h, left); h = NLMSG_NEXT(h, left)) {
			if (h->nlmsg_type == NLMSG_DONE)
				done = true;
			if (h->nlmsg_type == NLMSG_ERROR) {
				done = true;
				error = -((struct nlmsgerr *)NLMSG_DATA(h))->error;
			}
		}
	}
	if (!done && s >= 0) {
		/* What is left of its answer must not be taken for the next one's. */
		close(s);
		s = -1;
	}
	wire_answer(id, error, answer, filled);
}

void guest_power_off(void)
{
	/* The machine has no power button: a reset ends it, since qemu runs with -no-reboot. */
	reboot(RB_AUTOBOOT);
	for (;;)
		pause();
}
