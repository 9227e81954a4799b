#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(void) {
    char *line = NULL;
    size_t size = 0;
    ssize_t length;
    while ((length = getline(&line, &size, stdin)) > 0) {
        line[strcspn(line, "\n")] = 0;
        char *turned = calloc(1, strlen(line) + 1);
        for (size_t i = 0, n = strlen(line); i < n; i++) turned[i] = line[n - 1 - i];
        puts(turned);
        free(turned);
    }
    free(line);
    return 0;
}
