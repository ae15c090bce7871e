/* Takes frames as fast as it can and looks whether each is whole: shm_torture_reader NAME ACQUISITIONS.
 *
 * Valid C11 and C++17. Every byte of every plane has to be `camera_index modulo 251`. Now and then it dawdles in the
 * middle of a copy, so that the writer comes round: `caught` counts torn copies that the reader disowned, `torn` those
 * that it accepted. Prints one line of JSON. */
#include "depthd.h"

#include <stdlib.h>

enum { BYTE_VALUES = 251, DAWDLE_EVERY = 256 };

typedef struct {
    uint64_t accepted, rejected, torn, caught, reconnects;
} counts;

static int is_uniform(const uint8_t *bytes, size_t count, uint8_t value) {
    uint8_t difference = 0;
    for (size_t i = 0; i < count; i++) difference |= bytes[i] ^ value;
    return difference == 0;
}

static void take_one(const depthd_frame *frame, uint8_t *buffer, size_t size, int dawdle, counts *seen) {
    uint8_t value = (uint8_t)(frame->meta.camera_index % BYTE_VALUES);
    int torn = frame->meta.pixels_per_source[0] != (uint32_t)frame->meta.camera_index;
    for (uint32_t i = 0; i < frame->reader->layout.plane_count; i++) {
        const depthd_plane_entry *plane = &frame->reader->layout.planes[i];
        /* An overwritten plane is looked at all the same: that is what shows that there was something to catch. */
        int error = depthd_copy(frame, (depthd_plane_id)plane->id, buffer, size);
        if (error != DEPTHD_OK && error != DEPTHD_OVERWRITTEN) {
            fprintf(stderr, "%s\n", depthd_error_text(error));
            exit(1);
        }
        torn |= !is_uniform(buffer, (size_t)plane->bytes, value);
        if (dawdle) usleep(500);
    }
    if (depthd_still_valid(frame)) {
        seen->accepted++;
        seen->torn += (uint64_t)torn;
    } else {
        seen->rejected++;
        seen->caught += (uint64_t)torn;
    }
}

int main(int count, char **arguments) {
    if (count != 3) return 2;
    depthd_reader reader;
    depthd_frame frame;
    counts seen = {0, 0, 0, 0, 0};
    uint64_t wanted = strtoull(arguments[2], NULL, 10);
    int error = depthd_open(&reader, arguments[1]);
    if (error) {
        fprintf(stderr, "%s\n", depthd_error_text(error));
        return 1;
    }
    size_t size = (size_t)reader.layout.slot_bytes;
    uint8_t *buffer = (uint8_t *)malloc(size);
    for (uint64_t turn = 0; seen.accepted + seen.rejected < wanted; turn++) {
        /* Mostly the newest at once; now and then the way through the futex. */
        error = turn % 64 ? depthd_acquire(&reader, &frame) : depthd_wait(&reader, 5000000000, &frame);
        if (error == DEPTHD_NO_FRAME) continue;
        if (error == DEPTHD_RETIRED) {
            depthd_close(&reader);
            seen.reconnects++;
            error = depthd_open(&reader, arguments[1]);
            if (!error) continue;
        }
        if (error) {
            fprintf(stderr, "%s\n", depthd_error_text(error));
            return 1;
        }
        take_one(&frame, buffer, size, turn % DAWDLE_EVERY == 0, &seen);
    }
    printf("{\"accepted\": %llu, \"rejected\": %llu, \"torn\": %llu, \"caught\": %llu, \"reconnects\": %llu}\n",
           (unsigned long long)seen.accepted, (unsigned long long)seen.rejected, (unsigned long long)seen.torn,
           (unsigned long long)seen.caught, (unsigned long long)seen.reconnects);
    free(buffer);
    depthd_close(&reader);
    return 0;
}
