/* Frames over the virtio-serial port: version, kind, 2 zero bytes, id, length (all little-endian), payload. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "agent.h"

#define HEADER 12

static int port = -1;
static char *buffer;
static size_t filled;

uint32_t u32(const char *p) { uint32_t v; memcpy(&v, p, 4); return v; }
uint64_t u64(const char *p) { uint64_t v; memcpy(&v, p, 8); return v; }

static bool find_port(char *path, size_t size)
{
	DIR *d = opendir("/sys/class/virtio-ports");
	struct dirent *e;
	bool found = false;

	while (d && !found && (e = readdir(d))) {
		char name[300], text[64] = "";
		if (e->d_name[0] == '.')
			continue;
		snprintf(name, sizeof name, "/sys/class/virtio-ports/%s/name", e->d_name);
		int fd = open(name, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			continue;
		if (read(fd, text, sizeof text - 1) > 0 && !strncmp(text, "vnfm.agent", 10)) {
			snprintf(path, size, "/dev/%s", e->d_name);
			found = true;
		}
		close(fd);
	}
	if (d)
		closedir(d);
	return found;
}

int wire_open(void)
{
	char path[300];
	struct timespec pause = {0, 2000000};

	buffer = malloc(HEADER + MAX_PAYLOAD);
	/* The port's name comes by a control message of the device, a moment after its module was loaded. */
	for (int i = 0; i < 5000; i++) {
		if (find_port(path, sizeof path)) {
			port = open(path, O_RDWR | O_CLOEXEC);
			if (port >= 0)
				return port;
		}
		nanosleep(&pause, NULL);
	}
	return -1;
}

static void write_all(const char *data, size_t length)
{
	while (length) {
		ssize_t n = write(port, data, length);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			struct pollfd p = {port, POLLOUT, 0};
			poll(&p, 1, -1);
			continue;
		}
		if (n <= 0)
			guest_power_off();
		data += n;
		length -= n;
	}
}

void wire_send(uint8_t kind, uint32_t id, const void *data, size_t length)
{
	char *frame = malloc(HEADER + length);
	uint32_t size = length;

	frame[0] = PROTOCOL_VERSION;
	frame[1] = kind;
	frame[2] = frame[3] = 0;
	memcpy(frame + 4, &id, 4);
	memcpy(frame + 8, &size, 4);
	if (length)
		memcpy(frame + HEADER, data, length);
	write_all(frame, HEADER + length);
	free(frame);
}

void wire_answer(uint32_t id, int error, const void *data, size_t length)
{
	char *answer = malloc(4 + length);

	memcpy(answer, &error, 4);
	if (length)
		memcpy(answer + 4, data, length);
	wire_send(ANSWER, id, answer, 4 + length);
	free(answer);
}

/* Reads what is there and hands every whole frame on; false when the host has gone. */
bool wire_read(void (*handle)(uint8_t, uint32_t, char *, uint32_t))
{
	ssize_t n = read(port, buffer + filled, HEADER + MAX_PAYLOAD - filled);
	size_t at = 0;

	if (n < 0)
		return errno == EINTR || errno == EAGAIN;
	if (n == 0)
		return false;
	filled += n;
	while (filled - at >= HEADER) {
		uint32_t length = u32(buffer + at + 8);
		if (buffer[at] != PROTOCOL_VERSION || length > MAX_PAYLOAD)
			return false;
		if (filled - at < HEADER + length)
			break;
		handle(buffer[at + 1], u32(buffer + at + 4), buffer + at + HEADER, length);
		at += HEADER + length;
	}
	memmove(buffer, buffer + at, filled - at);
	filled -= at;
	return true;
}
