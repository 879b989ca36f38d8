/* What happens in the child before execve: the container's file system, its limits, its user. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "agent.h"

static int fault_fd = 2;

void container_fault_to(int fd) { fault_fd = fd; }

static _Noreturn void fail(const char *format, ...)
{
	char text[400];
	int error = errno;
	va_list args;

	va_start(args, format);
	int n = vsnprintf(text, sizeof text - 100, format, args);
	va_end(args);
	if (n > (int)sizeof text - 101)
		n = sizeof text - 101;
	n += snprintf(text + n, 100, ": %s", strerror(error));
	if (write(fault_fd, text, n) < 0)
		_exit(3);
	_exit(1);
}

bool spec_parse(struct spec *spec, char *data, uint32_t length)
{
	uint32_t at = 0;

	*spec = (struct spec){0};
	while (at + 5 <= length) {
		uint32_t size = u32(data + at + 1);
		if (size > length - at - 5)
			return false;
		spec->fields = realloc(spec->fields, (spec->count + 1) * sizeof *spec->fields);
		struct field *f = &spec->fields[spec->count++];
		f->tag = data[at];
		f->length = size;
		f->data = malloc(size + 1);
		memcpy(f->data, data + at + 5, size);
		f->data[size] = 0;
		if (f->tag == T_PROCESS && size == 4)
			spec->process = u32(f->data);
		at += 5 + size;
	}
	return at == length && spec->process;
}

void spec_free(struct spec *spec)
{
	for (size_t i = 0; i < spec->count; i++)
		free(spec->fields[i].data);
	free(spec->fields);
	*spec = (struct spec){0};
}

static void make_parents(const char *path, bool whole)
{
	char copy[PATH_MAX];

	snprintf(copy, sizeof copy, "%s", path);
	for (char *c = copy + 1; *c; c++)
		if (*c == '/') {
			*c = 0;
			mkdir(copy, 0755);
			*c = '/';
		}
	if (whole)
		mkdir(copy, 0755);
}

/* Flags, then target, type, source and data, each closed by NUL. */
static void do_mount(const struct field *f)
{
	const char *target = f->data + 8, *type = target + strlen(target) + 1;
	const char *source = type + strlen(type) + 1, *data = source + strlen(source) + 1;

	make_parents(target, true);
	if (mount(source, target, type, u64(f->data), *data ? data : NULL))
		fail("mounting %s on %s", type, target);
}

/* Mode with type, major, minor, uid, gid, path. */
static void do_node(const struct field *f)
{
	const char *path = f->data + 20;
	mode_t mode = u32(f->data);

	make_parents(path, false);
	unlink(path);
	if (mknod(path, mode, makedev(u32(f->data + 4), u32(f->data + 8))))
		fail("making device %s", path);
	if (chmod(path, mode & 07777) || chown(path, u32(f->data + 12), u32(f->data + 16)))
		fail("setting the owner of %s", path);
}

static void do_symlink(const struct field *f)
{
	const char *path = f->data, *target = f->data + strlen(f->data) + 1;

	make_parents(path, false);
	if (symlink(target, path) && errno != EEXIST)
		fail("linking %s", path);
}

static void do_file(const struct field *f)
{
	const char *path = f->data + 4, *content = path + strlen(path) + 1;
	size_t left = f->data + f->length - content;

	make_parents(path, false);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, u32(f->data));
	if (fd < 0)
		fail("writing %s", path);
	while (left) {
		ssize_t n = write(fd, content, left);
		if (n < 0)
			fail("writing %s", path);
		content += n;
		left -= n;
	}
	fchmod(fd, u32(f->data));
	close(fd);
}

static void do_mask(const char *path)
{
	struct stat s;

	if (stat(path, &s))
		return;
	if (S_ISDIR(s.st_mode) ? mount("mask", path, "tmpfs", MS_RDONLY, "size=0k")
			       : mount("/dev/null", path, NULL, MS_BIND, NULL))
		fail("masking %s", path);
}

static void do_readonly(const char *path)
{
	struct stat s;

	if (stat(path, &s))
		return;
	if (mount(path, path, NULL, MS_BIND | MS_REC, NULL) ||
	    mount(path, path, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL))
		fail("making %s read-only", path);
}

/* The container's root is moved over the guest's, so that even a way out of chroot leads nowhere but back into it. */
void container_enter(void)
{
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		fail("making mounts private");
	if (mount("/container", "/container", NULL, MS_BIND, NULL) || chdir("/container"))
		fail("opening the root file system");
	if (mount(".", "/", NULL, MS_MOVE, NULL) || chroot(".") || chdir("/"))
		fail("changing the root");
}

void container_build(const struct spec *spec)
{
	bool readonly = false;

	for (size_t i = 0; i < spec->count; i++) {
		const struct field *f = &spec->fields[i];
		switch (f->tag) {
		case T_MOUNT: do_mount(f); break;
		case T_NODE: do_node(f); break;
		case T_SYMLINK: do_symlink(f); break;
		case T_FILE: do_file(f); break;
		case T_MASK: do_mask(f->data); break;
		case T_READONLY: do_readonly(f->data); break;
		case T_ROOT_READONLY: readonly = true; break;
		}
	}
	for (size_t i = 0; i < spec->count; i++)
		if (spec->fields[i].tag == T_CWD)
			make_parents(spec->fields[i].data, true);
	if (readonly && mount(NULL, "/", NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL))
		fail("making the root read-only");
}

static void set_capabilities(const struct field *caps, bool before_user)
{
	uint64_t bounding = u64(caps->data), effective = u64(caps->data + 8), permitted = u64(caps->data + 16);
	uint64_t inheritable = u64(caps->data + 24), ambient = u64(caps->data + 32);

	if (before_user) {
		for (int c = 0; c < 64; c++)
			if (!(bounding >> c & 1) && prctl(PR_CAPBSET_READ, c) == 1 && prctl(PR_CAPBSET_DROP, c))
				fail("dropping capability %d", c);
		return;
	}
	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct data[2];
	for (int i = 0; i < 2; i++) {
		data[i].effective = effective >> 32 * i;
		data[i].permitted = permitted >> 32 * i;
		data[i].inheritable = inheritable >> 32 * i;
	}
	if (syscall(SYS_capset, &header, data))
		fail("setting capabilities");
	for (int c = 0; c < 64; c++)
		if (ambient >> c & 1 && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, c, 0, 0))
			fail("raising ambient capability %d", c);
}

static void set_user(const struct spec *spec, const struct field *user, const struct field *caps)
{
	gid_t groups[256];
	size_t count = 0;

	for (size_t i = 0; i < spec->count && count < 256; i++)
		if (spec->fields[i].tag == T_GROUP)
			groups[count++] = u32(spec->fields[i].data);
	if (caps)
		set_capabilities(caps, true);
	prctl(PR_SET_KEEPCAPS, 1);
	if (user && (setgroups(count, groups) || setgid(u32(user->data + 4)) || setuid(u32(user->data))))
		fail("becoming user %u", u32(user->data));
	prctl(PR_SET_KEEPCAPS, 0);
	if (caps)
		set_capabilities(caps, false);
	umask(user ? u32(user->data + 8) : 022);
}

/* execvp looks in our own PATH; the container's is in the specification. */
static void execute(char **args, char **env)
{
	const char *path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
	char file[PATH_MAX];
	int error = ENOENT;

	if (strchr(args[0], '/')) {
		execve(args[0], args, env);
		return;
	}
	for (char **e = env; *e; e++)
		if (!strncmp(*e, "PATH=", 5))
			path = *e + 5;
	while (*path) {
		size_t n = strcspn(path, ":");
		snprintf(file, sizeof file, "%.*s/%s", (int)n, path, args[0]);
		execve(file, args, env);
		if (errno != ENOENT && errno != ENOTDIR)
			error = errno;
		path += n + (path[n] == ':');
	}
	errno = error;
}

void container_exec(const struct spec *spec, int go)
{
	char **args = calloc(spec->count + 1, sizeof *args), **env = calloc(spec->count + 1, sizeof *env);
	size_t argc = 0, envc = 0;
	const struct field *user = NULL, *caps = NULL;
	const char *cwd = "/";
	bool sealed = false;
	char c = 0;

	int oom = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC), score = 0;
	for (size_t i = 0; i < spec->count; i++) {
		struct field *f = &spec->fields[i];
		switch (f->tag) {
		case T_ARG: args[argc++] = f->data; break;
		case T_ENV: env[envc++] = f->data; break;
		case T_CWD: cwd = f->data; break;
		case T_USER: user = f; break;
		case T_CAPS: caps = f; break;
		case T_NO_NEW_PRIVS: sealed = true; break;
		case T_OOM: score = (int32_t)u32(f->data); break;
		case T_RLIMIT: {
			struct rlimit limit = {u64(f->data + 4), u64(f->data + 12)};
			if (setrlimit(u32(f->data), &limit))
				fail("setting resource limit %u", u32(f->data));
		}
		}
	}
	if (oom >= 0) {
		dprintf(oom, "%d", score);
		close(oom);
	}
	if (!argc) {
		errno = EINVAL;
		fail("no command");
	}
	if (go >= 0) {
		if (write(fault_fd, &c, 1) != 1 || read(go, &c, 1) != 1)
			_exit(1);
	}
	set_user(spec, user, caps);
	if (chdir(cwd))
		fail("changing to folder %s", cwd);
	if (sealed && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		fail("forbidding new privileges");
	execute(args, env);
	fail("starting %s", args[0]);
}
