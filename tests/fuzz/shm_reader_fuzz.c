/* libFuzzer on the C reader: whatever bytes lie in an object, before a reader attaches or after, it ends in an error code
 * or reads inside the mapping. Built and run by test_shm_fuzz.py; by hand, as long as one likes:
 *
 *     clang -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -Ikernels -Ikernels/include \
 *         tests/fuzz/shm_reader_fuzz.c -o fuzz && ./fuzz
 *
 * The first byte of an input chooses: 0, the rest is the file; 1, the rest are changes to a good file; 2, changes that
 * come when the reader is attached. A change is an offset in words and a value, eight bytes in all.
 */
#define _GNU_SOURCE 1
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

/* Pages that nobody may touch on both sides of every mapping: a read outside is a crash, and not what lies there. */
static void *guarded_mmap(void *address, size_t length, int protection, int flags, int fd, long offset);
static int guarded_munmap(void *address, size_t length);
#define mmap guarded_mmap
#define munmap guarded_munmap
#include "../../kernels/shm.c"
#undef mmap
#undef munmap

#include <stdlib.h>

enum { PAGE = 4096, GOOD_BYTES_MOST = 1 << 18 };

static size_t whole_pages(size_t length) { return (length + PAGE - 1) / PAGE * PAGE; }

static void *guarded_mmap(void *address, size_t length, int protection, int flags, int fd, long offset) {
    uint8_t *room = (uint8_t *)mmap(NULL, whole_pages(length) + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (address != NULL || room == MAP_FAILED) return MAP_FAILED;
    return mmap(room + PAGE, length, protection, flags | MAP_FIXED, fd, offset);
}

static int guarded_munmap(void *address, size_t length) {
    return munmap((uint8_t *)address - PAGE, whole_pages(length) + 2 * PAGE);
}

static uint8_t good[GOOD_BYTES_MOST] __attribute__((aligned(4096)));
static size_t good_bytes;

/* Three slots of 16x8 with every plane, four frames published. */
static void make_good_file(void) {
    depthd_plane_request planes[7];
    for (uint32_t i = 0; i < 7; i++) planes[i] = (depthd_plane_request){i + 1, 16, 8};
    depthd_header planned;
    if (!depthd_plan_layout(&planned, 3, planes, 7, PAGE) || planned.total_bytes > GOOD_BYTES_MOST) abort();
    depthd_identity identity = {.writer_id = 7, .pid = 1, .description = "fuzz", .software = "fuzz"};
    depthd_writer writer;
    depthd_writer_create(&writer, good, &planned, &identity);
    for (int i = 0; i < 4; i++) {
        depthd_writer_begin(&writer);
        depthd_writer_publish(&writer);
    }
    good_bytes = planned.total_bytes;
}

static void change(int fd, const uint8_t *data, size_t size) {
    for (; size >= 8; data += 8, size -= 8) {
        uint32_t words;
        memcpy(&words, data, 4);
        if (pwrite(fd, data + 4, 4, (off_t)(words % (good_bytes / 4)) * 4) != 4) abort();
    }
}

static volatile uint64_t seen;

static void use(depthd_reader *reader) {
    depthd_frame frame;
    depthd_header header;
    static uint8_t copy[1 << 16];
    (void)depthd_copy_header(reader, &header);
    (void)depthd_writer_lives(reader);
    for (int newest = 0; newest < 2; newest++) {
        int error = newest ? depthd_acquire(reader, &frame) : depthd_wait(reader, 0, &frame);
        if (depthd_error_text(error) == NULL) abort();
        if (error != DEPTHD_OK) continue;
        for (int id = 0; id < 10; id++) {
            const depthd_plane_entry *entry;
            const uint8_t *pixels = (const uint8_t *)depthd_plane(&frame, (depthd_plane_id)id, &entry);
            if (pixels == NULL) continue;
            size_t row = (size_t)entry->width * entry->channels * entry->element_bytes;
            const uint8_t *last = pixels + (entry->height - 1) * entry->row_bytes;
            seen += pixels[0] + pixels[row - 1] + last[0] + last[row - 1];
            (void)depthd_copy(&frame, (depthd_plane_id)id, copy, sizeof copy);
        }
        (void)depthd_still_valid(&frame);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (good_bytes == 0) make_good_file();
    if (size == 0) return 0;
    depthd_reader reader;
    memset(&reader, 0, sizeof reader);
    snprintf(reader.path, sizeof reader.path, "/dev/null/none");
    reader.fd = memfd_create("fuzz", MFD_CLOEXEC);
    if (reader.fd < 0) abort();
    int kind = data[0] % 3;
    const uint8_t *bytes = kind ? good : data + 1;
    size_t length = kind ? good_bytes : size - 1;
    if (write(reader.fd, bytes, length) != (ssize_t)length) abort();
    if (kind == 1) change(reader.fd, data + 1, size - 1);
    if (depthd_map_(&reader) != DEPTHD_OK) {
        close(reader.fd);
        return 0;
    }
    if (kind == 2) change(reader.fd, data + 1, size - 1);
    use(&reader);
    depthd_close(&reader);
    return 0;
}
