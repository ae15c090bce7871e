/* The writer's side of depthd.h: laying out a file, taking it over, publishing frames. One writer, one thread. */
#ifndef DEPTHD_SHM_H
#define DEPTHD_SHM_H

#include "depthd.h"

#include <pthread.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct depthd_plane_request {
    uint32_t id, width, height;
} depthd_plane_request;

/* Fills in the layout part of a header: 1, or 0 if a plane is unknown or the sizes are out of range. */
int depthd_plan_layout(depthd_header *header, uint32_t slot_count, const depthd_plane_request *planes,
                       uint32_t plane_count, uint64_t page_bytes);

/* 1 if a file with header `found` can be taken over by a writer that wants `wanted`. */
int depthd_same_layout(const depthd_header *found, const depthd_header *wanted);

/* Takes the writer's lock on the open file description: 1, or 0 if another has it (errno EAGAIN) or it fails. */
int depthd_lock_writer(int fd);

typedef enum depthd_lock_holder { DEPTHD_HELD_BY_NOBODY, DEPTHD_HELD_BY_READER, DEPTHD_HELD_BY_WRITER } depthd_lock_holder;

/* Who keeps depthd_lock_writer from succeeding on this file description; -1 on failure. */
int depthd_find_lock_holder(int fd);

typedef struct depthd_identity {
    uint64_t writer_id;
    uint32_t pid;
    int64_t started_monotonic_ns, started_realtime_ns;
    uint8_t boot_id[16];
    depthd_camera camera;
    char description[256];
    char software[64];
} depthd_identity;

/* A thread that wakes the many, so that publishing costs the same with two readers and with two hundred. */
typedef struct depthd_waker {
    pthread_t thread;
    uint32_t *wake;  /* the futex word that readers wait on */
    uint32_t posted; /* atomic, futex: changes with every request */
    uint32_t many;   /* atomic: more than one reader slept when the last frame came */
    uint32_t stop;   /* atomic */
    int runs;
} depthd_waker;

typedef struct depthd_writer {
    depthd_header *header;
    uint32_t slot; /* being written, or DEPTHD_NO_SLOT */
    uint64_t next_id;
    depthd_waker *waker; /* NULL: the publishing thread wakes everybody itself */
} depthd_writer;

/* Starts the thread and has the writer use it: 1, or 0 if there can be no thread. */
int depthd_waker_start(depthd_waker *waker, depthd_writer *writer);

/* Ends the thread; to be called before the mapping goes. */
void depthd_waker_stop(depthd_waker *waker, depthd_writer *writer);

/* Begins to write to a mapping of a new file: copies the planned header into it. */
void depthd_writer_create(depthd_writer *writer, void *mapping, const depthd_header *planned,
                          const depthd_identity *identity);

/* Begins to write to a dead writer's file of the same layout. */
void depthd_writer_adopt(depthd_writer *writer, void *mapping, const depthd_identity *identity);

/* Takes the oldest slot and marks it as being written. A slot that was begun and not published is taken again. */
uint32_t depthd_writer_begin(depthd_writer *writer);

/* Stamps published_ns, makes the slot whole and newest, and wakes the readers. */
void depthd_writer_publish(depthd_writer *writer);

void depthd_writer_set_state(depthd_writer *writer, uint32_t camera_state);

/* The camera came back as another one, of the same size. The next frames carry it as well. */
void depthd_writer_set_camera(depthd_writer *writer, const depthd_camera *camera, const char description[256]);

/* Adds to a counter of the header. */
void depthd_writer_count(uint64_t *counter, uint64_t more);

/* Says that no frame will come here any more, and wakes everybody to tell them. Works on every version. */
void depthd_retire(depthd_header *header);

depthd_slot_meta *depthd_writer_meta(const depthd_writer *writer, uint32_t slot);
uint8_t *depthd_writer_pixels(const depthd_writer *writer, uint32_t slot, uint32_t plane);

/* Stores what readers may copy at the same time; both 8-byte aligned, bytes a multiple of 8. The counterpart of the
 * reader's copy: relaxed atomics, so that the race is defined behaviour, ordered by the sequence around it. */
void depthd_store_words(void *to, const void *from, size_t bytes);

/* Points x right, y down, z forward, from a depth map without row padding; NaN where depth is not finite. */
void depthd_points_from_depth(const float *depth_m, float *xyz, const depthd_camera *camera);

#ifdef __cplusplus
}
#endif
#endif
