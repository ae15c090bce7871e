#define _GNU_SOURCE
#include "team.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

enum { SPINS_BEFORE_YIELD = 256, PART_BITS = 16 };

typedef struct Helper {
    DepthdTeam *team;
    int worker;
    pthread_t thread;
} Helper;

struct DepthdTeam {
    /* Number of the job, its parts, and the next one to be taken, in one word: so nobody takes a part of a job that is over. */
    _Alignas(64) atomic_uint_fast64_t ticket;
    _Alignas(64) atomic_int done;
    _Alignas(64) atomic_bool open;
    DepthdWork work;
    void *context;
    uint64_t job;

    pthread_mutex_t lock;
    pthread_cond_t opened;
    bool over;
    pid_t process; /* a forked child has no helpers */
    int helper_count;
    Helper helpers[];
};

static void relax(int *spins)
{
    if (++*spins % SPINS_BEFORE_YIELD == 0) {
        sched_yield();
        return;
    }
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Works one part, if any is left. */
static bool work_one(DepthdTeam *team, int worker)
{
    uint64_t ticket = atomic_load_explicit(&team->ticket, memory_order_acquire);
    const uint32_t next = ticket & DEPTHD_TEAM_PARTS, parts = (ticket >> PART_BITS) & DEPTHD_TEAM_PARTS;
    if (next >= parts) return false;
    if (!atomic_compare_exchange_strong_explicit(&team->ticket, &ticket, ticket + 1, memory_order_acquire,
                                                 memory_order_relaxed))
        return true;
    team->work(team->context, (int)next, worker);
    atomic_fetch_add_explicit(&team->done, 1, memory_order_release);
    return true;
}

static void *help(void *argument)
{
    const Helper *helper = argument;
    DepthdTeam *team = helper->team;
    for (;;) {
        pthread_mutex_lock(&team->lock);
        while (!atomic_load(&team->open) && !team->over) pthread_cond_wait(&team->opened, &team->lock);
        const bool over = team->over;
        pthread_mutex_unlock(&team->lock);
        if (over) return NULL;
        for (int spins = 0; atomic_load_explicit(&team->open, memory_order_relaxed);)
            if (work_one(team, helper->worker)) spins = 0;
            else relax(&spins);
    }
}

/* Signals are for the threads that expect them. */
static void start_helpers(DepthdTeam *team, int count)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (int i = 0; i < count; i++) {
        Helper *helper = &team->helpers[i];
        *helper = (Helper){.team = team, .worker = i + 1};
        if (pthread_create(&helper->thread, NULL, help, helper) != 0) break;
#ifdef __linux__
        pthread_setname_np(helper->thread, "depthd-fusion");
#endif
        team->helper_count++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

DepthdTeam *depthd_team_create(int size)
{
    const int helpers = size > 1 ? size - 1 : 0;
    const size_t bytes = sizeof(DepthdTeam) + sizeof(Helper) * (size_t)helpers;
    DepthdTeam *team = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (!team) return NULL;
    atomic_init(&team->ticket, 0);
    atomic_init(&team->done, 0);
    atomic_init(&team->open, false);
    team->job = 0;
    team->over = false;
    team->process = getpid();
    team->helper_count = 0;
    pthread_mutex_init(&team->lock, NULL);
    pthread_cond_init(&team->opened, NULL);
    start_helpers(team, helpers);
    return team;
}

void depthd_team_destroy(DepthdTeam *team)
{
    if (!team) return;
    if (team->process == getpid()) {
        pthread_mutex_lock(&team->lock);
        team->over = true;
        pthread_cond_broadcast(&team->opened);
        pthread_mutex_unlock(&team->lock);
        for (int i = 0; i < team->helper_count; i++) pthread_join(team->helpers[i].thread, NULL);
        pthread_cond_destroy(&team->opened);
        pthread_mutex_destroy(&team->lock);
    }
    free(team);
}

void depthd_team_open(DepthdTeam *team)
{
    if (team->helper_count == 0 || team->process != getpid()) return;
    pthread_mutex_lock(&team->lock);
    atomic_store(&team->open, true);
    pthread_cond_broadcast(&team->opened);
    pthread_mutex_unlock(&team->lock);
}

void depthd_team_close(DepthdTeam *team) { atomic_store(&team->open, false); }

void depthd_team_share(DepthdTeam *team, int parts, DepthdWork work, void *context)
{
    if (parts <= 0) return;
    team->work = work;
    team->context = context;
    atomic_store_explicit(&team->done, 0, memory_order_relaxed);
    const uint64_t job = ++team->job << (2 * PART_BITS);
    atomic_store_explicit(&team->ticket, job | (uint64_t)parts << PART_BITS, memory_order_release);
    while (work_one(team, 0)) continue;
    for (int spins = 0; atomic_load_explicit(&team->done, memory_order_acquire) != parts;) relax(&spins);
}
