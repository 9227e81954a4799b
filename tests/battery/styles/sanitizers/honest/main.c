#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    char *copy = malloc(strlen(argv[1]) + 1);
    strcpy(copy, argv[1]);
    for (char *at = copy; *at; at++) *at = toupper(*at);
    puts(copy);
    free(copy);
    return 0;
}
