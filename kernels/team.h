/* A few threads that share the parts of one job after the other while a frame is worked.
 *
 * The caller works too and never waits for a helper that sleeps or that the system does not run: helpers take parts as they
 * come, and only parts that somebody has begun are waited for. What a part computes must not depend on who works it.
 */
#ifndef DEPTHD_TEAM_H
#define DEPTHD_TEAM_H

typedef struct DepthdTeam DepthdTeam;

/* worker: 0 for the caller, below the team's size for helpers; no two work under the same number at a time. */
typedef void (*DepthdWork)(void *context, int part, int worker);

enum { DEPTHD_TEAM_PARTS = 65535 }; /* of one job at most */

/* NULL if there is not enough memory. Helpers that cannot be started are done without. */
DepthdTeam *depthd_team_create(int size);
void depthd_team_destroy(DepthdTeam *team);
/* Wakes the helpers; until closed they look for work without sleeping. */
void depthd_team_open(DepthdTeam *team);
void depthd_team_close(DepthdTeam *team);
/* Returns when all parts of the job, 0 to parts - 1, are done. */
void depthd_team_share(DepthdTeam *team, int parts, DepthdWork work, void *context);

#endif
