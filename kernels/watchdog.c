#include "depthd.h"

#include "watchdog.h"

#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { NO_PHASE = 0xff };

static const uint64_t LONGEST_TICK_NS = 100 * 1000000ull;
static const uint64_t SECOND_NS = 1000000000ull;
/* Each extension lasts several ticks, so that one late tick does not fail the start. */
static const uint64_t EXTENSION_US = 5 * 1000000ull;

struct phase {
    char name[WATCHDOG_NAME_MAX];
    uint64_t limit_ns;
};

struct watchdog {
    int socket;
    struct sockaddr_un address;
    socklen_t address_bytes;
    uint64_t ping_period_ns, tick_ns;
    struct phase phases[WATCHDOG_PHASES_MAX];
    _Atomic uint32_t phase_count;
    /* Phase in the low byte, number of entries above: one store says both, and the same phase entered again shows. */
    _Atomic uint64_t progress;
    _Atomic bool ready, stopping;
    _Atomic(struct depthd_header *) guarded;
    pthread_t thread;
    pthread_mutex_t mutex; /* only for the two sides of `wake_up` */
    pthread_cond_t wake_up;
};

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * SECOND_NS + (uint64_t)now.tv_nsec;
}

static void tell(const struct watchdog *watchdog, const char *format, ...) {
    if (watchdog->socket < 0) return;
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (length > 0)
        /* Never wait for the supervisor: a full queue loses one message, a blocked thread loses its purpose. */
        (void)sendto(watchdog->socket, text, (size_t)length, MSG_DONTWAIT | MSG_NOSIGNAL,
                     (const struct sockaddr *)&watchdog->address, watchdog->address_bytes);
}

static void mark_lost(struct depthd_header *header) {
    if (!header) return;
    __atomic_store_n(&header->camera_state, (uint32_t)DEPTHD_CAMERA_LOST, __ATOMIC_RELEASE);
    __atomic_add_fetch(&header->wake, 1, __ATOMIC_RELEASE);
    syscall(SYS_futex, &header->wake, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

/* Says why and aborts, so that Python's faulthandler shows where every thread stood. */
static _Noreturn void end_process(struct watchdog *watchdog, const struct phase *phase) {
    mark_lost(atomic_load(&watchdog->guarded));
    double limit_s = (double)phase->limit_ns / (double)SECOND_NS;
    tell(watchdog, "STATUS=stuck: %s took longer than %.1f s", phase->name, limit_s);
    char text[160];
    int length = snprintf(text, sizeof text, "depthd: stuck: %s took longer than %.1f s; ending the process\n",
                          phase->name, limit_s);
    ssize_t written = write(STDERR_FILENO, text, (size_t)length);
    (void)written;
    alarm(1); /* whatever a handler of SIGABRT does */
    abort();
}

/* Waits one tick or until stopped. */
static void sleep_tick(struct watchdog *watchdog) {
    struct timespec until;
    uint64_t at = now_ns() + watchdog->tick_ns;
    until.tv_sec = (time_t)(at / SECOND_NS);
    until.tv_nsec = (long)(at % SECOND_NS);
    pthread_mutex_lock(&watchdog->mutex);
    while (!atomic_load(&watchdog->stopping) &&
           pthread_cond_timedwait(&watchdog->wake_up, &watchdog->mutex, &until) == 0) {}
    pthread_mutex_unlock(&watchdog->mutex);
}

static void *look_on(void *argument) {
    struct watchdog *watchdog = argument;
    uint64_t seen = NO_PHASE, spent_ns = 0, last_ns = now_ns(), since_ping_ns = UINT64_MAX / 2;
    while (!atomic_load(&watchdog->stopping)) {
        sleep_tick(watchdog);
        uint64_t now = now_ns(), gap_ns = now - last_ns;
        last_ns = now;
        /* A longer gap means that this thread did not run either; the loop is not to blame for it. */
        uint64_t counted_ns = gap_ns < 2 * watchdog->tick_ns ? gap_ns : watchdog->tick_ns;

        uint64_t progress = atomic_load(&watchdog->progress);
        spent_ns = progress == seen ? spent_ns + counted_ns : 0;
        seen = progress;
        uint8_t number = (uint8_t)progress;
        if (number != NO_PHASE && spent_ns > watchdog->phases[number].limit_ns)
            end_process(watchdog, &watchdog->phases[number]);

        since_ping_ns += gap_ns;
        if (since_ping_ns < watchdog->ping_period_ns) continue;
        since_ping_ns = 0;
        if (watchdog->ping_period_ns) tell(watchdog, "WATCHDOG=1");
        if (!atomic_load(&watchdog->ready))
            tell(watchdog, "EXTEND_TIMEOUT_USEC=%llu", (unsigned long long)EXTENSION_US);
    }
    return NULL;
}

/* 0, or an errno. */
static int open_socket(struct watchdog *watchdog, const char *path) {
    watchdog->socket = -1;
    if (!path || !*path) return 0;
    size_t length = strlen(path);
    if (length >= sizeof watchdog->address.sun_path || (path[0] != '/' && path[0] != '@')) return EINVAL;
    watchdog->address.sun_family = AF_UNIX;
    memcpy(watchdog->address.sun_path, path, length);
    if (path[0] == '@') watchdog->address.sun_path[0] = '\0';
    watchdog->address_bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
    watchdog->socket = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    return watchdog->socket < 0 ? errno : 0;
}

/* 0, or an errno. The thread takes no signals but the one it may send itself. */
static int start_thread(struct watchdog *watchdog) {
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&watchdog->wake_up, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&watchdog->mutex, NULL);

    sigset_t blocked, before;
    sigfillset(&blocked);
    sigdelset(&blocked, SIGABRT);
    sigdelset(&blocked, SIGALRM);
    pthread_sigmask(SIG_SETMASK, &blocked, &before);
    int error = pthread_create(&watchdog->thread, NULL, look_on, watchdog);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!error) pthread_setname_np(watchdog->thread, "depthd-watchdog");
    return error;
}

struct watchdog *watchdog_start(const char *socket_path, uint64_t ping_period_ns) {
    struct watchdog *watchdog = calloc(1, sizeof *watchdog);
    if (!watchdog) return NULL;
    watchdog->ping_period_ns = ping_period_ns;
    watchdog->tick_ns = LONGEST_TICK_NS;
    if (ping_period_ns && ping_period_ns / 2 < watchdog->tick_ns) watchdog->tick_ns = ping_period_ns / 2;
    atomic_store(&watchdog->progress, NO_PHASE);
    int error = open_socket(watchdog, socket_path);
    if (!error) error = start_thread(watchdog);
    if (error) {
        if (watchdog->socket >= 0) close(watchdog->socket);
        free(watchdog);
        errno = error;
        return NULL;
    }
    return watchdog;
}

void watchdog_stop(struct watchdog *watchdog) {
    pthread_mutex_lock(&watchdog->mutex);
    atomic_store(&watchdog->stopping, true);
    pthread_cond_signal(&watchdog->wake_up);
    pthread_mutex_unlock(&watchdog->mutex);
    pthread_join(watchdog->thread, NULL);
    pthread_cond_destroy(&watchdog->wake_up);
    pthread_mutex_destroy(&watchdog->mutex);
    if (watchdog->socket >= 0) close(watchdog->socket);
    free(watchdog);
}

int watchdog_declare(struct watchdog *watchdog, const char *name, uint64_t limit_ns) {
    uint32_t number = atomic_load(&watchdog->phase_count);
    size_t length = strlen(name);
    if (!limit_ns || length >= WATCHDOG_NAME_MAX) {
        errno = EINVAL;
        return -1;
    }
    if (number == WATCHDOG_PHASES_MAX) {
        errno = ENOSPC;
        return -1;
    }
    memcpy(watchdog->phases[number].name, name, length + 1);
    watchdog->phases[number].limit_ns = limit_ns;
    atomic_store(&watchdog->phase_count, number + 1); /* after its content */
    return (int)number;
}

bool watchdog_enter(struct watchdog *watchdog, int phase) {
    if (phase < 0 || (uint32_t)phase >= atomic_load(&watchdog->phase_count)) return false;
    uint64_t entries = atomic_load(&watchdog->progress) >> 8;
    atomic_store(&watchdog->progress, (entries + 1) << 8 | (uint64_t)phase);
    return true;
}

void watchdog_ready(struct watchdog *watchdog) { atomic_store(&watchdog->ready, true); }

void watchdog_guard(struct watchdog *watchdog, struct depthd_header *header) {
    atomic_store(&watchdog->guarded, header);
}
