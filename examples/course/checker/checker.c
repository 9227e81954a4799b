/* Calls the student's library at the suite's request and says what came back.
 *
 * The library is linked into this very process, so it can do here whatever it likes: print "passed" in a constructor,
 * leave by _exit(0) in the middle, overwrite what this file computes. Therefore nothing is judged here. The suite
 * sends texts of its own making, which it drew at random a moment ago, and compares the numbers itself, in
 * another process: whoever wants to fake the answers has to count. And only once all answers have come it sends a
 * nonce, which has to come back before the end with status 0: leaving early is not finishing.
 *
 * A request is a line, and so is its answer:
 *
 *     new                        ->  new                 start from zero
 *     feed N, then N bytes       ->  0 LINES WORDS BYTES what text_feed returned, what has been counted
 *     null counts | null text    ->  RETURNED            text_feed with a NULL there
 *     finish NONCE               ->  finished NONCE      and the end
 */
#include "text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* The next `length` bytes of the standard input, laid so that the page after the last byte cannot be touched:
 * a library that reads past the end dies of SIGSEGV here, sanitizer or not. */
static const char *text_before_a_wall(size_t length)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), room = (length / page + 1) * page;
    char *start = mmap(NULL, room + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (start == MAP_FAILED || mprotect(start + room, page, PROT_NONE) != 0 ||
        fread(start + room - length, 1, length, stdin) != length) {
        perror("checker: taking in a text");
        exit(3);
    }
    return start + room - length;
}

int main(void)
{
    struct text_counts counts = {0};
    char request[128], nonce[64];
    size_t length;

    setvbuf(stdout, NULL, _IOLBF, 0);
    while (fgets(request, sizeof request, stdin)) {
        if (strcmp(request, "new\n") == 0) {
            memset(&counts, 0, sizeof counts);
            puts("new");
        } else if (sscanf(request, "feed %zu", &length) == 1) {
            int returned = text_feed(&counts, text_before_a_wall(length), length);

            printf("%d %lu %lu %lu\n", returned, counts.lines, counts.words, counts.bytes);
        } else if (strcmp(request, "null counts\n") == 0) {
            printf("%d\n", text_feed(NULL, "text", 4));
        } else if (strcmp(request, "null text\n") == 0) {
            printf("%d\n", text_feed(&counts, NULL, 4));
        } else if (sscanf(request, "finish %63s", nonce) == 1) {
            printf("finished %s\n", nonce);
            return 0;
        } else {
            fprintf(stderr, "checker: no such request: %s", request);
            return 3;
        }
    }
    return 3; /* the suite went away, or something before us read its requests */
}
