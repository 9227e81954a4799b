/* Files and directories: every way to make, read, write, copy, lock, walk, rename and describe them. */
#include "lab.h"
#include <dirent.h>
#include <ftw.h>
#include <linux/openat2.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <utime.h>

static void contents(void) {
    int fd = DO(open("file", O_RDWR | O_CREAT | O_TRUNC, 0644));
    MUST(write(fd, "0123456789", 10) == 10 && pwrite(fd, "ab", 2, 0) == 2);
    char text[16];
    struct iovec parts[2] = {{text, 4}, {text + 4, 4}};
    DO(lseek(fd, 0, SEEK_SET));
    DO(readv(fd, parts, 2));
    DO(writev(fd, parts, 2));
    DO(preadv(fd, parts, 2, 0));
    DO(pwritev(fd, parts, 2, 0));
    DO(preadv2(fd, parts, 2, 0, 0));
    DO(pwritev2(fd, parts, 2, 0, 0));
    MUST(pread(fd, text, 2, 0) == 2 && text[0] == 'a');
    DO(fsync(fd));
    DO(fdatasync(fd));
    DO(sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE));
    DO(syncfs(fd));
    DO(fallocate(fd, 0, 0, 65536));
    MUST(posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL) == 0);
    DO(readahead(fd, 0, 4096));
    DO(ftruncate(fd, 10));
    DO(truncate("file", 8));
    int copy = DO(open("copy", O_RDWR | O_CREAT | O_TRUNC, 0600));
    DO(lseek(fd, 0, SEEK_SET));
    DO(sendfile(copy, fd, NULL, 4));
    DO(copy_file_range(fd, NULL, copy, NULL, 4, 0));
    int pipe_[2], other[2], unread;
    DO(pipe(pipe_));
    DO(pipe2(other, O_CLOEXEC));
    DO(lseek(copy, 0, SEEK_SET));
    DO(splice(copy, NULL, pipe_[1], NULL, 8, 0));
    DO(tee(pipe_[0], other[1], 8, 0));
    DO(vmsplice(pipe_[1], parts, 1, 0));
    DO(ioctl(pipe_[0], FIONREAD, &unread));
    DO(close(copy));
    /* A sparse file of more than 4 GiB. */
    DO(lseek(fd, 5LL << 30, SEEK_SET));
    DO(write(fd, "end", 3));
    MUST(lseek(fd, 0, SEEK_HOLE) > 0);
    DO(close(fd));
    struct open_how how = {.flags = O_RDONLY, .resolve = RESOLVE_BENEATH};
    DO(close(DO(syscall(SYS_openat2, AT_FDCWD, "file", &how, sizeof how))));
    DO(close(DO(creat("created", 0600))));
    sync();
}

static void locks(void) {
    int fd = DO(open("file", O_RDWR));
    DO(flock(fd, LOCK_EX));
    DO(flock(fd, LOCK_UN));
    struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 4};
    DO(fcntl(fd, F_SETLK, &range));
    DO(fcntl(fd, F_GETLK, &range));
    DO(lockf(fd, F_ULOCK, 0));
    range = (struct flock){.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_len = 4};
    DO(fcntl(fd, F_OFD_SETLK, &range));
    int again = DO(dup(fd));
    DO(dup2(fd, 100));
    DO(dup3(fd, 101, O_CLOEXEC));
    DO(fcntl(again, F_SETFL, O_NONBLOCK | O_APPEND));
    DO(fcntl(again, F_DUPFD_CLOEXEC, 50));
    DO(close_range(100, 200, 0));
    DO(close(again));
    DO(close(fd));
}

static int visit(const char *path, const struct stat *what, int kind, struct FTW *where) {
    (void)path, (void)what, (void)kind, (void)where;
    return 0;
}

static void directories(void) {
    DO(mkdir("dir", 0755));
    DO(mkdirat(AT_FDCWD, "dir/sub", 0755));
    DO(symlink("../file", "dir/symbolic"));
    DO(symlinkat("file", AT_FDCWD, "symbolic"));
    DO(link("file", "dir/hard"));
    DO(linkat(AT_FDCWD, "file", AT_FDCWD, "hard", 0));
    char target[64], here[4096];
    DO(readlink("symbolic", target, sizeof target));
    DO(readlinkat(AT_FDCWD, "dir/symbolic", target, sizeof target));
    DO(rename("hard", "renamed"));
    DO(renameat(AT_FDCWD, "renamed", AT_FDCWD, "hard"));
    DO(renameat2(AT_FDCWD, "hard", AT_FDCWD, "renamed", RENAME_NOREPLACE));
    DO(mkfifo("fifo", 0600));
    DO(mknod("plain", S_IFREG | 0600, 0));
    DO(mknod("socket", S_IFSOCK | 0600, 0));
    DIR *dir = opendir("dir");
    MUST(dir && readdir(dir));
    closedir(dir);
    MUST(nftw("dir", visit, 10, FTW_PHYS) == 0);
    MUST(getcwd(here, sizeof here));
    int fd = DO(open("dir", O_RDONLY | O_DIRECTORY));
    DO(chdir("dir"));
    DO(chdir(here));
    DO(fchdir(fd));
    DO(chdir(here));
    DO(unlink("renamed"));
    DO(unlinkat(fd, "sub", AT_REMOVEDIR));
    DO(unlink("dir/symbolic"));
    DO(unlink("dir/hard"));
    DO(close(fd));
    DO(rmdir("dir"));
}

static void descriptions(void) {
    struct stat what;
    struct statfs system_;
    struct statx more;
    DO(stat("file", &what));
    DO(lstat("symbolic", &what));
    int fd = DO(open("file", O_RDWR));
    DO(fstat(fd, &what));
    DO(statx(AT_FDCWD, "file", 0, STATX_ALL, &more));
    DO(statfs(".", &system_));
    DO(fstatfs(fd, &system_));
    DO(access("file", R_OK));
    DO(faccessat(AT_FDCWD, "file", R_OK, AT_EACCESS));
    DO(chmod("file", 0640));
    DO(fchmod(fd, 0644));
    DO(fchmodat(AT_FDCWD, "file", 0644, 0));
    DO(chown("file", -1, getgid()));
    DO(fchown(fd, -1, getgid()));
    DO(lchown("symbolic", -1, getgid()));
    DO(fchownat(AT_FDCWD, "file", -1, getgid(), 0));
    umask(022);
    DO(utime("file", NULL));
    DO(utimes("file", NULL));
    DO(utimensat(AT_FDCWD, "file", NULL, 0));
    DO(futimens(fd, NULL));
    DO(futimesat(AT_FDCWD, "file", NULL));
    /* Not every file system has user attributes; asking is what is looked at. */
    char names[64];
    (void)!setxattr("file", "user.lab", "x", 1, 0);
    (void)!fsetxattr(fd, "user.lab", "x", 1, 0);
    (void)!lsetxattr("file", "user.lab", "x", 1, 0);
    (void)!getxattr("file", "user.lab", names, sizeof names);
    (void)!lgetxattr("file", "user.lab", names, sizeof names);
    (void)!fgetxattr(fd, "user.lab", names, sizeof names);
    (void)!listxattr("file", names, sizeof names);
    (void)!llistxattr("file", names, sizeof names);
    (void)!flistxattr(fd, names, sizeof names);
    (void)!removexattr("file", "user.lab");
    (void)!lremovexattr("file", "user.lab");
    (void)!fremovexattr(fd, "user.lab");
    DO(close(fd));
}

int main(void) {
    char place[] = "files-XXXXXX";
    MUST(mkdtemp(place));
    DO(chdir(place));
    contents();
    locks();
    directories();
    descriptions();
    MUST(chdir("..") == 0);
    char command[64];
    snprintf(command, sizeof command, "rm -r %s", place);
    return system(command);
}
