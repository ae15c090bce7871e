/* Prints the nearest point inside a box in front of the camera, frame by frame.
 *
 *     cc -O2 nearest_obstacle.c $(depthd paths --cflags) -o nearest_obstacle
 *     ./nearest_obstacle depthd -0.5 0.5  -0.3 0.8  0.1 3.0        # x, y (down) and z (forward), metres
 *
 * An optional last argument ends it after so many frames. */
#include "depthd.h"

#include <math.h>
#include <stdlib.h>

typedef struct {
    float low[3], high[3]; /* x right, y down, z forward, metres */
} box;

typedef struct {
    float x, y, z;
    uint8_t source;
    int found;
} obstacle;

static int contains(const box *b, float x, float y, float z) {
    return x >= b->low[0] && x <= b->high[0] && y >= b->low[1] && y <= b->high[1] && z >= b->low[2] && z <= b->high[2];
}

static obstacle find_nearest(const depthd_frame *frame, const box *b) {
    const depthd_plane_entry *plane;
    const float *depth = (const float *)depthd_plane(frame, DEPTHD_PLANE_DEPTH, &plane);
    const uint8_t *source = (const uint8_t *)depthd_plane(frame, DEPTHD_PLANE_SOURCE, NULL);
    const depthd_camera *camera = &frame->meta.camera; /* the frame's own copy: whole, and of the same moment */
    obstacle nearest = {0, 0, INFINITY, DEPTHD_SOURCE_INVALID, 0};
    if (depth == NULL || source == NULL) return nearest;
    for (uint32_t v = 0; v < plane->height; v++) {
        for (uint32_t u = 0; u < plane->width; u++) {
            const size_t pixel = (size_t)v * plane->width + u;
            const float z = depth[pixel];
            if (!(z < nearest.z)) continue; /* also for NaN, which means unknown */
            const float x = (float)((u - camera->cx) / camera->fx) * z;
            const float y = (float)((v - camera->cy) / camera->fy) * z;
            if (contains(b, x, y, z)) nearest = (obstacle){x, y, z, source[pixel], 1};
        }
    }
    return nearest;
}

static const char *source_name(uint8_t source) {
    static const char *const names[] = {"invalid", "stereo", "mono near", "mono hole", "mono overruled", "blend"};
    return source < sizeof names / sizeof *names ? names[source] : "?";
}

static void print_obstacle(const depthd_frame *frame, const obstacle *o) {
    double age_ms = (double)(depthd_now_ns() - frame->meta.times.captured_ns) * 1e-6;
    if (o->found) {
        printf("frame %llu: %.3f m at x %+.2f y %+.2f (%s), %.1f ms old\n", (unsigned long long)frame->meta.id,
               (double)o->z, (double)o->x, (double)o->y, source_name(o->source), age_ms);
    } else {
        printf("frame %llu: box empty, %.1f ms old\n", (unsigned long long)frame->meta.id, age_ms);
    }
    fflush(stdout);
}

int main(int count, char **arguments) {
    if (count != 8 && count != 9) {
        fprintf(stderr, "usage: %s NAME X0 X1 Y0 Y1 Z0 Z1 [FRAMES]\n", arguments[0]);
        return 2;
    }
    box b;
    for (int axis = 0; axis < 3; axis++) {
        b.low[axis] = strtof(arguments[2 + 2 * axis], NULL);
        b.high[axis] = strtof(arguments[3 + 2 * axis], NULL);
    }
    long frames = count == 9 ? strtol(arguments[8], NULL, 10) : -1;
    depthd_reader reader;
    depthd_frame frame;
    int error = depthd_open(&reader, arguments[1]);
    while (!error && frames != 0) {
        error = depthd_wait(&reader, 1000000000, &frame);
        if (error == DEPTHD_TIMEOUT || error == DEPTHD_WRITER_DIED || error == DEPTHD_INTERRUPTED) {
            fprintf(stderr, "%s\n", depthd_error_text(error)); /* a robot would slow down here */
            error = DEPTHD_OK;
            continue;
        }
        if (error) break;
        const obstacle nearest = find_nearest(&frame, &b);
        if (!depthd_still_valid(&frame)) continue; /* computed from a picture that changed meanwhile: throw it away */
        print_obstacle(&frame, &nearest);
        if (frames > 0) frames--;
    }
    if (error) fprintf(stderr, "%s\n", depthd_error_text(error));
    depthd_close(&reader);
    return error != DEPTHD_OK;
}
