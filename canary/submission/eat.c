/* Touches as many MiB as its argument says, and then says so. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
int main(int argc, char **argv) {
    size_t size = (size_t)atoi(argv[argc - 1]) << 20;
    char *memory = malloc(size);
    if (!memory) return 3;
    memset(memory, 1, size);
    printf("%d\n", memory[size / 2]);
    return 0;
}
