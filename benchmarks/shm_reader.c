/* The C side of benchmarks/shm.py: shm_reader NAME SECONDS. Prints one latency in nanoseconds a line. */
#include "depthd.h"

#include <stdlib.h>

enum { MOST = 1 << 20 };

int main(int count, char **arguments) {
    static int64_t latencies_ns[MOST];
    depthd_reader reader;
    depthd_frame frame;
    if (count != 3) return 2;
    int error = depthd_open(&reader, arguments[1]);
    if (!error) error = depthd_wait(&reader, 10000000000, &frame);
    int64_t until_ns = depthd_now_ns() + (int64_t)(strtod(arguments[2], NULL) * 1e9);
    int frames = 0;
    while (!error && frames < MOST && depthd_now_ns() < until_ns) {
        error = depthd_wait(&reader, 10000000000, &frame);
        const float *depth = (const float *)depthd_plane(&frame, DEPTHD_PLANE_DEPTH, NULL);
        if (!error && depth != NULL) latencies_ns[frames++] = depthd_now_ns() - frame.meta.times.published_ns;
    }
    if (error) fprintf(stderr, "%s\n", depthd_error_text(error));
    for (int i = 0; i < frames; i++) printf("%lld\n", (long long)latencies_ns[i]);
    depthd_close(&reader);
    return error != DEPTHD_OK;
}
