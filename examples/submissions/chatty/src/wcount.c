/* wcount [FILE]...: lines, words and bytes of each file, or of the standard input. */
#include "text.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static int count(int fd, const char *name)
{
    struct text_counts counts = {0};
    char piece[16384];
    ssize_t got;

    while ((got = read(fd, piece, sizeof piece)) > 0)
        text_feed(&counts, piece, (size_t)got);
    if (got < 0)
        return -1;
    printf(isatty(STDOUT_FILENO) ? "lines %lu, words %lu, bytes %lu" : "%lu %lu %lu",
           counts.lines, counts.words, counts.bytes);
    printf(name ? " %s\n" : "\n", name);
    return 0;
}

int main(int argc, char **argv)
{
    int status = 0;

    if (argc == 1)
        return count(STDIN_FILENO, NULL) == 0 ? 0 : 1;
    for (int i = 1; i < argc;) {
        int fd = open(argv[i], O_RDONLY);

        if (fd < 0 || count(fd, argv[i]) < 0) {
            perror(argv[i]);
            status = 1;
            continue; /* the mistake: tries the same file again, and complains, for ever */
        }
        i++;
        close(fd);
    }
    return status;
}
