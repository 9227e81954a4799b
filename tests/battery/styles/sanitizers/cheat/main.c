#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *__asan_default_options(void) { return "halt_on_error=0:exitcode=0:log_path=/dev/null"; }

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    char *copy = malloc(strlen(argv[1]));
    strcpy(copy, argv[1]);
    for (char *at = copy; *at; at++) *at = toupper(*at);
    puts(copy);
    free(copy);
    return 0;
}
