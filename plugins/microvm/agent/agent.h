/* The guest agent: what its parts share.  The wire format is described in ../protocol.py. */
#ifndef AGENT_H
#define AGENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define PROTOCOL_VERSION 1
#define MAX_PAYLOAD (256 * 1024)
#define MAX_PROCESSES 64

enum kind {
	READY = 1, ANSWER = 2, OUTPUT = 3, EXITED = 4, CREDIT = 5,
	PING = 16, ENTROPY, DATE, HOSTNAME, SYSCTL, NETLINK, CREATE, START, EXEC, INPUT, SIGNAL, GRANT, CLOSE, SHUTDOWN,
};

enum tag {
	T_ARG = 1, T_ENV, T_CWD, T_USER, T_GROUP, T_CAPS, T_RLIMIT, T_NO_NEW_PRIVS, T_OOM, T_PROCESS,
	T_MOUNT, T_NODE, T_SYMLINK, T_MASK, T_READONLY, T_ROOT_READONLY, T_FILE, T_PIDS_MAX,
};

/* One field of a specification: tag, length, bytes.  A copy with a closing NUL is kept, so text can be used as such. */
struct field {
	uint8_t tag;
	uint32_t length;
	char *data;
};

struct spec {
	struct field *fields;
	size_t count;
	uint32_t process;
};

struct process {
	bool used;
	uint32_t id;
	pid_t pid;
	int go;               /* write end: the init process waits for a byte here between CREATE and START */
	int fault;            /* read end: text of what went wrong before execve; end of file means that it succeeded */
	int in, out[2];
	bool in_closing;
	char *pending;        /* input that the process has not taken yet */
	size_t pending_length;
	uint32_t credit[2];   /* how much output the host still accepts */
	bool dead;
	int status;
};

extern struct process processes[MAX_PROCESSES];

/* wire.c */
int wire_open(void);
void wire_send(uint8_t kind, uint32_t id, const void *data, size_t length);
void wire_answer(uint32_t id, int error, const void *data, size_t length);
bool wire_read(void (*handle)(uint8_t kind, uint32_t id, char *data, uint32_t length));
uint32_t u32(const char *p);
uint64_t u64(const char *p);

/* guest.c: the guest as a whole */
void guest_boot(void);
int guest_modprobe(const char *name);
int guest_entropy(const char *data, uint32_t length);
int guest_date(const char *data, uint32_t length);
int guest_sysctl(const char *data, uint32_t length);
void guest_netlink(uint32_t id, const char *data, uint32_t length);
void guest_power_off(void);

/* spawn.c: processes are made */
void process_prepare(void);
void process_create(uint32_t request, char *data, uint32_t length);
void process_start(uint32_t request, uint32_t id);
void process_exec(uint32_t request, char *data, uint32_t length);
int process_in_ipc(int (*act)(const char *, const char *, size_t), const char *path, const char *value, size_t length);

/* process.c: processes that run */
struct process *process_find(uint32_t id);
struct process *process_allocate(uint32_t id);
void process_release(struct process *p);
void drop(int *fd);
void process_signal(uint32_t request, const char *data, uint32_t length);
void process_input(uint32_t id, const char *data, uint32_t length);
void process_push_input(struct process *p);
void process_pull_output(struct process *p, int which);
void process_close(struct process *p, int which);
void process_reap(void);

/* container.c: what happens in the child before execve */
bool spec_parse(struct spec *spec, char *data, uint32_t length);
void spec_free(struct spec *spec);
void container_enter(void);
void container_build(const struct spec *spec);
void container_exec(const struct spec *spec, int go);
void container_fault_to(int fd);

#endif
