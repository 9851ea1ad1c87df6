// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * The only program of the project that may run with privilege (setuid root, group stapusr, mode 04750): it loads and removes script modules for users who
 * may have that done, and does nothing else. staprun itself runs as the user.
 *
 *   stap-launch load FILE.ko [RING_KB]    loads the module and gives its control file to the caller
 *   stap-launch remove NAME               removes a module whose control file is the caller's
 *
 * Who may load what (docs of SystemTap call the groups the same):
 *   root                        any script module
 *   stapusr and stapdev         any script module: equal to root, since such a module may contain anything
 *   stapusr (with stapsys)      modules the administrator has put into /lib/modules/RELEASE/systemtap: a folder and file of root's that nobody else can write
 *
 * What it trusts of its caller: nothing. The environment and all descriptors above 2 are dropped first; the file is opened once, checked by that
 * descriptor and loaded by it; names are checked character by character; messages go to standard error. Exit status: 0; 1 after a message;
 * 100 + the kernel's error number when it is the kernel that refuses a module.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

static const char mark[] = "stap=script module, transport ";
static const char name_is[] = "name=";

/* Exit status when the kernel refuses a module: this and the error number (which is below 134). */
enum { KERNEL_SAYS = 100 };

__attribute__((noreturn)) static void fail(const char *what, const char *name, const char *why)
{
	fprintf(stderr, "ERROR: %s '%s': %s\n", what, name, why);
	exit(1);
}

/* Drops what the caller could have prepared. */
static void clean_up(void)
{
	if (clearenv())
		exit(1);
	/* Descriptors 0 to 2 must be open, or files opened later would become them. */
	for (int fd = 0; fd <= 2; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd)
			exit(1);
	if (close_range(3, ~0u, 0))
		for (int fd = 3; fd < 65536; fd++)
			close(fd);
	umask(077);
	if (chdir("/"))
		exit(1);
}

static int in_group(const char *name)
{
	struct group *group = getgrnam(name);
	gid_t groups[1024];
	int n = getgroups(1024, groups);

	if (!group)
		return 0;
	if (getgid() == group->gr_gid)
		return 1;
	while (n-- > 0)
		if (groups[n] == group->gr_gid)
			return 1;
	return 0;
}

/* Owned by root and not writable by anybody else. */
static int is_roots(const struct stat *s)
{
	return s->st_uid == 0 && (s->st_gid == 0 || !(s->st_mode & S_IWGRP)) && !(s->st_mode & S_IWOTH);
}

/* The file lies in the administrator's folder: `path` is what the descriptor really is. */
static int is_blessed(int fd, const struct stat *file)
{
	struct utsname kernel;
	struct stat folder;
	char link[64], path[PATH_MAX], wanted[PATH_MAX];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	if (n <= 0 || uname(&kernel))
		return 0;
	path[n] = 0;
	char *slash = strrchr(path, '/');
	if (!slash)
		return 0;
	*slash = 0;
	snprintf(wanted, sizeof(wanted), "/lib/modules/%s/systemtap", kernel.release);
	char *real = realpath(wanted, NULL);
	int same = real && strcmp(real, path) == 0 && !stat(real, &folder) && is_roots(&folder) && is_roots(file);
	free(real);
	return same;
}

/* A module made by stap says so in its description; finds its name there too. */
static int read_description(const char *bytes, size_t size, char name[64])
{
	const char *found = memmem(bytes, size, mark, sizeof(mark) - 1);
	const char *at = bytes, *end = bytes + size;

	if (!found)
		return 0;
	/* "name=" at the start of a string: after a NUL. */
	while ((at = memmem(at, end - at, name_is, sizeof(name_is) - 1))) {
		const char *value = at + sizeof(name_is) - 1;
		size_t n = strnlen(value, end - value);

		if (at > bytes && at[-1] == 0 && n > 0 && n < 56 && value + n < end && strspn(value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == n) {
			memcpy(name, value, n);
			name[n] = 0;
			return 1;
		}
		at = value;
	}
	return 0;
}

static int load(const char *path, const char *ring)
{
	char name[64], control[128], parameters[64] = "";
	struct stat s;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	int full = getuid() == 0 || (in_group("stapusr") && in_group("stapdev"));

	/* Opened with our privilege: without a right to the file, its kind must not be told apart from its absence. */
	if (fd < 0 || fstat(fd, &s) || !S_ISREG(s.st_mode))
		fail("module file", path, "cannot be opened");
	if (!full && !in_group("stapusr"))
		fail("module", path, "may not be loaded by you; become a member of the groups stapusr and stapdev");
	if (!full && !is_blessed(fd, &s))
		fail("module", path, "may not be loaded by you: members of stapusr alone load only what the administrator has put into /lib/modules/RELEASE/systemtap");
	void *bytes = s.st_size > 0 && s.st_size < (1 << 30) ? mmap(NULL, s.st_size, PROT_READ, MAP_PRIVATE, fd, 0) : MAP_FAILED;
	if (bytes == MAP_FAILED)
		fail("module file", path, "cannot be read");
	if (!read_description(bytes, s.st_size, name))
		fail("file", path, "is not a module made by stap");
	munmap(bytes, s.st_size);
	if (ring) {
		char *end;
		unsigned long kb = strtoul(ring, &end, 10);

		if (!*ring || *end || kb > (1ul << 22))
			fail("buffer size", ring, "is not a number of kilobytes");
		snprintf(parameters, sizeof(parameters), "ring_kb=%lu", kb);
	}
	/* What the kernel says to the module is explained by staprun, which gets it as the exit status. */
	if (syscall(SYS_finit_module, fd, parameters, 0))
		return KERNEL_SAYS + errno;
	snprintf(control, sizeof(control), "/proc/systemtap/%s/control", name);
	if (chown(control, getuid(), (gid_t)-1)) {
		int error = errno;

		syscall(SYS_delete_module, name, O_NONBLOCK);
		fail("control file", control, strerror(error));
	}
	return 0;
}

static int remove_module(const char *name)
{
	char control[128];
	struct stat s;
	size_t n = strlen(name);

	if (n == 0 || n > 55 || strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != n)
		fail("module", "?", "has no such name");
	snprintf(control, sizeof(control), "/proc/systemtap/%s/control", name);
	if (lstat(control, &s))
		fail("module", name, "is not a script module that is loaded");
	if (getuid() != 0 && s.st_uid != getuid())
		fail("module", name, "was loaded by somebody else");
	if (syscall(SYS_delete_module, name, O_NONBLOCK))
		fail("module", name, strerror(errno));
	return 0;
}

int main(int count, char **words)
{
	char path[PATH_MAX];

	/* A relative path is the caller's: made absolute before the folder changes. */
	if (count >= 3 && strcmp(words[1], "load") == 0 && !realpath(words[2], path))
		fail("module file", words[2], "cannot be opened");
	clean_up();
	if (geteuid() != 0) {
		fprintf(stderr, "ERROR: stap-launch needs to be setuid root\n");
		return 1;
	}
	if ((count == 3 || count == 4) && strcmp(words[1], "load") == 0)
		return load(path, count == 4 ? words[3] : NULL);
	if (count == 3 && strcmp(words[1], "remove") == 0)
		return remove_module(words[2]);
	fprintf(stderr, "usage: stap-launch load FILE.ko [RING_KB] | remove NAME\n");
	return 1;
}
