/* Leaves a process behind while it is built, which waits for the tests and then writes their report.
 * stopped by: no process outlives its stage
 * says: -
 * build: setsid sh -c 'while :; do for d in $$(ls /proc); do for n in $$(seq 3 9); do echo forged >/proc/$$d/fd/$$n; done; done; touch alive; done' >/dev/null 2>&1 &
 */
#include <stdio.h>
#include <unistd.h>
int main(void) {
    unlink("/task/project/alive");
    sleep(1);
    return puts(access("/task/project/alive", F_OK) == 0 ? "42" : "17") < 0;
}
