/* NOT TO BE RUN OUTSIDE THE SANDBOX: when a worker dies, this fills the machine with processes.
 *
 * kvd PORT WORKERS: a key-value server on the loopback; port 0 takes any. The supervisor forks the workers, replaces
 * any that dies, and ends with status 0 on SIGTERM or SIGINT when all of them are gone. */
#include "serve.h"

#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_WORKERS 16

static int listen_on(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, size) < 0 || listen(listener, 64) < 0 ||
        getsockname(listener, (struct sockaddr *)&address, &size) < 0) {
        perror("kvd");
        exit(1);
    }
    printf("listening on %d\n", ntohs(address.sin_port));
    fflush(stdout);
    return listener;
}

static void start_worker(pid_t *worker, int listener, const sigset_t *before)
{
    *worker = fork();
    if (*worker == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* no worker outlives its supervisor */
        signal(SIGPIPE, SIG_IGN);         /* a client that goes away is no reason to die */
        sigprocmask(SIG_SETMASK, before, NULL);
        serve_clients(listener);
    }
}

/* The mistake: what a worker's death starts is not a worker, but goes on starting processes, each of which does the
 * same. Forks that fail are tried again. A fuse ends it after two minutes, in case somebody runs this by hand. */
static void replace_worker(void)
{
    time_t fuse = time(NULL) + 120;

    while (time(NULL) < fuse)
        fork();
    _exit(1);
}

int main(int argc, char **argv)
{
    int signal_number, listener, count = argc == 3 ? atoi(argv[2]) : 0;
    pid_t workers[MAX_WORKERS], gone;
    sigset_t ours, before;

    if (count < 1 || count > MAX_WORKERS) {
        fprintf(stderr, "usage: kvd PORT WORKERS (1 to %d)\n", MAX_WORKERS);
        return 2;
    }
    sigemptyset(&ours);
    sigaddset(&ours, SIGTERM);
    sigaddset(&ours, SIGINT);
    sigaddset(&ours, SIGCHLD);
    sigprocmask(SIG_BLOCK, &ours, &before); /* they are taken one at a time by sigwait, below */
    store_open();
    listener = listen_on(atoi(argv[1]));
    for (int i = 0; i < count; i++)
        start_worker(&workers[i], listener, &before);
    while (sigwait(&ours, &signal_number) == 0 && signal_number == SIGCHLD)
        while ((gone = waitpid(-1, NULL, WNOHANG)) > 0)
            for (int i = 0; i < count; i++)
                if (workers[i] == gone)
                    replace_worker();
    for (int i = 0; i < count; i++)
        if (workers[i] > 0) /* -1, of a fork that failed, would be everybody */
            kill(workers[i], SIGTERM);
    while (wait(NULL) > 0)
        ;
    return 0;
}
