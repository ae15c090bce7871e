/* The writer's side of depthd.h. Numbers in comments are the protocol's. */
#include "shm.h"

#include <math.h>

static uint64_t round_up(uint64_t bytes, uint64_t unit) { return (bytes + unit - 1) / unit * unit; }

static const char *plane_name(uint32_t id) {
    static const char *const names[] = {"?", "depth", "source", "sigma", "left", "stereo_depth", "mono", "xyz"};
    return id < sizeof names / sizeof *names ? names[id] : names[0];
}

static int plan_plane(depthd_plane_entry *plane, const depthd_plane_request *request, uint64_t offset) {
    memset(plane, 0, sizeof *plane);
    if (!depthd_plane_kind(request->id, &plane->dtype, &plane->channels)) return 0;
    if (request->width == 0 || request->width > 65536 || request->height == 0 || request->height > 65536) return 0;
    plane->id = request->id;
    plane->width = request->width;
    plane->height = request->height;
    plane->element_bytes = depthd_dtype_bytes(plane->dtype);
    plane->offset = offset;
    plane->row_bytes = (uint64_t)plane->width * plane->channels * plane->element_bytes;
    plane->bytes = plane->row_bytes * plane->height;
    snprintf(plane->name, sizeof plane->name, "%s", plane_name(request->id));
    return 1;
}

int depthd_plan_layout(depthd_header *header, uint32_t slot_count, const depthd_plane_request *planes,
                       uint32_t plane_count, uint64_t page_bytes) {
    if (slot_count < DEPTHD_SLOTS_MIN || slot_count > DEPTHD_SLOTS_MAX) return 0;
    if (plane_count == 0 || plane_count > DEPTHD_PLANES_MAX) return 0;
    memset(header, 0, sizeof *header);
    memcpy(header->magic, DEPTHD_MAGIC, 8);
    header->byte_order = DEPTHD_BYTE_ORDER;
    header->version_major = DEPTHD_VERSION_MAJOR;
    header->version_minor = DEPTHD_VERSION_MINOR;
    header->header_bytes = sizeof *header;
    header->newest = DEPTHD_NO_SLOT;
    header->slot_count = slot_count;
    header->plane_count = plane_count;
    header->meta_offset = round_up(sizeof *header, page_bytes);
    header->meta_bytes = sizeof(depthd_slot_meta);
    header->data_offset = header->meta_offset + round_up(slot_count * header->meta_bytes, page_bytes);
    for (uint32_t i = 0; i < plane_count; i++) {
        if (!plan_plane(&header->planes[i], &planes[i], header->slot_bytes)) return 0;
        header->slot_bytes += round_up(header->planes[i].bytes, page_bytes);
    }
    header->total_bytes = header->data_offset + slot_count * header->slot_bytes;
    return 1;
}

int depthd_same_layout(const depthd_header *found, const depthd_header *wanted) {
    const size_t fixed = offsetof(depthd_header, wake);
    const size_t layout = offsetof(depthd_header, slot_count);
    return memcmp(found, wanted, fixed) == 0 &&
           memcmp(&found->slot_count, &wanted->slot_count, offsetof(depthd_header, identity_sequence) - layout) == 0 &&
           memcmp(found->planes, wanted->planes, sizeof found->planes) == 0;
}

static struct flock whole_life_lock(short type) {
    struct flock lock;
    memset(&lock, 0, sizeof lock);
    lock.l_type = type;
    lock.l_whence = SEEK_SET;
    lock.l_len = 1;
    return lock;
}

int depthd_lock_writer(int fd) {
    struct flock lock = whole_life_lock(F_WRLCK);
    return fcntl(fd, F_OFD_SETLK, &lock) == 0;
}

int depthd_find_lock_holder(int fd) {
    struct flock lock = whole_life_lock(F_WRLCK);
    if (fcntl(fd, F_OFD_GETLK, &lock) != 0) return -1;
    if (lock.l_type == F_UNLCK) return DEPTHD_HELD_BY_NOBODY;
    return lock.l_type == F_WRLCK ? DEPTHD_HELD_BY_WRITER : DEPTHD_HELD_BY_READER;
}

/* Orders every store before it before every store after it. */
static void store_fence(void) {
#if defined(__SANITIZE_THREAD__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wtsan"
#endif
    __atomic_thread_fence(__ATOMIC_RELEASE);
#if defined(__SANITIZE_THREAD__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif
}

/* Makes an even sequence odd; one that a crash left odd becomes another odd number. Relaxed: there is one writer. */
static void begin_sequence(uint64_t *sequence) {
    uint64_t odd = (__atomic_load_n(sequence, __ATOMIC_RELAXED) + 1) | 1;
    __atomic_store_n(sequence, odd, __ATOMIC_RELAXED);
    store_fence(); /* whoever sees what is written next can see the odd sequence (7) */
}

/* Release: whoever sees the even sequence sees what was written before (9). */
static void end_sequence(uint64_t *sequence) {
    __atomic_store_n(sequence, __atomic_load_n(sequence, __ATOMIC_RELAXED) + 1, __ATOMIC_RELEASE);
}

static int wake_futex(uint32_t *word, int operation, int at_most) {
    return (int)syscall(SYS_futex, word, operation, at_most, NULL, NULL, 0);
}

static void wake_readers(depthd_header *header) {
    /* Release: whoever waits for the word to change sees what changed before it. */
    __atomic_fetch_add(&header->wake, 1, __ATOMIC_RELEASE);
    wake_futex(&header->wake, FUTEX_WAKE, INT_MAX);
}

/* Waking is the dearest part of publishing. A single reader is woken at once; for more, this thread wakes another one that
 * wakes them all, so that the cost no longer depends on how many there are. Who slept last time tells which it is. */
static void wake_readers_of_frame(depthd_writer *writer) {
    depthd_waker *waker = writer->waker;
    if (waker == NULL) {
        wake_readers(writer->header);
        return;
    }
    __atomic_fetch_add(&writer->header->wake, 1, __ATOMIC_RELEASE); /* as above */
    /* Relaxed: a guess; a wrong one costs time, and wakes everybody all the same. */
    if (!__atomic_load_n(&waker->many, __ATOMIC_RELAXED) && wake_futex(&writer->header->wake, FUTEX_WAKE, 2) < 2) return;
    /* Release: the thread that sees the request sees the changed word. */
    __atomic_fetch_add(&waker->posted, 1, __ATOMIC_RELEASE);
    wake_futex(&waker->posted, FUTEX_WAKE_PRIVATE, 1);
}

static void *wake_for_ever(void *argument) {
    depthd_waker *waker = (depthd_waker *)argument;
    uint32_t served = 0;
    while (!__atomic_load_n(&waker->stop, __ATOMIC_ACQUIRE)) { /* acquire: with the release of the request */
        uint32_t posted = __atomic_load_n(&waker->posted, __ATOMIC_ACQUIRE);
        if (posted != served) {
            served = posted;
            int woken = wake_futex(waker->wake, FUTEX_WAKE, INT_MAX);
            __atomic_store_n(&waker->many, woken > 1, __ATOMIC_RELAXED); /* a guess, as above */
        } else {
            syscall(SYS_futex, &waker->posted, FUTEX_WAIT_PRIVATE, posted, NULL, NULL, 0);
        }
    }
    return NULL;
}

int depthd_waker_start(depthd_waker *waker, depthd_writer *writer) {
    memset(waker, 0, sizeof *waker);
    waker->wake = &writer->header->wake;
    waker->runs = pthread_create(&waker->thread, NULL, wake_for_ever, waker) == 0;
    if (waker->runs) writer->waker = waker;
    return waker->runs;
}

void depthd_waker_stop(depthd_waker *waker, depthd_writer *writer) {
    if (!waker->runs) return;
    writer->waker = NULL;
    __atomic_store_n(&waker->stop, 1, __ATOMIC_RELEASE);
    __atomic_fetch_add(&waker->posted, 1, __ATOMIC_RELEASE); /* release: whoever sees it sees `stop` */
    wake_futex(&waker->posted, FUTEX_WAKE_PRIVATE, 1);
    pthread_join(waker->thread, NULL);
    waker->runs = 0;
}

void depthd_store_words(void *to, const void *from, size_t bytes) {
    uint64_t *target = (uint64_t *)to;
    const uint64_t *source = (const uint64_t *)from;
    for (size_t i = 0; i < bytes / 8; i++) __atomic_store_n(&target[i], source[i], __ATOMIC_RELAXED);
}

static void write_identity(depthd_header *header, const depthd_identity *identity) {
    begin_sequence(&header->identity_sequence);
    __atomic_store_n(&header->pid, identity->pid, __ATOMIC_RELAXED);
    __atomic_store_n(&header->started_monotonic_ns, identity->started_monotonic_ns, __ATOMIC_RELAXED);
    __atomic_store_n(&header->started_realtime_ns, identity->started_realtime_ns, __ATOMIC_RELAXED);
    depthd_store_words(header->boot_id, identity->boot_id, sizeof header->boot_id);
    depthd_store_words(&header->camera, &identity->camera, sizeof header->camera);
    depthd_store_words(header->description, identity->description, sizeof header->description);
    depthd_store_words(header->software, identity->software, sizeof header->software);
    __atomic_store_n(&header->writer_id, identity->writer_id, __ATOMIC_RELAXED);
    end_sequence(&header->identity_sequence);
    depthd_writer_count(&header->dropped, -header->dropped);
    depthd_writer_count(&header->deadline_misses, -header->deadline_misses);
    depthd_writer_count(&header->reconnects, -header->reconnects);
}

static void start_writer(depthd_writer *writer, depthd_header *header, uint64_t next_id) {
    writer->header = header;
    writer->slot = DEPTHD_NO_SLOT;
    writer->next_id = next_id;
    writer->waker = NULL;
    depthd_writer_set_state(writer, DEPTHD_CAMERA_OPENING);
}

void depthd_writer_create(depthd_writer *writer, void *mapping, const depthd_header *planned,
                          const depthd_identity *identity) {
    depthd_header *header = (depthd_header *)mapping;
    *header = *planned;
    write_identity(header, identity);
    start_writer(writer, header, 1);
}

void depthd_writer_adopt(depthd_writer *writer, void *mapping, const depthd_identity *identity) {
    depthd_header *header = (depthd_header *)mapping;
    writer->header = header;
    /* The dead writer may have finished a slot without counting it: ids must never come twice. */
    uint64_t last_id = __atomic_load_n(&header->published, __ATOMIC_RELAXED);
    for (uint32_t i = 0; i < header->slot_count; i++) {
        uint64_t id = depthd_writer_meta(writer, i)->id;
        if (id > last_id) last_id = id;
    }
    uint32_t newest = __atomic_load_n(&header->newest, __ATOMIC_RELAXED);
    if (newest >= header->slot_count || depthd_writer_meta(writer, newest)->sequence & 1) {
        /* Not what a writer leaves, but memory that anybody of the same user could write. */
        __atomic_store_n(&header->newest, DEPTHD_NO_SLOT, __ATOMIC_RELEASE);
    }
    __atomic_store_n(&header->retired, 0, __ATOMIC_RELEASE);
    write_identity(header, identity);
    start_writer(writer, header, last_id + 1);
}

depthd_slot_meta *depthd_writer_meta(const depthd_writer *writer, uint32_t slot) {
    uint8_t *base = (uint8_t *)writer->header;
    return (depthd_slot_meta *)(void *)(base + writer->header->meta_offset + slot * writer->header->meta_bytes);
}

uint8_t *depthd_writer_pixels(const depthd_writer *writer, uint32_t slot, uint32_t plane) {
    const depthd_header *header = writer->header;
    return (uint8_t *)writer->header + header->data_offset + slot * header->slot_bytes + header->planes[plane].offset;
}

uint32_t depthd_writer_begin(depthd_writer *writer) {
    /* Relaxed: only this thread stores it. */
    uint32_t newest = __atomic_load_n(&writer->header->newest, __ATOMIC_RELAXED);
    uint32_t slot = newest == DEPTHD_NO_SLOT ? 0 : (newest + 1) % writer->header->slot_count;
    writer->slot = slot;
    begin_sequence(&depthd_writer_meta(writer, slot)->sequence);
    return slot;
}

void depthd_writer_publish(depthd_writer *writer) {
    depthd_header *header = writer->header;
    depthd_slot_meta *meta = depthd_writer_meta(writer, writer->slot);
    const uint64_t id = writer->next_id++;
    /* Relaxed, like all that a reader may copy meanwhile: the order comes from the sequence. */
    __atomic_store_n(&meta->id, id, __ATOMIC_RELAXED);
    __atomic_store_n(&meta->writer_id, __atomic_load_n(&header->writer_id, __ATOMIC_RELAXED), __ATOMIC_RELAXED);
    __atomic_store_n(&meta->camera_state, __atomic_load_n(&header->camera_state, __ATOMIC_RELAXED), __ATOMIC_RELAXED);
    __atomic_store_n(&meta->times.published_ns, depthd_now_ns(), __ATOMIC_RELAXED);
    end_sequence(&meta->sequence);
    /* Release: whoever finds the slot here finds its even sequence (10). */
    __atomic_store_n(&header->newest, writer->slot, __ATOMIC_RELEASE);
    __atomic_store_n(&header->published, id, __ATOMIC_RELAXED); /* a statistic: nothing hangs on its order */
    writer->slot = DEPTHD_NO_SLOT;
    wake_readers_of_frame(writer);
}

void depthd_writer_set_state(depthd_writer *writer, uint32_t camera_state) {
    /* Relaxed: the change of `wake` after it is the release. */
    __atomic_store_n(&writer->header->camera_state, camera_state, __ATOMIC_RELAXED);
    wake_readers(writer->header);
}

void depthd_writer_set_camera(depthd_writer *writer, const depthd_camera *camera, const char description[256]) {
    begin_sequence(&writer->header->identity_sequence);
    depthd_store_words(&writer->header->camera, camera, sizeof *camera);
    depthd_store_words(writer->header->description, description, sizeof writer->header->description);
    end_sequence(&writer->header->identity_sequence);
}

void depthd_writer_count(uint64_t *counter, uint64_t more) {
    /* Relaxed: statistics, nothing hangs on their order. */
    __atomic_fetch_add(counter, more, __ATOMIC_RELAXED);
}

void depthd_retire(depthd_header *header) {
    /* Release: whoever sees the mark sees the last state. */
    __atomic_store_n(&header->retired, 1, __ATOMIC_RELEASE);
    wake_readers(header);
}

void depthd_points_from_depth(const float *depth_m, float *xyz, const depthd_camera *camera) {
    const float per_fx = (float)(1.0 / camera->fx), per_fy = (float)(1.0 / camera->fy);
    for (uint32_t y = 0; y < camera->height; y++) {
        const float slope_y = ((float)y - (float)camera->cy) * per_fy;
        const float *depth = depth_m + (size_t)y * camera->width;
        float *point = xyz + (size_t)y * camera->width * 3;
        for (uint32_t x = 0; x < camera->width; x++) {
            const float z = isfinite(depth[x]) ? depth[x] : NAN;
            point[3 * x] = ((float)x - (float)camera->cx) * per_fx * z;
            point[3 * x + 1] = slope_y * z;
            point[3 * x + 2] = z;
        }
    }
}
