/* The protocol inside one process, for ThreadSanitizer: one writer thread, several readers, one mapping.
 *
 * A sanitizer sees races only between accesses to the same address, so all threads share the writer's mapping.
 * Prints the number of accepted frames; exits with 1 on a torn one. */
#include "shm.h"

#include <pthread.h>
#include <stdlib.h>

enum { READERS = 3, FRAMES = 3000, WIDTH = 16, HEIGHT = 8 };

static depthd_reader shared;
static depthd_writer writer;
static depthd_waker waker;
static uint32_t done, torn, accepted;

static void *write_frames(void *unused) {
    (void)unused;
    for (uint64_t index = 1; index <= FRAMES; index++) {
        uint32_t slot = depthd_writer_begin(&writer);
        uint64_t word = (index % 251) * 0x0101010101010101u;
        __atomic_store_n(&depthd_writer_meta(&writer, slot)->camera_index, index, __ATOMIC_RELAXED);
        for (uint32_t i = 0; i < writer.header->plane_count; i++) {
            uint8_t *pixels = depthd_writer_pixels(&writer, slot, i);
            for (uint64_t at = 0; at < writer.header->planes[i].bytes; at++) {
                __atomic_store_n(pixels + at, (uint8_t)word, __ATOMIC_RELAXED);
            }
        }
        depthd_writer_publish(&writer);
    }
    __atomic_store_n(&done, 1, __ATOMIC_RELEASE);
    depthd_retire(writer.header);
    return NULL;
}

static void *read_frames(void *unused) {
    (void)unused;
    depthd_reader reader = shared; /* one reader a thread; the mapping is common */
    depthd_frame frame;
    uint8_t pixels[WIDTH * HEIGHT * 4];
    for (;;) {
        int error = depthd_wait(&reader, 1000000000, &frame);
        if (error == DEPTHD_RETIRED || __atomic_load_n(&done, __ATOMIC_ACQUIRE)) return NULL;
        if (error != DEPTHD_OK) continue;
        if (depthd_copy(&frame, DEPTHD_PLANE_DEPTH, pixels, sizeof pixels) != DEPTHD_OK) continue;
        __atomic_fetch_add(&accepted, 1, __ATOMIC_RELAXED);
        for (size_t i = 0; i < sizeof pixels; i++) {
            if (pixels[i] != frame.meta.camera_index % 251) __atomic_store_n(&torn, 1, __ATOMIC_RELAXED);
        }
    }
}

int main(void) {
    const depthd_plane_request planes[] = {{DEPTHD_PLANE_DEPTH, WIDTH, HEIGHT}, {DEPTHD_PLANE_SOURCE, WIDTH, HEIGHT}};
    depthd_header plan;
    depthd_identity identity;
    memset(&identity, 0, sizeof identity);
    identity.writer_id = 1;
    if (!depthd_plan_layout(&plan, 3, planes, 2, 4096)) return 2;
    int fd = memfd_create("depthd-threads", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, (off_t)plan.total_bytes) != 0 || !depthd_lock_writer(fd)) return 2;
    void *mapping = mmap(NULL, (size_t)plan.total_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (mapping == MAP_FAILED) return 2;
    depthd_writer_create(&writer, mapping, &plan, &identity);
    if (!depthd_waker_start(&waker, &writer)) return 2;
    memset(&shared, 0, sizeof shared);
    if (depthd_check_header(writer.header, plan.total_bytes, &shared.layout) != DEPTHD_OK) return 2;
    shared.base = (const uint8_t *)mapping;
    shared.fd = fd;
    pthread_t threads[READERS + 1];
    for (int i = 0; i < READERS; i++) pthread_create(&threads[i], NULL, read_frames, NULL);
    pthread_create(&threads[READERS], NULL, write_frames, NULL);
    for (int i = 0; i <= READERS; i++) pthread_join(threads[i], NULL);
    depthd_waker_stop(&waker, &writer);
    printf("%u\n", accepted);
    return torn ? 1 : 0;
}
