int add(int a, int b) { return a + b; }

int largest(const int *numbers, int count) {
    int most = numbers[0];
    for (int i = 1; i < count; i++)
        if (numbers[i] > most) most = numbers[i];
    return most;
}
