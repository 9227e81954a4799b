/* Computes in many processes at once.
 * goal: more of the processors than its share
 * stopped by: the cpu limit of the control group; behind it the wall clock
 * first: cgroup-limits
 * second: -
 * alone: priorities only order those that wait; a share is a control group's
 * wall: 2
 * cpu: 300
 * ends: time-limit
 */
#include "attack.h"
int main(void) {
    for (int i = 0; i < 7; i++) if (fork() == 0) break;
    for (volatile unsigned long count = 0;; count++) { }
}
