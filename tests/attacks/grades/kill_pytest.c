/* Kills pytest, by every signal that ends or stops a process, alone, as a group and with everything else that is there.
 * stopped by: pytest's real and saved user is another one; without that: every test needs an end event to have passed
 * says: -
 */
#include <signal.h>
#include <stdio.h>
#include <unistd.h>
int main(void) {
    static const int signals[] = { SIGKILL, SIGSTOP, SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGALRM, SIGABRT, SIGXCPU, SIGTSTP, SIGPIPE };
    for (int s = SIGRTMIN; s <= SIGRTMAX; s++) signal(s, SIG_IGN);
    for (unsigned i = 0; i < sizeof signals / sizeof *signals; i++) {
        signal(signals[i], SIG_IGN);
        kill(getppid(), signals[i]);
        killpg(getpgid(getppid()), signals[i]);
        for (int pid = 1; pid < 200; pid++)
            if (pid != getpid()) kill(pid, signals[i]);
    }
    kill(getppid(), SIGRTMIN);
    return puts("17") < 0;
}
