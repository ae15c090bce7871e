// depthd._shm: the C writer and the inline C reader of depthd.h for Python, and the layout as the compiler sees it.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cstdlib>
#include <new>
#include <stdexcept>
#include <string>
#include <tuple>
#include <type_traits>
#include <vector>

#include "shm.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

using Bytes = nb::ndarray<nb::numpy, uint8_t, nb::ndim<1>>;
using ReadOnlyBytes = nb::ndarray<nb::numpy, const uint8_t, nb::ndim<1>>;
using PlaneRequest = std::tuple<uint32_t, uint32_t, uint32_t>;
using CameraTuple = std::tuple<uint32_t, uint32_t, double, double, double, double, double, double>;

[[noreturn]] void throw_errno() {
    PyErr_SetFromErrno(PyExc_OSError);
    throw nb::python_error();
}

// ------------------------------------------------------------------ layout, for NumPy dtypes

template <typename T> std::string dtype_text() {
    if constexpr (std::is_array_v<T>) {
        using Element = std::remove_extent_t<T>;
        if (std::is_same_v<Element, char>) return "S" + std::to_string(sizeof(T));
        return "(" + std::to_string(std::extent_v<T>) + ",)" + dtype_text<Element>();
    } else if constexpr (std::is_floating_point_v<T>) {
        return "=f" + std::to_string(sizeof(T));
    } else if constexpr (std::is_integral_v<T>) {
        return (std::is_signed_v<T> ? "=i" : "=u") + std::to_string(sizeof(T));
    } else {
        return "struct";
    }
}

#define FIELD(structure, field) \
    nb::make_tuple(#field, offsetof(structure, field), dtype_text<decltype(structure::field)>(), sizeof(structure::field))

nb::dict layout() {
    nb::dict all;
    auto add = [&all](const char *name, size_t size, nb::list fields) {
        all[name] = nb::make_tuple(size, fields);
    };
    nb::list camera, plane, header, times, fit, pose, device_copy, meta;
    auto append = [](nb::list &list, auto... fields) { (list.append(fields), ...); };
    append(camera, FIELD(depthd_camera, width), FIELD(depthd_camera, height), FIELD(depthd_camera, fx),
           FIELD(depthd_camera, fy), FIELD(depthd_camera, cx), FIELD(depthd_camera, cy),
           FIELD(depthd_camera, baseline_m), FIELD(depthd_camera, doffs_px));
    append(plane, FIELD(depthd_plane_entry, id), FIELD(depthd_plane_entry, dtype), FIELD(depthd_plane_entry, width),
           FIELD(depthd_plane_entry, height), FIELD(depthd_plane_entry, channels),
           FIELD(depthd_plane_entry, element_bytes), FIELD(depthd_plane_entry, offset),
           FIELD(depthd_plane_entry, row_bytes), FIELD(depthd_plane_entry, bytes), FIELD(depthd_plane_entry, name));
    append(header, FIELD(depthd_header, magic), FIELD(depthd_header, byte_order), FIELD(depthd_header, version_major),
           FIELD(depthd_header, version_minor), FIELD(depthd_header, total_bytes), FIELD(depthd_header, header_bytes),
           FIELD(depthd_header, wake), FIELD(depthd_header, newest), FIELD(depthd_header, retired),
           FIELD(depthd_header, camera_state), FIELD(depthd_header, writer_id), FIELD(depthd_header, published),
           FIELD(depthd_header, dropped), FIELD(depthd_header, deadline_misses), FIELD(depthd_header, reconnects),
           FIELD(depthd_header, slot_count), FIELD(depthd_header, plane_count), FIELD(depthd_header, meta_offset),
           FIELD(depthd_header, meta_bytes), FIELD(depthd_header, data_offset), FIELD(depthd_header, slot_bytes),
           FIELD(depthd_header, identity_sequence), FIELD(depthd_header, pid),
           FIELD(depthd_header, started_monotonic_ns), FIELD(depthd_header, started_realtime_ns),
           FIELD(depthd_header, boot_id), FIELD(depthd_header, camera), FIELD(depthd_header, description),
           FIELD(depthd_header, software), FIELD(depthd_header, planes));
    append(times, FIELD(depthd_times, captured_ns), FIELD(depthd_times, grabbed_ns), FIELD(depthd_times, matched_ns),
           FIELD(depthd_times, inferred_ns), FIELD(depthd_times, fused_ns), FIELD(depthd_times, published_ns));
    append(fit, FIELD(depthd_fit, scale), FIELD(depthd_fit, shift), FIELD(depthd_fit, residual),
           FIELD(depthd_fit, inlier_share), FIELD(depthd_fit, pearson_r), FIELD(depthd_fit, sample_count),
           FIELD(depthd_fit, age_frames), FIELD(depthd_fit, status));
    append(pose, FIELD(depthd_pose, position_m), FIELD(depthd_pose, orientation_xyzw), FIELD(depthd_pose, valid));
    append(device_copy, FIELD(depthd_device_copy, kind), FIELD(depthd_device_copy, planes),
           FIELD(depthd_device_copy, offset), FIELD(depthd_device_copy, bytes), FIELD(depthd_device_copy, uuid),
           FIELD(depthd_device_copy, memory), FIELD(depthd_device_copy, event));
    append(meta, FIELD(depthd_slot_meta, sequence), FIELD(depthd_slot_meta, id), FIELD(depthd_slot_meta, writer_id),
           FIELD(depthd_slot_meta, camera_index), FIELD(depthd_slot_meta, camera_state),
           FIELD(depthd_slot_meta, flags), FIELD(depthd_slot_meta, dropped), FIELD(depthd_slot_meta, picture_clock_ns),
           FIELD(depthd_slot_meta, times), FIELD(depthd_slot_meta, camera), FIELD(depthd_slot_meta, fit),
           FIELD(depthd_slot_meta, pixels_per_source), FIELD(depthd_slot_meta, pose),
           FIELD(depthd_slot_meta, device_copy));
    add("camera", sizeof(depthd_camera), camera);
    add("plane", sizeof(depthd_plane_entry), plane);
    add("times", sizeof(depthd_times), times);
    add("fit", sizeof(depthd_fit), fit);
    add("pose", sizeof(depthd_pose), pose);
    add("device_copy", sizeof(depthd_device_copy), device_copy);
    add("header", sizeof(depthd_header), header);
    add("slot_meta", sizeof(depthd_slot_meta), meta);
    return all;
}

nb::dict constants() {
    nb::dict all;
#define CONSTANT(name) all[#name] = nb::int_((long long)(DEPTHD_##name))
    CONSTANT(VERSION_MAJOR), CONSTANT(VERSION_MINOR), CONSTANT(PLANES_MAX), CONSTANT(SLOTS_MIN), CONSTANT(SLOTS_MAX),
        CONSTANT(SOURCES_MAX), CONSTANT(NO_SLOT), CONSTANT(NAME_MAX);
    CONSTANT(PLANE_DEPTH), CONSTANT(PLANE_SOURCE), CONSTANT(PLANE_SIGMA), CONSTANT(PLANE_LEFT),
        CONSTANT(PLANE_STEREO_DEPTH), CONSTANT(PLANE_MONO), CONSTANT(PLANE_XYZ);
    CONSTANT(U8), CONSTANT(U16), CONSTANT(I32), CONSTANT(F16), CONSTANT(F32), CONSTANT(F64);
    CONSTANT(SOURCE_INVALID), CONSTANT(SOURCE_STEREO), CONSTANT(SOURCE_MONO_NEAR), CONSTANT(SOURCE_MONO_HOLE),
        CONSTANT(SOURCE_MONO_OVERRULED), CONSTANT(SOURCE_BLEND);
    CONSTANT(DEVICE_NONE), CONSTANT(DEVICE_CUDA);
    CONSTANT(FIT_UNFIT), CONSTANT(FIT_FITTED), CONSTANT(FIT_HELD);
    CONSTANT(CAMERA_OPENING), CONSTANT(CAMERA_RUNNING), CONSTANT(CAMERA_LOST), CONSTANT(CAMERA_STOPPED);
    CONSTANT(OK), CONSTANT(NOT_RUNNING), CONSTANT(PERMISSION_DENIED), CONSTANT(NOT_DEPTHD), CONSTANT(WRONG_VERSION),
        CONSTANT(WRONG_BYTE_ORDER), CONSTANT(DAMAGED), CONSTANT(TIMEOUT), CONSTANT(WRITER_DIED), CONSTANT(RETIRED),
        CONSTANT(INTERRUPTED), CONSTANT(NO_FRAME), CONSTANT(OVERWRITTEN), CONSTANT(NO_PLANE), CONSTANT(TOO_SMALL),
        CONSTANT(BAD_NAME), CONSTANT(SYSTEM);
    CONSTANT(HELD_BY_NOBODY), CONSTANT(HELD_BY_READER), CONSTANT(HELD_BY_WRITER);
    all["DIRECTORY"] = nb::str(DEPTHD_DIRECTORY);
    return all;
#undef CONSTANT
}

// ------------------------------------------------------------------ writer

struct Plan {
    depthd_header header;

    Plan(uint32_t slot_count, const std::vector<PlaneRequest> &planes) {
        std::vector<depthd_plane_request> requests;
        for (auto [id, width, height] : planes) requests.push_back({id, width, height});
        long page = sysconf(_SC_PAGESIZE);
        if (!depthd_plan_layout(&header, slot_count, requests.data(), (uint32_t)requests.size(), (uint64_t)page)) {
            throw nb::value_error("number of slots, number of planes, or size of a plane out of range");
        }
    }
};

// Reads a whole header from a file; what the file is too short for reads as zero.
depthd_header read_header(int fd, uint64_t *file_bytes) {
    depthd_header header;
    std::memset(&header, 0, sizeof header);
    struct stat status;
    if (fstat(fd, &status) != 0 || pread(fd, &header, sizeof header, 0) < 0) throw_errno();
    *file_bytes = (uint64_t)status.st_size;
    return header;
}

int check_file(int fd) {
    uint64_t file_bytes;
    depthd_layout layout;
    depthd_header header = read_header(fd, &file_bytes);
    return depthd_check_header(&header, file_bytes, &layout);
}

bool has_layout(int fd, const Plan &plan) {
    uint64_t file_bytes;
    depthd_header header = read_header(fd, &file_bytes);
    return file_bytes == plan.header.total_bytes && depthd_same_layout(&header, &plan.header);
}

// Retires a file of any version: its first 128 bytes are the same in all.
void retire_file(int fd) {
    uint64_t file_bytes;
    depthd_header header = read_header(fd, &file_bytes);
    if (file_bytes < sizeof header || std::memcmp(header.magic, DEPTHD_MAGIC, 8) != 0) return;
    void *mapping = mmap(nullptr, sizeof header, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (mapping == MAP_FAILED) throw_errno();
    depthd_retire((depthd_header *)mapping);
    munmap(mapping, sizeof header);
}

// Gives an unnamed file a name; fails with EEXIST rather than replace one.
void link_file(int fd, const std::string &path) {
    std::string self = "/proc/self/fd/" + std::to_string(fd);
    if (linkat(AT_FDCWD, self.c_str(), AT_FDCWD, path.c_str(), AT_SYMLINK_FOLLOW) != 0) throw_errno();
}

class Writer {
  public:
    // The mapping alone keeps the file description, and with it the lock, alive: the caller may close fd. A child made
    // by fork gets neither, so that it cannot pass for a living writer after its parent's death.
    Writer(int fd, const Plan &plan, bool adopt, uint64_t writer_id, nb::bytes boot_id, CameraTuple camera,
           const std::string &description, const std::string &software)
        : size_((size_t)plan.header.total_bytes) {
        void *base = mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
        if (base == MAP_FAILED) throw_errno();
        base_ = (uint8_t *)base;
        madvise(base, size_, MADV_DONTFORK);
        depthd_identity identity = identify(writer_id, boot_id, camera, description, software);
        if (adopt) {
            depthd_writer_adopt(&writer_, base, &identity);
        } else {
            depthd_writer_create(&writer_, base, &plan.header, &identity);
        }
        depthd_waker_start(&waker_, &writer_); // without the thread, publishing wakes everybody itself
    }
    Writer(const Writer &) = delete;
    ~Writer() {
        if (!is_mine()) return; // a fork has neither the mapping nor the thread
        depthd_waker_stop(&waker_, &writer_);
        if (base_ != nullptr) munmap(base_, size_);
    }

    bool is_mine() const { return getpid() == owner_; }
    uint32_t begin() {
        check_owner();
        return depthd_writer_begin(&writer_);
    }
    void publish() {
        check_owner();
        if (writer_.slot == DEPTHD_NO_SLOT) throw std::runtime_error("publish without begin");
        depthd_writer_publish(&writer_);
    }
    void set_state(uint32_t state) {
        check_owner();
        depthd_writer_set_state(&writer_, state);
    }
    void set_camera(const CameraTuple &camera, const std::string &description) {
        check_owner();
        depthd_identity now;
        std::memset(&now, 0, sizeof now);
        describe(now, camera, description);
        depthd_writer_set_camera(&writer_, &now.camera, now.description);
    }
    void count(uint64_t dropped, uint64_t deadline_misses, uint64_t reconnects) {
        check_owner();
        depthd_writer_count(&writer_.header->dropped, dropped);
        depthd_writer_count(&writer_.header->deadline_misses, deadline_misses);
        depthd_writer_count(&writer_.header->reconnects, reconnects);
    }
    void retire() {
        check_owner();
        depthd_retire(writer_.header);
    }

    // Lets go of the file, and so of the lock, while views stay safe to touch: they now show memory of nobody else.
    void detach() {
        check_owner();
        depthd_waker_stop(&waker_, &writer_);
        if (mmap(base_, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) ==
            MAP_FAILED) {
            throw_errno();
        }
    }

    uint8_t *base_ = nullptr;
    size_t size_;

  private:
    void check_owner() const {
        if (!is_mine()) throw std::runtime_error("a publisher belongs to the process that made it, not to its fork");
    }

    static depthd_identity identify(uint64_t writer_id, const nb::bytes &boot_id, const CameraTuple &camera,
                                    const std::string &description, const std::string &software) {
        depthd_identity identity;
        std::memset(&identity, 0, sizeof identity);
        identity.writer_id = writer_id;
        identity.pid = (uint32_t)getpid();
        identity.started_monotonic_ns = depthd_now_ns();
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        identity.started_realtime_ns = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
        std::memcpy(identity.boot_id, boot_id.data(), std::min(boot_id.size(), sizeof identity.boot_id));
        std::snprintf(identity.software, sizeof identity.software, "%s", software.c_str());
        describe(identity, camera, description);
        return identity;
    }

    static void describe(depthd_identity &identity, const CameraTuple &camera, const std::string &description) {
        std::snprintf(identity.description, sizeof identity.description, "%s", description.c_str());
        depthd_camera &c = identity.camera;
        std::tie(c.width, c.height, c.fx, c.fy, c.cx, c.cy, c.baseline_m, c.doffs_px) = camera;
    }

    depthd_writer writer_;
    depthd_waker waker_;
    pid_t owner_ = getpid();
};

void points_from_depth(nb::ndarray<const float, nb::ndim<2>, nb::c_contig, nb::device::cpu> depth,
                       nb::ndarray<float, nb::ndim<3>, nb::c_contig, nb::device::cpu> xyz, double fx, double fy,
                       double cx, double cy) {
    if (xyz.shape(0) != depth.shape(0) || xyz.shape(1) != depth.shape(1) || xyz.shape(2) != 3) {
        throw nb::value_error("xyz must have the shape of depth, times 3");
    }
    depthd_camera camera;
    std::memset(&camera, 0, sizeof camera);
    camera.width = (uint32_t)depth.shape(1);
    camera.height = (uint32_t)depth.shape(0);
    camera.fx = fx, camera.fy = fy, camera.cx = cx, camera.cy = cy;
    nb::gil_scoped_release unlocked;
    depthd_points_from_depth(depth.data(), xyz.data(), &camera);
}

// ------------------------------------------------------------------ reader

class Reader {
  public:
    explicit Reader(const depthd_reader &reader) : reader_(reader) {}
    Reader(const Reader &) = delete;
    ~Reader() { depthd_close(&reader_); }

    // (slot, sequence, metadata) of a frame newer than the last, or an error code.
    nb::object wait(int64_t timeout_ns) {
        int64_t now = depthd_now_ns();
        int64_t deadline = timeout_ns < 0 || timeout_ns > INT64_MAX - now ? -1 : now + timeout_ns;
        for (;;) {
            depthd_frame frame;
            int error;
            {
                nb::gil_scoped_release unlocked;
                int64_t left = deadline < 0 ? -1 : std::max<int64_t>(deadline - depthd_now_ns(), 0);
                error = depthd_wait(&reader_, left, &frame);
            }
            if (error == DEPTHD_OK) return as_tuple(frame);
            if (error != DEPTHD_INTERRUPTED) return nb::int_(error);
            if (PyErr_CheckSignals() != 0) throw nb::python_error(); // Ctrl-C
        }
    }

    nb::object latest() {
        depthd_frame frame;
        int error = depthd_acquire(&reader_, &frame);
        if (error != DEPTHD_OK) return nb::int_(error);
        reader_.last_id = std::max(reader_.last_id, frame.meta.id);
        return as_tuple(frame);
    }

    bool still_valid(uint32_t slot, uint64_t sequence) const {
        return slot < reader_.layout.slot_count && depthd_slot_still_valid(&reader_, slot, sequence);
    }
    bool writer_lives() const { return depthd_writer_lives(&reader_); }
    bool is_retired() const { return depthd_is_retired(&reader_) || depthd_is_replaced(&reader_); }

    nb::object header() const {
        depthd_header header;
        int error = depthd_copy_header(&reader_, &header);
        if (error != DEPTHD_OK) return nb::int_(error);
        return nb::bytes((const char *)&header, sizeof header);
    }

    // (id, dtype, width, height, channels, offset in the slot, bytes per row) of every plane that this reader knows.
    nb::list planes() const {
        nb::list all;
        for (uint32_t i = 0; i < reader_.layout.plane_count; i++) {
            const depthd_plane_entry &plane = reader_.layout.planes[i];
            uint32_t dtype, channels;
            if (!depthd_plane_kind(plane.id, &dtype, &channels)) continue;
            all.append(nb::make_tuple(plane.id, plane.dtype, plane.width, plane.height, plane.channels, plane.offset,
                                      plane.row_bytes));
        }
        return all;
    }

    depthd_reader reader_;

  private:
    static nb::object as_tuple(const depthd_frame &frame) {
        return nb::make_tuple(frame.slot, frame.sequence, nb::bytes((const char *)&frame.meta, sizeof frame.meta));
    }
};

nb::object open_reader(const std::string &name) {
    depthd_reader reader;
    int error = depthd_open(&reader, name.c_str());
    if (error == DEPTHD_SYSTEM) throw_errno();
    if (error != DEPTHD_OK) return nb::int_(error);
    return nb::cast(new Reader(reader), nb::rv_policy::take_ownership);
}

} // namespace

NB_MODULE(_shm, m) {
    // What lives until the interpreter ends is not leaked: a daemon keeps its pipeline to the last.
    nanobind::set_leak_warnings(false);
    m.doc() = "Shared memory of depthd: the writer in C, the reader of depthd.h, and their layout.";
    m.def("layout", &layout, "{structure: (bytes, [(field, offset, dtype, bytes)])} as compiled from depthd.h");
    m.def("constants", &constants, "the enumerations and limits of depthd.h, without their DEPTHD_");
    m.def("error_text", [](int error) { return nb::str(depthd_error_text(error)); }, "error"_a);
    m.def("name_is_good", [](const std::string &name) { return (bool)depthd_name_is_good(name.c_str()); }, "name"_a);
    m.def("lock_writer", [](int fd) { return (bool)depthd_lock_writer(fd); }, "fd"_a);
    m.def("find_lock_holder", &depthd_find_lock_holder, "fd"_a);
    m.def("check_file", &check_file, "fd"_a, "error code of the header in an open file");
    m.def("has_layout", &has_layout, "fd"_a, "plan"_a);
    m.def("retire_file", &retire_file, "fd"_a);
    m.def("link_file", &link_file, "fd"_a, "path"_a);
    m.def("points_from_depth", &points_from_depth, "depth_m"_a, "xyz"_a, "fx"_a, "fy"_a, "cx"_a, "cy"_a);

    nb::class_<Plan>(m, "Plan")
        .def(nb::init<uint32_t, const std::vector<PlaneRequest> &>(), "slot_count"_a, "planes"_a)
        .def_prop_ro("total_bytes", [](const Plan &plan) { return plan.header.total_bytes; });

    nb::class_<Writer>(m, "Writer")
        .def(nb::init<int, const Plan &, bool, uint64_t, nb::bytes, CameraTuple, const std::string &,
                      const std::string &>(),
             "fd"_a, "plan"_a, "adopt"_a, "writer_id"_a, "boot_id"_a, "camera"_a, "description"_a, "software"_a)
        .def("is_mine", &Writer::is_mine, "False in a fork of the process that made it")
        .def("begin", &Writer::begin)
        .def("publish", &Writer::publish)
        .def("set_state", &Writer::set_state, "state"_a)
        .def("set_camera", &Writer::set_camera, "camera"_a, "description"_a)
        .def("count", &Writer::count, "dropped"_a = 0, "deadline_misses"_a = 0, "reconnects"_a = 0)
        .def("retire", &Writer::retire)
        .def("detach", &Writer::detach)
        .def("buffer", [](nb::handle self) {
            Writer &writer = nb::cast<Writer &>(self);
            return Bytes(writer.base_, {writer.size_}, self);
        });

    m.def("open_reader", &open_reader, "name"_a, "a Reader, or an error code");
    nb::class_<Reader>(m, "Reader")
        .def_prop_ro("path", [](const Reader &self) { return std::string(self.reader_.path); })
        .def_prop_ro("inode", [](const Reader &self) { return self.reader_.inode; })
        .def_prop_ro("slot_count", [](const Reader &self) { return self.reader_.layout.slot_count; })
        .def_prop_ro("slot_bytes", [](const Reader &self) { return self.reader_.layout.slot_bytes; })
        .def_prop_ro("data_offset", [](const Reader &self) { return self.reader_.layout.data_offset; })
        .def_prop_ro("total_bytes", [](const Reader &self) { return self.reader_.layout.total_bytes; })
        .def("planes", &Reader::planes)
        .def("wait", &Reader::wait, "timeout_ns"_a)
        .def("latest", &Reader::latest)
        .def("still_valid", &Reader::still_valid, "slot"_a, "sequence"_a)
        .def("writer_lives", &Reader::writer_lives)
        .def("is_retired", &Reader::is_retired)
        .def("header", &Reader::header)
        .def("buffer", [](nb::handle self) {
            const Reader &reader = nb::cast<const Reader &>(self);
            return ReadOnlyBytes(reader.reader_.base, {(size_t)reader.reader_.layout.total_bytes}, self);
        });
}
