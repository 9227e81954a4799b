#include <stdio.h>

int main(void) {
    int a, b;
    for (;;) {
        printf("> ");
        fflush(stdout);
        if (scanf("%d %d", &a, &b) != 2) return 0;
        printf("%d\n", a + b);
    }
}
