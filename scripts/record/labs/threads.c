/* Threads: all kinds of locks, cancelling, thread-local data, cores, barriers in memory, timers that start threads. */
#include "lab.h"
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <sys/syscall.h>
#include <time.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static pthread_barrier_t barrier;
static pthread_spinlock_t spin;
static sem_t sem;
static int ready, count;
static _Thread_local int own;

static void *worker(void *unused) {
    for (int i = 0; i < 1000; i++) {
        pthread_mutex_lock(&mutex);
        count++;
        pthread_mutex_unlock(&mutex);
        pthread_rwlock_rdlock(&rwlock);
        own++;
        pthread_rwlock_unlock(&rwlock);
    }
    pthread_spin_lock(&spin);
    pthread_spin_unlock(&spin);
    pthread_barrier_wait(&barrier);
    pthread_mutex_lock(&mutex);
    while (!ready) pthread_cond_wait(&cond, &mutex);
    pthread_mutex_unlock(&mutex);
    sem_post(&sem);
    return unused;
}

static void *sleeper(void *unused) {
    for (;;) sleep(1);
    return unused;
}

static void *robust_owner(void *lock) {
    pthread_mutex_lock(lock);
    return NULL;
}

static void timer_thread(union sigval value) { sem_post(value.sival_ptr); }

int main(void) {
    enum { THREADS = 4 };
    pthread_t threads[THREADS];
    MUST(pthread_barrier_init(&barrier, NULL, THREADS) == 0);
    MUST(pthread_spin_init(&spin, PTHREAD_PROCESS_PRIVATE) == 0);
    DO(sem_init(&sem, 0, 0));
    pthread_attr_t attr;
    MUST(pthread_attr_init(&attr) == 0 && pthread_attr_setstacksize(&attr, 1 << 20) == 0);
    for (int i = 0; i < THREADS; i++) MUST(pthread_create(&threads[i], &attr, worker, NULL) == 0);
    struct timespec until;
    DO(clock_gettime(CLOCK_REALTIME, &until));
    until.tv_nsec += 5000000;
    if (until.tv_nsec >= 1000000000) until.tv_sec++, until.tv_nsec -= 1000000000;
    MUST(sem_timedwait(&sem, &until) == -1 && errno == ETIMEDOUT);
    pthread_mutex_lock(&mutex);
    ready = 1;
    pthread_cond_broadcast(&cond);
    pthread_mutex_unlock(&mutex);
    for (int i = 0; i < THREADS; i++) DO(sem_wait(&sem));
    cpu_set_t cpus;
    MUST(pthread_getaffinity_np(threads[0], sizeof cpus, &cpus) == 0 || errno == 0);
    for (int i = 0; i < THREADS; i++) MUST(pthread_join(threads[i], NULL) == 0);
    MUST(count == THREADS * 1000);
    pthread_t one;
    MUST(pthread_create(&one, NULL, sleeper, NULL) == 0);
    MUST(pthread_setname_np(one, "sleeper") == 0);
    MUST(pthread_kill(one, 0) == 0);
    MUST(pthread_cancel(one) == 0 && pthread_join(one, NULL) == 0);
    pthread_mutexattr_t kind;
    pthread_mutex_t robust;
    MUST(pthread_mutexattr_init(&kind) == 0 && pthread_mutexattr_setrobust(&kind, PTHREAD_MUTEX_ROBUST) == 0);
    MUST(pthread_mutexattr_setprotocol(&kind, PTHREAD_PRIO_INHERIT) == 0 && pthread_mutex_init(&robust, &kind) == 0);
    MUST(pthread_create(&one, NULL, robust_owner, &robust) == 0 && pthread_join(one, NULL) == 0);
    MUST(pthread_mutex_lock(&robust) == EOWNERDEAD);
    timer_t timer;
    struct sigevent tell = {.sigev_notify = SIGEV_THREAD, .sigev_notify_function = timer_thread, .sigev_value.sival_ptr = &sem};
    struct itimerspec soon = {.it_value.tv_nsec = 1000000};
    DO(timer_create(CLOCK_MONOTONIC, &tell, &timer));
    DO(timer_settime(timer, 0, &soon, NULL));
    DO(sem_wait(&sem));
    DO(timer_gettime(timer, &soon));
    DO(timer_getoverrun(timer));
    DO(timer_delete(timer));
    /* Locks of one's own, as a lab on futexes makes them. */
    unsigned word = 0;
    MUST(syscall(SYS_futex, &word, FUTEX_WAIT, 1, NULL) == -1 && errno == EAGAIN);
    DO(syscall(SYS_futex, &word, FUTEX_WAKE, 1));
    void *head;
    size_t length;
    DO(syscall(SYS_get_robust_list, 0, &head, &length));
    DO(syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0));
    return 0;
}
