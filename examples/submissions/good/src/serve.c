#include "serve.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define SLOTS 64

static struct {
    pthread_mutex_t lock;
    struct { char key[32], value[64]; } slots[SLOTS];
} *store;

void store_open(void)
{
    pthread_mutexattr_t kind;

    store = mmap(NULL, sizeof *store, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (store == MAP_FAILED) {
        perror("mmap");
        exit(1);
    }
    pthread_mutexattr_init(&kind);
    pthread_mutexattr_setpshared(&kind, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&kind, PTHREAD_MUTEX_ROBUST); /* a worker may be killed while it holds the lock */
    pthread_mutex_init(&store->lock, &kind);
}

/* The slot of a key, else the first free one, else -1. */
static int slot_of(const char *key)
{
    int i = 0;

    while (i < SLOTS && store->slots[i].key[0] && strcmp(store->slots[i].key, key) != 0)
        i++;
    return i < SLOTS ? i : -1;
}

static void answer(const char *request, FILE *out)
{
    char key[sizeof store->slots[0].key], value[sizeof store->slots[0].value];
    int slot;

    if (pthread_mutex_lock(&store->lock) == EOWNERDEAD)
        pthread_mutex_consistent(&store->lock);
    if (sscanf(request, "SET %31s %63[^\n]", key, value) == 2) {
        if ((slot = slot_of(key)) >= 0) {
            strcpy(store->slots[slot].key, key);
            strcpy(store->slots[slot].value, value);
        }
        fputs(slot >= 0 ? "OK\n" : "ERROR the store is full\n", out);
    } else if (sscanf(request, "GET %31s", key) == 1) {
        slot = slot_of(key);
        if (slot >= 0 && store->slots[slot].key[0])
            fprintf(out, "VALUE %s\n", store->slots[slot].value);
        else
            fputs("MISSING\n", out);
    } else if (strcmp(request, "PID\n") == 0) {
        fprintf(out, "PID %d\n", (int)getpid());
    } else {
        fputs("ERROR unknown request\n", out);
    }
    pthread_mutex_unlock(&store->lock);
}

void serve_clients(int listener)
{
    char request[256];

    for (;;) {
        int client = accept(listener, NULL, NULL);
        FILE *in = client < 0 ? NULL : fdopen(client, "r");
        FILE *out = in ? fdopen(dup(client), "w") : NULL;

        while (out && fgets(request, sizeof request, in)) {
            if (!strchr(request, '\n')) {
                fputs("ERROR the request is too long\n", out);
                break;
            }
            answer(request, out);
            fflush(out);
        }
        if (out)
            fclose(out);
        if (in)
            fclose(in);
    }
}
