#include "depthd.h"

#include "watchdog.h"

#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <cmath>
#include <stdexcept>

namespace nb = nanobind;
using namespace nb::literals;

namespace {

uint64_t nanoseconds(double seconds) {
    if (!std::isfinite(seconds) || seconds < 0) throw nb::value_error("seconds must be finite and not negative");
    return static_cast<uint64_t>(seconds * 1e9);
}

[[noreturn]] void raise_errno() {
    PyErr_SetFromErrno(PyExc_OSError);
    throw nb::python_error();
}

class Watchdog {
public:
    Watchdog(std::optional<std::string> notify_socket, double ping_period_s)
        : watchdog(watchdog_start(notify_socket ? notify_socket->c_str() : nullptr, nanoseconds(ping_period_s))) {
        if (!watchdog) raise_errno();
    }
    Watchdog(const Watchdog &) = delete;
    Watchdog &operator=(const Watchdog &) = delete;
    ~Watchdog() { stop(); }

    int declare(const std::string &name, double limit_s) {
        int phase = watchdog_declare(running(), name.c_str(), nanoseconds(limit_s));
        if (phase < 0) raise_errno();
        return phase;
    }
    void enter(int phase) {
        if (!watchdog_enter(running(), phase)) throw nb::value_error("no such phase");
    }
    void ready() { watchdog_ready(running()); }
    void guard(uintptr_t header_address) {
        watchdog_guard(running(), reinterpret_cast<depthd_header *>(header_address));
    }
    void stop() {
        if (!watchdog) return;
        watchdog_stop(watchdog);
        watchdog = nullptr;
    }

private:
    struct watchdog *running() {
        if (!watchdog) throw nb::value_error("the watchdog was stopped");
        return watchdog;
    }
    struct watchdog *watchdog;
};

}  // namespace

NB_MODULE(_watchdog, m) {
    // What lives until the interpreter ends is not leaked: a daemon keeps its pipeline to the last.
    nanobind::set_leak_warnings(false);
    m.doc() = "A thread that ends the process when it stands still; see kernels/watchdog.h.";
    nb::class_<Watchdog>(m, "Watchdog")
        .def(nb::init<std::optional<std::string>, double>(), "notify_socket"_a = nb::none(), "ping_period_s"_a = 0.0,
             "Starts the thread. notify_socket: systemd's NOTIFY_SOCKET, or None. ping_period_s: 0 = no pings.")
        .def("declare", &Watchdog::declare, "name"_a, "limit_s"_a, "Adds a phase; returns its number.")
        .def("enter", &Watchdog::enter, "phase"_a, "The loop is in this phase from now on, with its whole limit.")
        .def("ready", &Watchdog::ready, "The service has started.")
        .def("guard", &Watchdog::guard, "header_address"_a, "Shared memory to mark as lost at the end; 0 = none.")
        .def("stop", &Watchdog::stop, nb::call_guard<nb::gil_scoped_release>(), "Ends the thread. Again is harmless.");
}
