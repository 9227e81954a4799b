#include <stdio.h>

int main(void) { return puts("720") < 0; }
