/* Takes over an object and publishes as fast as it can until it is killed: shm_torture_writer NAME.
 *
 * Every byte of every plane of a frame is `camera_index modulo 251`. */
#include "shm.h"

#include <sched.h>
#include <stdlib.h>

enum { BYTE_VALUES = 251 };

static void fill(depthd_writer *writer, uint32_t slot, uint64_t index) {
    depthd_slot_meta meta;
    memset(&meta, 0, sizeof meta);
    meta.camera_index = index;
    meta.pixels_per_source[0] = (uint32_t)index;
    const size_t first = offsetof(depthd_slot_meta, camera_index);
    depthd_store_words((uint8_t *)depthd_writer_meta(writer, slot) + first, (uint8_t *)&meta + first,
                       sizeof meta - first);
    for (uint32_t i = 0; i < writer->header->plane_count; i++) {
        memset(depthd_writer_pixels(writer, slot, i), (int)(index % BYTE_VALUES), (size_t)writer->header->planes[i].bytes);
    }
}

int main(int count, char **arguments) {
    if (count != 2) return 2;
    depthd_reader reader; /* finds and checks the layout */
    if (depthd_open(&reader, arguments[1]) != DEPTHD_OK) return 1;
    int fd = open(reader.path, O_RDWR | O_CLOEXEC);
    if (fd < 0 || !depthd_lock_writer(fd)) return 1;
    void *mapping = mmap(NULL, (size_t)reader.layout.total_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (mapping == MAP_FAILED) return 1;
    depthd_identity identity;
    memset(&identity, 0, sizeof identity);
    identity.pid = (uint32_t)getpid();
    identity.writer_id = (uint64_t)depthd_now_ns();
    depthd_writer writer;
    depthd_writer_adopt(&writer, mapping, &identity);
    depthd_writer_set_state(&writer, DEPTHD_CAMERA_RUNNING);
    for (uint64_t index = 0;; index++) {
        fill(&writer, depthd_writer_begin(&writer), index);
        depthd_writer_publish(&writer);
        if (index == 0) {
            puts("attached");
            fflush(stdout);
        }
        if (index % 64 == 0) sched_yield();
    }
}
