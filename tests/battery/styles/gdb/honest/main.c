#include <stdio.h>
#include <stdlib.h>

long factorial(long n) {
    return n <= 1 ? 1 : n * factorial(n - 1);
}

int main(int argc, char **argv) {
    return argc != 2 || printf("%ld\n", factorial(atol(argv[1]))) < 0;
}
