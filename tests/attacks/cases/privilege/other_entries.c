/* Enters the kernel by the door for 32-bit programs, where every call has another number.
 * goal: a call that no filter has seen
 * stopped by: the filters end a process that uses another architecture
 * first: seccomp
 * second: -
 * alone: the kernel has that door open for everybody (a host can close it: ia32_emulation=0)
 */
#include "attack.h"
int main(void) {
    pid_t child = fork();
    if (child == 0) {
#ifdef __x86_64__
        long answer = 20; /* getpid there, writev here */
        __asm__ volatile("int $0x80" : "+a"(answer) : : "memory", "r8", "r9", "r10", "r11");
        _exit(answer == getpid() ? 7 : 0);
#else
        _exit(0);
#endif
    }
    int status;
    waitpid(child, &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 7) reached("int 0x80");
    child = fork();
    if (child == 0) _exit(syscall(0x40000000 | SYS_getpid) > 0 ? 7 : 0);
    waitpid(child, &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 7) reached("x32");
    return tried();
}
