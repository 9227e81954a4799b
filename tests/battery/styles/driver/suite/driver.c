#include <stdio.h>

int add(int a, int b);

int main(void) {
    int a, b;
    char nonce[64];
    while (scanf("%d %d", &a, &b) == 2) printf("%d\n", add(a, b));
    if (scanf(" end %63s", nonce) != 1) return 2;
    puts(nonce);
    return 0;
}
