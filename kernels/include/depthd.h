/* depthd.h: depth in shared memory. The wire format, version 1, and a reader. C11 or C++17, Linux, GCC or Clang.
 * SPDX-License-Identifier: Apache-2.0
 *
 * THE PROTOCOL
 *
 * Storage
 *   1. A camera is one file in /dev/shm: a header page, an array of slot metadata, and then the pixels, slot by slot.
 *      Pixels and metadata are apart: metadata is small and is copied, pixels are large and are used where they lie.
 *   2. The header says where everything is and how large. Sizes are read from it, never assumed, so that a newer
 *      minor version may lengthen the header and the metadata or add planes, and an older reader goes on reading.
 *      What grew reads as zero in files of an older minor version. A new major version may change all but the first
 *      128 bytes.
 *   3. The file appears under its name only when its header is complete; it is never seen half made.
 *   4. There is one writer. It holds an open-file-description write lock (F_OFD_SETLK) on byte 0 for as long as it
 *      lives. The kernel drops the lock when the process dies, however it dies. Who wants to know whether a writer
 *      lives asks for the lock (F_OFD_GETLK) and never guesses from process numbers.
 *   5. Readers map the file read-only. They take no lock, leave no trace, and cannot slow or corrupt the writer.
 *
 * Writing a frame
 *   6. Take the slot after the newest, which is the oldest. Never the newest: a reader may always find one whole frame.
 *   7. Make the slot's sequence odd. Release fence: whoever sees new pixels can see the odd sequence.
 *   8. Write pixels and metadata.
 *   9. Make the sequence even, with release order: whoever sees it even sees the pixels.
 *  10. Store the slot's index in `newest`, with release order.
 *  11. Add one to `wake`, and wake the futex on it.
 *
 * Reading a frame
 *  12. Load `newest` (acquire), then the slot's sequence (acquire). Odd: the writer came round; start again.
 *  13. Copy the metadata. Acquire fence. Load the sequence again: unchanged means that the copy is whole.
 *  14. Use the pixels in place, or copy them. Acquire fence. Load the sequence again: unchanged means that what was
 *      used is whole. Otherwise throw the result away and take the newer frame.
 *  15. To wait: load `wake`, look for a frame with a larger id than the last one, and if there is none wait on the futex
 *      for `wake` to change. A frame published in between has changed `wake`, and the wait returns at once.
 *
 * Why validity is checked twice
 *  16. The check before (12) keeps a reader from starting on a slot that is being written. The check after (13, 14)
 *      finds the writer that came round in the meantime: with N slots that takes N - 1 more frames, so it is rare, and
 *      therefore has to be checked. Neither replaces the other: an odd sequence may be unchanged from first to last.
 *
 * Crash and takeover
 *  17. A writer that dies while writing leaves one slot with an odd sequence, which nobody reads, and all others whole.
 *      `newest` still names a whole frame, because the newest slot is never written to (6).
 *  18. Its successor takes the lock. If the layout it wants is the one it finds, it keeps the file: sequences and frame
 *      ids go on from where they were, writer_id changes, and readers attached before the crash notice only a gap.
 *  19. If the layout differs, the successor sets `retired` in the old file, wakes its readers, and puts a new file
 *      under the name. Readers that find `retired` open the name again.
 *  20. A writer that stops in good order sets its state to STOPPED, sets `retired`, wakes everybody, and removes the
 *      name. Memory that readers have mapped stays readable until they let it go.
 *
 * HOW TO READ
 *
 *     depthd_reader reader;
 *     depthd_frame frame;
 *     int error = depthd_open(&reader, "depthd");
 *     while (!error && !(error = depthd_wait(&reader, 1000000000, &frame))) {
 *         const float *depth = (const float *)depthd_plane(&frame, DEPTHD_PLANE_DEPTH, NULL);
 *         float nearest = ...;
 *         if (depthd_still_valid(&frame)) act_on(nearest);
 *     }
 *     fprintf(stderr, "%s\n", depthd_error_text(error));
 *     depthd_close(&reader);
 */
#ifndef DEPTHD_H
#define DEPTHD_H

#if !defined(_GNU_SOURCE)
#define _GNU_SOURCE 1
#endif

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#if !defined(O_CLOEXEC) || !defined(O_NOFOLLOW)
#error "include depthd.h before other headers, or compile with -D_GNU_SOURCE or -std=gnu11"
#endif
#if !defined(F_OFD_GETLK)
#define F_OFD_GETLK 36
#define F_OFD_SETLK 37
#endif

/* For the larger functions: once per file that includes this, and without a warning where it is not used. */
#define DEPTHD_FUNCTION __attribute__((noinline, unused)) static

#ifdef __cplusplus
#define DEPTHD_STATIC_ASSERT(condition) static_assert(condition, #condition)
extern "C" {
#else
#define DEPTHD_STATIC_ASSERT(condition) _Static_assert(condition, #condition)
#endif

/* ---------------------------------------------------------------- layout */

#define DEPTHD_MAGIC "DEPTHDSM" /* 8 bytes, no terminator */
#define DEPTHD_BYTE_ORDER 0x01020304u
#define DEPTHD_VERSION_MAJOR 1
#define DEPTHD_VERSION_MINOR 1
#define DEPTHD_DIRECTORY "/dev/shm/"
#define DEPTHD_NAME_MAX 64
#define DEPTHD_PLANES_MAX 16
#define DEPTHD_SLOTS_MIN 3
#define DEPTHD_SLOTS_MAX 64
#define DEPTHD_SOURCES_MAX 32
#define DEPTHD_NO_SLOT 0xffffffffu
#define DEPTHD_ALIGNMENT 64

typedef enum depthd_plane_id {
    DEPTHD_PLANE_DEPTH = 1,        /* float32, metres along the optical axis, NaN = unknown */
    DEPTHD_PLANE_SOURCE = 2,       /* uint8, depthd_source */
    DEPTHD_PLANE_SIGMA = 3,        /* float16, one-sigma relative error, NaN where depth is unknown */
    DEPTHD_PLANE_LEFT = 4,         /* uint8 x 3, BGR, rectified left picture */
    DEPTHD_PLANE_STEREO_DEPTH = 5, /* float32, metres; NaN unmatched, -inf too near, +inf too far */
    DEPTHD_PLANE_MONO = 6,         /* float32, output of the network, at its own size */
    DEPTHD_PLANE_XYZ = 7           /* float32 x 3, metres, x right, y down, z forward; NaN = unknown */
} depthd_plane_id;

typedef enum depthd_dtype {
    DEPTHD_U8 = 1,
    DEPTHD_U16 = 2,
    DEPTHD_I32 = 3,
    DEPTHD_F16 = 4,
    DEPTHD_F32 = 5,
    DEPTHD_F64 = 6
} depthd_dtype;

typedef enum depthd_source {
    DEPTHD_SOURCE_INVALID = 0,
    DEPTHD_SOURCE_STEREO = 1,
    DEPTHD_SOURCE_MONO_NEAR = 2,      /* nearer than stereo can measure */
    DEPTHD_SOURCE_MONO_HOLE = 3,      /* unmatched, occluded or too far for stereo */
    DEPTHD_SOURCE_MONO_OVERRULED = 4, /* stereo had a value, and it was rejected */
    DEPTHD_SOURCE_BLEND = 5           /* the seam at the rim of a hole */
} depthd_source;

typedef enum depthd_fit_status { DEPTHD_FIT_UNFIT = 0, DEPTHD_FIT_FITTED = 1, DEPTHD_FIT_HELD = 2 } depthd_fit_status;

typedef enum depthd_camera_state {
    DEPTHD_CAMERA_OPENING = 1,
    DEPTHD_CAMERA_RUNNING = 2,
    DEPTHD_CAMERA_LOST = 3,   /* the daemon lives and tries to open the camera again */
    DEPTHD_CAMERA_STOPPED = 4 /* the daemon ended in good order */
} depthd_camera_state;

/* A rectified pinhole stereo camera; pixel centres at integers. depth = fx * baseline / (disparity + doffs). */
typedef struct depthd_camera {
    uint32_t width, height;
    double fx, fy, cx, cy; /* px */
    double baseline_m;
    double doffs_px;
    uint64_t reserved;
} depthd_camera;

typedef struct depthd_plane_entry {
    uint32_t id;    /* depthd_plane_id; readers skip ids they do not know */
    uint32_t dtype; /* depthd_dtype */
    uint32_t width, height, channels, element_bytes;
    uint64_t offset; /* from the start of the slot's pixels; a multiple of the page size of the writer's machine */
    uint64_t row_bytes;
    uint64_t bytes;
    char name[16]; /* for people and tools */
} depthd_plane_entry;

typedef struct depthd_header {
    /* For ever the same in every version: the first 128 bytes. */
    char magic[8];
    uint32_t byte_order; /* DEPTHD_BYTE_ORDER as the writer's machine stores it */
    uint16_t version_major, version_minor;
    uint64_t total_bytes;  /* of the file */
    uint64_t header_bytes; /* of this structure, as the writer knows it */
    uint64_t reserved_0[4];

    uint32_t wake;         /* atomic, futex: changes with every frame and every change of state */
    uint32_t newest;       /* atomic: index of the newest whole slot, or DEPTHD_NO_SLOT */
    uint32_t retired;      /* atomic: not 0 = no frame will ever come here again, open the name anew */
    uint32_t camera_state; /* atomic: depthd_camera_state */
    uint64_t writer_id;    /* atomic: random, another one for every writer process */
    uint64_t published;    /* atomic: frames published, over all writers of this file */
    uint64_t dropped;      /* atomic: frames that the camera or the pipeline lost, this writer */
    uint64_t deadline_misses;
    uint64_t reconnects; /* of the camera */
    uint64_t reserved_1;

    /* Version 1 from here on. The layout never changes during the life of a file. */
    uint32_t slot_count, plane_count;
    uint64_t meta_offset, meta_bytes; /* slot i's metadata: meta_offset + i * meta_bytes */
    uint64_t data_offset, slot_bytes; /* slot i's pixels: data_offset + i * slot_bytes; page aligned */
    uint64_t reserved_2[3];

    /* Who writes, changed by a takeover, and which camera, changed also when it comes back with another calibration:
     * whole if identity_sequence is even and the same before and after. */
    uint64_t identity_sequence; /* atomic */
    uint32_t pid, reserved_3;   /* in the writer's own process namespace: for people, never to tell alive from dead */
    int64_t started_monotonic_ns, started_realtime_ns;
    uint8_t boot_id[16];
    uint64_t reserved_4[2];
    depthd_camera camera;
    char description[256]; /* of the camera; UTF-8, terminated */
    char software[64];     /* of the writer; UTF-8, terminated */

    depthd_plane_entry planes[DEPTHD_PLANES_MAX];
    uint8_t reserved_5[2432];
} depthd_header;

/* CLOCK_MONOTONIC nanoseconds at which the frame left each stage; 0 where the stage did not run. */
typedef struct depthd_times {
    int64_t captured_ns, grabbed_ns, matched_ns, inferred_ns, fused_ns, published_ns;
    int64_t reserved[10];
} depthd_times;

/* inverse depth = scale * mono + shift. */
typedef struct depthd_fit {
    double scale;        /* 1/m per unit of mono */
    double shift;        /* 1/m */
    double residual;     /* robust standard deviation, fraction of the inverse depth */
    double inlier_share; /* of the samples */
    double pearson_r;
    uint32_t sample_count;
    uint32_t age_frames; /* 0 = fitted in this frame */
    uint32_t status;     /* depthd_fit_status */
    uint32_t reserved_0;
    uint64_t reserved_1;
} depthd_fit;

/* Where the left camera was: reserved, all zero in version 1.0. */
typedef struct depthd_pose {
    double position_m[3];
    double orientation_xyzw[4];
    uint32_t valid; /* 0: no pose */
    uint32_t reserved_0;
    uint64_t reserved_1[8];
} depthd_pose;

#define DEPTHD_DEVICE_NONE 0u
#define DEPTHD_DEVICE_CUDA 1u

/* The same frame on a GPU, for processes that work there; since version 1.1, all zero where there is none. Open `memory`
 * (cudaIpcOpenMemHandle), which stays the same for as long as writer_id does; let the stream wait for `event`
 * (cudaIpcOpenEventHandle). Planes lie behind `offset` as they do in the slot's pixels, and are whole as long as those are. */
typedef struct depthd_device_copy {
    uint32_t kind; /* DEPTHD_DEVICE_NONE, DEPTHD_DEVICE_CUDA */
    uint32_t reserved_0;
    uint64_t planes; /* bit n set: the plane with depthd_plane_id n is there */
    uint64_t offset; /* of the slot */
    uint64_t bytes;  /* of all slots together */
    uint8_t uuid[16]; /* of the GPU */
    uint8_t memory[64]; /* cudaIpcMemHandle_t */
    uint8_t event[64];  /* cudaIpcEventHandle_t */
    uint64_t reserved_1[2];
} depthd_device_copy;

typedef struct depthd_slot_meta {
    uint64_t sequence; /* atomic: odd while the slot is written, 0 = never written */
    uint64_t id;       /* counts published frames from 1, over all writers of this file; a gap means frames missed */
    uint64_t writer_id;
    uint64_t camera_index; /* the camera's own count of pictures; starts again when the camera is opened again */
    uint32_t camera_state;
    uint32_t flags;
    uint64_t dropped; /* frames lost before this one, since the writer started */
    int64_t picture_clock_ns;
    uint64_t reserved_0;
    depthd_times times;
    depthd_camera camera;
    depthd_fit fit;
    uint32_t pixels_per_source[DEPTHD_SOURCES_MAX]; /* index: depthd_source */
    depthd_pose pose;
    depthd_device_copy device_copy;
    uint8_t reserved_1[256];
} depthd_slot_meta;

DEPTHD_STATIC_ASSERT(sizeof(depthd_camera) == 64);
DEPTHD_STATIC_ASSERT(sizeof(depthd_plane_entry) == 64);
DEPTHD_STATIC_ASSERT(sizeof(depthd_times) == 128);
DEPTHD_STATIC_ASSERT(sizeof(depthd_fit) == 64);
DEPTHD_STATIC_ASSERT(sizeof(depthd_pose) == 128);
DEPTHD_STATIC_ASSERT(sizeof(depthd_device_copy) == 192);
DEPTHD_STATIC_ASSERT(offsetof(depthd_header, wake) == 64);
DEPTHD_STATIC_ASSERT(offsetof(depthd_header, slot_count) == 128);
DEPTHD_STATIC_ASSERT(offsetof(depthd_header, identity_sequence) == 192);
DEPTHD_STATIC_ASSERT(offsetof(depthd_header, camera) == 256);
DEPTHD_STATIC_ASSERT(offsetof(depthd_header, planes) == 640);
DEPTHD_STATIC_ASSERT(sizeof(depthd_header) == 4096);
DEPTHD_STATIC_ASSERT(offsetof(depthd_slot_meta, times) == 64);
DEPTHD_STATIC_ASSERT(offsetof(depthd_slot_meta, camera) == 192);
DEPTHD_STATIC_ASSERT(offsetof(depthd_slot_meta, fit) == 256);
DEPTHD_STATIC_ASSERT(offsetof(depthd_slot_meta, pixels_per_source) == 320);
DEPTHD_STATIC_ASSERT(offsetof(depthd_slot_meta, pose) == 448);
DEPTHD_STATIC_ASSERT(offsetof(depthd_slot_meta, device_copy) == 576);
DEPTHD_STATIC_ASSERT(sizeof(depthd_slot_meta) == 1024);
DEPTHD_STATIC_ASSERT(sizeof(off_t) == 8);

/* ---------------------------------------------------------------- errors */

typedef enum depthd_error {
    DEPTHD_OK = 0,
    DEPTHD_NOT_RUNNING = 1,
    DEPTHD_PERMISSION_DENIED = 2,
    DEPTHD_NOT_DEPTHD = 3,
    DEPTHD_WRONG_VERSION = 4,
    DEPTHD_WRONG_BYTE_ORDER = 5,
    DEPTHD_DAMAGED = 6,
    DEPTHD_TIMEOUT = 7,
    DEPTHD_WRITER_DIED = 8,
    DEPTHD_RETIRED = 9,
    DEPTHD_INTERRUPTED = 10,
    DEPTHD_NO_FRAME = 11,
    DEPTHD_OVERWRITTEN = 12,
    DEPTHD_NO_PLANE = 13,
    DEPTHD_TOO_SMALL = 14,
    DEPTHD_BAD_NAME = 15,
    DEPTHD_SYSTEM = 16
} depthd_error;

static inline const char *depthd_error_text(int error) {
    switch (error) {
    case DEPTHD_OK: return "no error";
    case DEPTHD_NOT_RUNNING: return "nobody publishes under this name; start depthd";
    case DEPTHD_PERMISSION_DENIED: return "no permission to read the shared memory; join the group that owns it";
    case DEPTHD_NOT_DEPTHD: return "the file of this name in /dev/shm is not depthd's; use another name";
    case DEPTHD_WRONG_VERSION: return "the writer speaks another major version of the format; update the older side";
    case DEPTHD_WRONG_BYTE_ORDER: return "the file was written on a machine of the other byte order";
    case DEPTHD_DAMAGED: return "the header contradicts itself; restart depthd";
    case DEPTHD_TIMEOUT: return "no new frame in time; the writer lives";
    case DEPTHD_WRITER_DIED: return "no new frame in time, and the writer is dead; wait again for its successor";
    case DEPTHD_RETIRED: return "no frame will come in this object any more; open the name again";
    case DEPTHD_INTERRUPTED: return "a signal arrived; wait again";
    case DEPTHD_NO_FRAME: return "no frame yet, or the writer is too fast for this reader; wait";
    case DEPTHD_OVERWRITTEN: return "the writer came round and overwrote the frame; take the newer one";
    case DEPTHD_NO_PLANE: return "this writer does not publish this plane; add it to shared_memory.planes";
    case DEPTHD_TOO_SMALL: return "the buffer is too small for the plane";
    case DEPTHD_BAD_NAME: return "a name has 1 to 64 letters, digits, '_', '-' or '.'";
    case DEPTHD_SYSTEM: return "the operating system refused; see errno";
    default: return "unknown error";
    }
}

/* ---------------------------------------------------------------- reader */

/* What a reader has checked and keeps for itself: the file is trusted only once. */
typedef struct depthd_layout {
    uint32_t slot_count, plane_count;
    uint64_t total_bytes, meta_offset, meta_bytes, data_offset, slot_bytes;
    depthd_plane_entry planes[DEPTHD_PLANES_MAX];
} depthd_layout;

/* One reader belongs to one thread; any number of readers may be open. */
typedef struct depthd_reader {
    const uint8_t *base; /* the mapping, read-only; NULL = closed */
    int fd;
    uint64_t device, inode;
    uint64_t last_id; /* id of the frame that depthd_wait returned last */
    depthd_layout layout;
    char path[sizeof(DEPTHD_DIRECTORY) + DEPTHD_NAME_MAX];
} depthd_reader;

/* A frame points into the mapping: it is void after depthd_close, and has to be checked with depthd_still_valid. */
typedef struct depthd_frame {
    const depthd_reader *reader;
    uint32_t slot;
    uint64_t sequence;
    depthd_slot_meta meta; /* a whole copy */
} depthd_frame;

static inline int64_t depthd_now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Orders every load before it in program order before every load after it: pixels before the second look at the
 * sequence. (ThreadSanitizer does not model fences; GCC says so, and the payload is then loaded by atomics below.) */
static inline void depthd_load_fence_(void) {
#if defined(__SANITIZE_THREAD__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wtsan"
#endif
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
#if defined(__SANITIZE_THREAD__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif
}

/* Copies while a writer may write the same bytes; bytes is a multiple of 8. Each load is a relaxed atomic, so that the
 * race is defined behaviour; the order comes from the fence and the sequence around it. */
static inline void depthd_copy_words_(void *to, const void *from, size_t bytes) {
    uint64_t *target = (uint64_t *)to;
    const uint64_t *source = (const uint64_t *)from;
    for (size_t i = 0; i < bytes / 8; i++) {
        target[i] = __atomic_load_n(&source[i], __ATOMIC_RELAXED);
    }
}

static inline void depthd_copy_bytes_(void *to, const void *from, size_t bytes) {
#if defined(__SANITIZE_THREAD__)
    for (size_t i = 0; i < bytes; i++) {
        ((uint8_t *)to)[i] = __atomic_load_n((const uint8_t *)from + i, __ATOMIC_RELAXED);
    }
#else
    memcpy(to, from, bytes);
#endif
}

static inline uint32_t depthd_dtype_bytes(uint32_t dtype) {
    switch (dtype) {
    case DEPTHD_U8: return 1;
    case DEPTHD_U16:
    case DEPTHD_F16: return 2;
    case DEPTHD_I32:
    case DEPTHD_F32: return 4;
    case DEPTHD_F64: return 8;
    default: return 0;
    }
}

/* What a plane of version 1 holds. Returns 0 for an id that version 1 does not know. */
static inline int depthd_plane_kind(uint32_t id, uint32_t *dtype, uint32_t *channels) {
    *channels = id == DEPTHD_PLANE_LEFT || id == DEPTHD_PLANE_XYZ ? 3 : 1;
    switch (id) {
    case DEPTHD_PLANE_SOURCE:
    case DEPTHD_PLANE_LEFT: *dtype = DEPTHD_U8; return 1;
    case DEPTHD_PLANE_SIGMA: *dtype = DEPTHD_F16; return 1;
    case DEPTHD_PLANE_DEPTH:
    case DEPTHD_PLANE_STEREO_DEPTH:
    case DEPTHD_PLANE_MONO:
    case DEPTHD_PLANE_XYZ: *dtype = DEPTHD_F32; return 1;
    default: return 0;
    }
}

/* count * size fits between offset and total, without overflow. */
static inline int depthd_fits_(uint64_t offset, uint64_t count, uint64_t size, uint64_t total) {
    return offset <= total && (size == 0 || count <= (total - offset) / size);
}

static inline int depthd_check_plane_(const depthd_plane_entry *plane, uint64_t slot_bytes) {
    uint32_t dtype = 0, channels = 0;
    if (!depthd_plane_kind(plane->id, &dtype, &channels)) return DEPTHD_OK; /* of a newer version: never touched */
    if (plane->dtype != dtype || plane->channels != channels) return DEPTHD_DAMAGED;
    if (plane->element_bytes != depthd_dtype_bytes(dtype)) return DEPTHD_DAMAGED;
    if (plane->width == 0 || plane->width > 65536 || plane->height == 0 || plane->height > 65536) return DEPTHD_DAMAGED;
    uint64_t row = (uint64_t)plane->width * channels * plane->element_bytes;
    if (plane->row_bytes < row || plane->row_bytes % plane->element_bytes) return DEPTHD_DAMAGED;
    if (!depthd_fits_(0, plane->height, plane->row_bytes, plane->bytes)) return DEPTHD_DAMAGED;
    if (plane->offset % DEPTHD_ALIGNMENT || !depthd_fits_(plane->offset, 1, plane->bytes, slot_bytes)) {
        return DEPTHD_DAMAGED;
    }
    return DEPTHD_OK;
}

/* Checks a header (a private copy, so that it cannot change underfoot) against the size of the file. */
DEPTHD_FUNCTION int depthd_check_header(const depthd_header *header, uint64_t file_bytes, depthd_layout *layout) {
    if (memcmp(header->magic, DEPTHD_MAGIC, 8) != 0) return DEPTHD_NOT_DEPTHD;
    if (header->byte_order != DEPTHD_BYTE_ORDER) {
        return header->byte_order == 0x04030201u ? DEPTHD_WRONG_BYTE_ORDER : DEPTHD_DAMAGED;
    }
    if (header->version_major != DEPTHD_VERSION_MAJOR) return DEPTHD_WRONG_VERSION;
    uint64_t total = header->total_bytes;
    if (total > file_bytes || header->header_bytes < sizeof(depthd_header)) return DEPTHD_DAMAGED;
    if (header->slot_count < DEPTHD_SLOTS_MIN || header->slot_count > DEPTHD_SLOTS_MAX) return DEPTHD_DAMAGED;
    if (header->plane_count == 0 || header->plane_count > DEPTHD_PLANES_MAX) return DEPTHD_DAMAGED;
    if (header->meta_bytes < sizeof(depthd_slot_meta) || header->meta_bytes % DEPTHD_ALIGNMENT) return DEPTHD_DAMAGED;
    if (header->meta_offset < header->header_bytes || header->meta_offset % DEPTHD_ALIGNMENT) return DEPTHD_DAMAGED;
    if (!depthd_fits_(header->meta_offset, header->slot_count, header->meta_bytes, total)) return DEPTHD_DAMAGED;
    if (header->data_offset < header->meta_offset + header->slot_count * header->meta_bytes) return DEPTHD_DAMAGED;
    if (header->data_offset % DEPTHD_ALIGNMENT || header->slot_bytes % DEPTHD_ALIGNMENT) return DEPTHD_DAMAGED;
    if (!depthd_fits_(header->data_offset, header->slot_count, header->slot_bytes, total)) return DEPTHD_DAMAGED;
    for (uint32_t i = 0; i < header->plane_count; i++) {
        int error = depthd_check_plane_(&header->planes[i], header->slot_bytes);
        if (error) return error;
    }
    layout->slot_count = header->slot_count;
    layout->plane_count = header->plane_count;
    layout->total_bytes = total;
    layout->meta_offset = header->meta_offset;
    layout->meta_bytes = header->meta_bytes;
    layout->data_offset = header->data_offset;
    layout->slot_bytes = header->slot_bytes;
    memcpy(layout->planes, header->planes, sizeof layout->planes);
    return DEPTHD_OK;
}

static inline const depthd_header *depthd_header_of(const depthd_reader *reader) {
    return (const depthd_header *)(const void *)reader->base;
}

static inline const depthd_slot_meta *depthd_meta_(const depthd_reader *reader, uint32_t slot) {
    return (const depthd_slot_meta *)(const void *)(reader->base + reader->layout.meta_offset +
                                                    slot * reader->layout.meta_bytes);
}

static inline int depthd_name_is_good(const char *name) {
    size_t length = strlen(name);
    if (length == 0 || length > DEPTHD_NAME_MAX || strcmp(name, ".") == 0 || strcmp(name, "..") == 0) return 0;
    return strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-") == length;
}

/* Unmaps; frames and pointers of this reader are void. Closing twice does no harm. */
static inline void depthd_close(depthd_reader *reader) {
    if (reader->base != NULL) {
        munmap((void *)(uintptr_t)reader->base, (size_t)reader->layout.total_bytes);
        close(reader->fd);
    }
    reader->base = NULL;
    reader->fd = -1;
}

static inline int depthd_map_(depthd_reader *reader) {
    struct stat status;
    depthd_header header;
    if (fstat(reader->fd, &status) != 0) return DEPTHD_SYSTEM;
    if (!S_ISREG(status.st_mode)) return DEPTHD_NOT_DEPTHD;
    ssize_t length = pread(reader->fd, &header, sizeof header, 0);
    if (length < 0) return DEPTHD_SYSTEM;
    if (length < 16 || memcmp(header.magic, DEPTHD_MAGIC, 8) != 0) return DEPTHD_NOT_DEPTHD;
    if ((size_t)length < sizeof header) {
        memset((uint8_t *)&header + length, 0, sizeof header - (size_t)length);
    }
    int error = depthd_check_header(&header, (uint64_t)status.st_size, &reader->layout);
    if (error) return error;
    void *base = mmap(NULL, (size_t)header.total_bytes, PROT_READ, MAP_SHARED | MAP_POPULATE, reader->fd, 0);
    if (base == MAP_FAILED) return DEPTHD_SYSTEM;
    reader->base = (const uint8_t *)base;
    reader->device = status.st_dev;
    reader->inode = status.st_ino;
    return DEPTHD_OK;
}

static inline int depthd_writer_lives(const depthd_reader *reader);
static inline int depthd_is_retired(const depthd_reader *reader);
DEPTHD_FUNCTION int depthd_acquire(const depthd_reader *reader, depthd_frame *frame);

/* A frame that a dead writer left is old by an unknown time: depthd_wait never gives it to a reader that comes later
 * (depthd_acquire does). */
static inline void depthd_skip_dead_frames_(depthd_reader *reader) {
    depthd_frame frame;
    if (depthd_acquire(reader, &frame) != DEPTHD_OK) return;
    /* Relaxed: the writer stored it before it published anything, and depthd_acquire loaded with acquire. */
    uint64_t writer_id = __atomic_load_n(&depthd_header_of(reader)->writer_id, __ATOMIC_RELAXED);
    if (frame.meta.writer_id != writer_id || !depthd_writer_lives(reader)) reader->last_id = frame.meta.id;
}

static inline void depthd_close(depthd_reader *reader);

/* Attaches to a writer's file, alive or dead. `reader` need not be initialised. On error nothing stays open. */
DEPTHD_FUNCTION int depthd_open(depthd_reader *reader, const char *name) {
    memset(reader, 0, sizeof *reader);
    reader->fd = -1;
    if (!depthd_name_is_good(name)) return DEPTHD_BAD_NAME;
    snprintf(reader->path, sizeof reader->path, DEPTHD_DIRECTORY "%s", name);
    reader->fd = open(reader->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (reader->fd < 0) {
        if (errno == ENOENT) return DEPTHD_NOT_RUNNING;
        if (errno == EACCES || errno == EPERM) return DEPTHD_PERMISSION_DENIED;
        return errno == ELOOP ? DEPTHD_NOT_DEPTHD : DEPTHD_SYSTEM;
    }
    int error = depthd_map_(reader);
    if (error) {
        int kept = errno;
        close(reader->fd);
        reader->fd = -1;
        errno = kept;
        return error;
    }
    if (depthd_is_retired(reader)) {
        depthd_close(reader);
        return DEPTHD_NOT_RUNNING;
    }
    depthd_skip_dead_frames_(reader);
    return DEPTHD_OK;
}

/* 1 while a writer holds its lock. A read lock is not a writer's: anybody who may read can take one. */
static inline int depthd_writer_lives(const depthd_reader *reader) {
    struct flock lock;
    memset(&lock, 0, sizeof lock);
    lock.l_type = F_RDLCK;
    lock.l_whence = SEEK_SET;
    lock.l_len = 1;
    return fcntl(reader->fd, F_OFD_GETLK, &lock) == 0 && lock.l_type == F_WRLCK;
}

/* 1 if the writer said goodbye or was replaced: the name has to be opened again. */
static inline int depthd_is_retired(const depthd_reader *reader) {
    /* Acquire: whoever sees the mark sees the state that the writer left. */
    return __atomic_load_n(&depthd_header_of(reader)->retired, __ATOMIC_ACQUIRE) != 0;
}

/* 1 if the name now belongs to another file, as after somebody removed this one by hand. */
static inline int depthd_is_replaced(const depthd_reader *reader) {
    struct stat status;
    return stat(reader->path, &status) == 0 && (status.st_ino != reader->inode || status.st_dev != reader->device);
}

/* Gives the newest whole frame, at once. Returns DEPTHD_NO_FRAME before the first one, and where the writer came round a
 * thousand times while this reader read the metadata (a reader that is slowed a hundredfold, by a debugger say). */
DEPTHD_FUNCTION int depthd_acquire(const depthd_reader *reader, depthd_frame *frame) {
    const depthd_header *header = depthd_header_of(reader);
    uint64_t last_sequence = 0;
    int writer_moves = 0;
    for (int attempt = 0; attempt < 1000; attempt++) {
        /* Acquire, with the writer's release store of `newest`: the slot's even sequence is visible. */
        uint32_t slot = __atomic_load_n(&header->newest, __ATOMIC_ACQUIRE);
        if (slot == DEPTHD_NO_SLOT) return DEPTHD_NO_FRAME;
        if (slot >= reader->layout.slot_count) return DEPTHD_DAMAGED;
        const depthd_slot_meta *meta = depthd_meta_(reader, slot);
        /* Acquire, with the writer's release store of the even sequence: what it wrote before is visible. */
        uint64_t sequence = __atomic_load_n(&meta->sequence, __ATOMIC_ACQUIRE);
        if (attempt > 0 && sequence != last_sequence) writer_moves = 1;
        last_sequence = sequence;
        if (sequence & 1) continue;
        depthd_copy_words_(&frame->meta, meta, sizeof frame->meta);
        depthd_load_fence_();
        /* Relaxed: the fence above keeps it behind the copy, and equality is all that is asked. */
        if (__atomic_load_n(&meta->sequence, __ATOMIC_RELAXED) != sequence) continue;
        frame->reader = reader;
        frame->slot = slot;
        frame->sequence = sequence;
        frame->meta.sequence = sequence;
        return DEPTHD_OK;
    }
    /* The newest slot of a writer that stands still is never being written, unless it breaks the protocol. */
    return writer_moves ? DEPTHD_NO_FRAME : DEPTHD_DAMAGED;
}

/* 1 if everything read from the frame's pixels up to now was whole. */
static inline int depthd_slot_still_valid(const depthd_reader *reader, uint32_t slot, uint64_t sequence) {
    depthd_load_fence_();
    /* Relaxed: the fence keeps it behind every load of pixels before this call. */
    return __atomic_load_n(&depthd_meta_(reader, slot)->sequence, __ATOMIC_RELAXED) == sequence;
}

static inline int depthd_still_valid(const depthd_frame *frame) {
    return depthd_slot_still_valid(frame->reader, frame->slot, frame->sequence);
}

/* Waits until `wake` is no longer `seen`, or until the deadline (CLOCK_MONOTONIC; negative = none). */
static inline int depthd_futex_wait_(const uint32_t *wake, uint32_t seen, int64_t deadline_ns) {
    struct timespec deadline;
    deadline.tv_sec = (time_t)(deadline_ns / 1000000000);
    deadline.tv_nsec = (long)(deadline_ns % 1000000000);
    /* Not FUTEX_PRIVATE: the waker is another process. Works on read-only mappings of files. */
    long result = syscall(SYS_futex, wake, FUTEX_WAIT_BITSET, seen, deadline_ns < 0 ? NULL : &deadline, NULL,
                          FUTEX_BITSET_MATCH_ANY);
    if (result == 0 || errno == EAGAIN) return DEPTHD_OK;
    if (errno == EINTR) return DEPTHD_INTERRUPTED;
    return errno == ETIMEDOUT ? DEPTHD_TIMEOUT : DEPTHD_SYSTEM;
}

/* Once in so many nanoseconds without a frame, a waiting reader looks whether the name still means this file. */
#define DEPTHD_NAME_CHECK_NS 1000000000

/* Gives the newest frame if it is newer than the one that this call gave last; waits for one if it is not.
 * timeout_ns: from now; negative = for ever. Sleeps in the kernel until the writer wakes it.
 * Returns DEPTHD_TIMEOUT or DEPTHD_WRITER_DIED when the time is up (waiting again is right in both cases),
 * DEPTHD_RETIRED when the name has to be opened again, DEPTHD_INTERRUPTED after a signal. */
DEPTHD_FUNCTION int depthd_wait(depthd_reader *reader, int64_t timeout_ns, depthd_frame *frame) {
    const depthd_header *header = depthd_header_of(reader);
    int64_t now = depthd_now_ns();
    int64_t deadline = timeout_ns < 0 || timeout_ns > INT64_MAX - now ? INT64_MAX : now + timeout_ns;
    for (;;) {
        /* Acquire: the look for a frame below cannot move before it. A frame that comes after the look changes the
         * word, and the futex does not sleep. */
        uint32_t seen = __atomic_load_n(&header->wake, __ATOMIC_ACQUIRE);
        int error = depthd_acquire(reader, frame);
        /* Larger, not just another: a slot can be found whole before `newest` names it, and the look after that finds
         * the frame before. (Found by tests/model.) */
        if (error == DEPTHD_OK && frame->meta.id > reader->last_id) {
            reader->last_id = frame->meta.id;
            return DEPTHD_OK;
        }
        if (error != DEPTHD_OK && error != DEPTHD_NO_FRAME) return error;
        if (depthd_is_retired(reader)) return DEPTHD_RETIRED;
        now = depthd_now_ns();
        if (now >= deadline) return depthd_writer_lives(reader) ? DEPTHD_TIMEOUT : DEPTHD_WRITER_DIED;
        int64_t until = deadline - now < DEPTHD_NAME_CHECK_NS ? deadline : now + DEPTHD_NAME_CHECK_NS;
        error = depthd_futex_wait_(&header->wake, seen, until);
        if (error == DEPTHD_TIMEOUT && depthd_is_replaced(reader)) return DEPTHD_RETIRED;
        if (error != DEPTHD_OK && error != DEPTHD_TIMEOUT) return error;
    }
}

/* The entry of a plane in the reader's own, checked copy of the layout; NULL if the writer does not publish it. */
static inline const depthd_plane_entry *depthd_find_plane(const depthd_reader *reader, depthd_plane_id id) {
    uint32_t dtype, channels;
    /* A plane of a newer version was not checked. (Found by tests/fuzz.) */
    if (!depthd_plane_kind((uint32_t)id, &dtype, &channels)) return NULL;
    for (uint32_t i = 0; i < reader->layout.plane_count; i++) {
        if (reader->layout.planes[i].id == (uint32_t)id) return &reader->layout.planes[i];
    }
    return NULL;
}

/* The pixels of a plane, in place; NULL if the writer does not publish it. `entry` may be NULL. */
static inline const void *depthd_plane(const depthd_frame *frame, depthd_plane_id id, const depthd_plane_entry **entry) {
    const depthd_plane_entry *found = depthd_find_plane(frame->reader, id);
    if (entry != NULL) *entry = found;
    if (found == NULL) return NULL;
    const depthd_layout *layout = &frame->reader->layout;
    return frame->reader->base + layout->data_offset + frame->slot * layout->slot_bytes + found->offset;
}

/* Copies a plane row by row without padding. Returns DEPTHD_OVERWRITTEN if the copy is not whole. */
DEPTHD_FUNCTION int depthd_copy(const depthd_frame *frame, depthd_plane_id id, void *to, size_t to_bytes) {
    const depthd_plane_entry *plane;
    const uint8_t *from = (const uint8_t *)depthd_plane(frame, id, &plane);
    if (from == NULL) return DEPTHD_NO_PLANE;
    size_t row = (size_t)plane->width * plane->channels * plane->element_bytes;
    if (to_bytes < row * plane->height) return DEPTHD_TOO_SMALL;
    if (row == plane->row_bytes) {
        depthd_copy_bytes_(to, from, row * plane->height);
    } else {
        for (uint32_t y = 0; y < plane->height; y++) {
            depthd_copy_bytes_((uint8_t *)to + y * row, from + y * plane->row_bytes, row);
        }
    }
    return depthd_still_valid(frame) ? DEPTHD_OK : DEPTHD_OVERWRITTEN;
}

/* Copies the header whole: who writes, which camera, how many frames. For tools; frames carry their own camera. */
DEPTHD_FUNCTION int depthd_copy_header(const depthd_reader *reader, depthd_header *header) {
    const depthd_header *shared = depthd_header_of(reader);
    for (int attempt = 0; attempt < 1000; attempt++) {
        /* Acquire: the copy cannot start before it. */
        uint64_t sequence = __atomic_load_n(&shared->identity_sequence, __ATOMIC_ACQUIRE);
        depthd_copy_words_(header, shared, sizeof *header);
        depthd_load_fence_();
        /* Relaxed: the fence above keeps it behind the copy. */
        if (!(sequence & 1) && __atomic_load_n(&shared->identity_sequence, __ATOMIC_RELAXED) == sequence) {
            header->description[sizeof header->description - 1] = '\0';
            header->software[sizeof header->software - 1] = '\0';
            return DEPTHD_OK;
        }
    }
    return DEPTHD_OVERWRITTEN; /* a writer died while it took over; its successor mends it */
}

#ifdef __cplusplus
}
#endif
#endif
