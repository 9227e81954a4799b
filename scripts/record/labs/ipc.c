/* Talking between processes: System V and POSIX shared memory, semaphores and message queues, FIFOs, POSIX asynchronous input. */
#include "lab.h"
#include <aio.h>
#include <mqueue.h>
#include <semaphore.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <time.h>

static void system_five(void) {
    int shm = DO(shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600));
    void *at = shmat(shm, NULL, 0);
    MUST(at != (void *)-1);
    DO(shmdt(at));
    DO(shmctl(shm, IPC_RMID, NULL));
    int sem = DO(semget(IPC_PRIVATE, 1, IPC_CREAT | 0600));
    struct sembuf up = {0, 1, SEM_UNDO}, down = {0, -1, 0};
    struct timespec soon = {.tv_sec = 1};
    DO(semop(sem, &up, 1));
    DO(semtimedop(sem, &down, 1, &soon));
    /* The C library may take one call for both. */
    DO(syscall(SYS_semop, sem, &up, 1));
    DO(semctl(sem, 0, IPC_RMID));
    int queue = DO(msgget(IPC_PRIVATE, IPC_CREAT | 0600));
    struct {
        long type;
        char text[4];
    } message = {1, "abc"};
    DO(msgsnd(queue, &message, sizeof message.text, 0));
    DO(msgrcv(queue, &message, sizeof message.text, 1, 0));
    DO(msgctl(queue, IPC_RMID, NULL));
}

static void posix(void) {
    char name[32];
    snprintf(name, sizeof name, "/lab-%d", getpid());
    int shm = DO(shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600));
    DO(ftruncate(shm, 4096));
    DO(shm_unlink(name));
    sem_t *sem = sem_open(name, O_CREAT | O_EXCL, 0600, 0);
    MUST(sem != SEM_FAILED);
    pid_t child = DO(fork());
    if (child == 0) {
        usleep(10000);
        _exit(sem_post(sem));
    }
    DO(sem_wait(sem));
    reap(child);
    DO(sem_close(sem));
    DO(sem_unlink(name));
    struct mq_attr attr = {.mq_maxmsg = 2, .mq_msgsize = 16};
    mqd_t queue = DO(mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, &attr));
    DO(mq_getattr(queue, &attr));
    struct sigevent tell = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    signal(SIGUSR1, SIG_IGN);
    DO(mq_notify(queue, &tell));
    DO(mq_send(queue, "message", 7, 1));
    char text[16];
    MUST(mq_receive(queue, text, sizeof text, NULL) == 7);
    DO(mq_close(queue));
    DO(mq_unlink(name));
}

static void fifo(void) {
    char name[32];
    snprintf(name, sizeof name, "fifo-%d", getpid());
    DO(mkfifo(name, 0600));
    pid_t child = DO(fork());
    if (child == 0) {
        int to = DO(open(name, O_WRONLY));
        _exit(write(to, "x", 1) != 1);
    }
    char byte;
    int from = DO(open(name, O_RDONLY));
    MUST(read(from, &byte, 1) == 1 && byte == 'x');
    reap(child);
    DO(unlink(name));
}

static void asynchronous(void) {
    FILE *file = tmpfile();
    MUST(file);
    char text[] = "asynchronous";
    struct aiocb one = {.aio_fildes = fileno(file), .aio_buf = text, .aio_nbytes = sizeof text};
    const struct aiocb *all[] = {&one};
    DO(aio_write(&one));
    DO(aio_suspend(all, 1, NULL));
    MUST(aio_return(&one) == (ssize_t)sizeof text);
    fclose(file);
    /* The kernel's own is not to be had in a sandbox, which a program must be told as if there were none. */
    unsigned long context = 0;
    MUST(syscall(SYS_io_setup, 1, &context) == -1 && errno == ENOSYS);
}

int main(void) {
    system_five();
    posix();
    fifo();
    asynchronous();
    return 0;
}
