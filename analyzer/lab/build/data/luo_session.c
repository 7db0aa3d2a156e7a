// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A session of the Live Update Orchestrator, from the guest's shell; built by "analyze lab build".
 *
 *   luo_session preserve NAME TOKEN < DATA    a session with one memfd that holds DATA; a process stays to keep it
 *   luo_session retrieve NAME TOKEN > DATA    after the kexec: what the memfd holds, then the session is finished
 *
 * Interface: include/uapi/linux/liveupdate.h of Linux 7.3.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/liveupdate.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

static int failed(const char *what)
{
	fprintf(stderr, "luo_session: %s: %s\n", what, strerror(errno));
	return 1;
}

static int copy(int from, int to)
{
	char buffer[4096];
	ssize_t got, put, done;

	while ((got = read(from, buffer, sizeof(buffer))) > 0)
		for (done = 0; done < got; done += put)
			if ((put = write(to, buffer + done, got - done)) <= 0)
				return -1;
	return got;
}

static int preserve(int device, const char *name, uint64_t token)
{
	struct liveupdate_ioctl_create_session session = { .size = sizeof(session) };
	struct liveupdate_session_preserve_fd file = { .size = sizeof(file), .token = token };

	file.fd = memfd_create("aritrace", 0);
	if (file.fd < 0)
		return failed("memfd_create");
	if (copy(STDIN_FILENO, file.fd))
		return failed("fill the memfd");
	snprintf((char *)session.name, sizeof(session.name), "%s", name);
	if (ioctl(device, LIVEUPDATE_IOCTL_CREATE_SESSION, &session))
		return failed("create the session");
	if (ioctl(session.fd, LIVEUPDATE_SESSION_PRESERVE_FD, &file))
		return failed("preserve the memfd");
	switch (fork()) {
	case -1:
		return failed("fork");
	case 0:
		/* A session that nobody holds open is dropped. */
		setsid();
		for (;;)
			pause();
	}
	return 0;
}

static int retrieve(int device, const char *name, uint64_t token)
{
	struct liveupdate_ioctl_retrieve_session session = { .size = sizeof(session) };
	struct liveupdate_session_retrieve_fd file = { .size = sizeof(file), .token = token };
	struct liveupdate_session_finish finish = { .size = sizeof(finish) };

	snprintf((char *)session.name, sizeof(session.name), "%s", name);
	if (ioctl(device, LIVEUPDATE_IOCTL_RETRIEVE_SESSION, &session))
		return failed("retrieve the session");
	if (ioctl(session.fd, LIVEUPDATE_SESSION_RETRIEVE_FD, &file))
		return failed("retrieve the memfd");
	if (lseek(file.fd, 0, SEEK_SET) || copy(file.fd, STDOUT_FILENO))
		return failed("read the memfd");
	if (ioctl(session.fd, LIVEUPDATE_SESSION_FINISH, &finish))
		return failed("finish the session");
	return 0;
}

int main(int count, char **words)
{
	int device;

	if (count != 4) {
		fprintf(stderr, "usage: luo_session preserve|retrieve NAME TOKEN\n");
		return 2;
	}
	device = open("/dev/liveupdate", O_RDWR);
	if (device < 0)
		return failed("/dev/liveupdate");
	if (!strcmp(words[1], "preserve"))
		return preserve(device, words[2], strtoull(words[3], NULL, 0));
	return retrieve(device, words[2], strtoull(words[3], NULL, 0));
}
