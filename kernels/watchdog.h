/* A thread that ends the process when it stands still.
 *
 * The frame loop enters a phase ("opening the camera", "frame", ...) and each phase has a limit. Entering a phase,
 * the same one too, is progress. A thread that needs no lock of Python's looks on:
 *
 *   - while the phase is within its limit it tells the supervisor (systemd's notify protocol) so: WATCHDOG=1, and
 *     before the service is ready EXTEND_TIMEOUT_USEC=, so that a long start is not taken for a failed one;
 *   - past the limit it marks the shared memory as lost, says why, and aborts. The supervisor starts depthd again.
 *
 * Time in which the thread itself did not run (a suspended machine, SIGSTOP) does not count against the phase.
 */
#ifndef DEPTHD_WATCHDOG_H
#define DEPTHD_WATCHDOG_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { WATCHDOG_PHASES_MAX = 32, WATCHDOG_NAME_MAX = 48 };

struct depthd_header;
struct watchdog;

/* socket_path: $NOTIFY_SOCKET ('@' = abstract), or NULL to tell nobody. ping_period_ns: 0 = no WATCHDOG=1.
 * Returns NULL with errno set where the socket or the thread cannot be made. */
struct watchdog *watchdog_start(const char *socket_path, uint64_t ping_period_ns);

/* Ends the thread and frees everything. */
void watchdog_stop(struct watchdog *watchdog);

/* Adds a phase and returns its number, or -1 with errno ENOSPC / EINVAL (table full, name too long, limit 0). */
int watchdog_declare(struct watchdog *watchdog, const char *name, uint64_t limit_ns);

/* The loop is now in this phase and has its whole limit before it. Wait-free. False for a number never declared. */
bool watchdog_enter(struct watchdog *watchdog, int phase);

/* From now on the service counts as started: no more EXTEND_TIMEOUT_USEC. */
void watchdog_ready(struct watchdog *watchdog);

/* The shared memory to mark as lost before the process ends (depthd.h); NULL: none, for example before unmapping. */
void watchdog_guard(struct watchdog *watchdog, struct depthd_header *header);

#ifdef __cplusplus
}
#endif
#endif
