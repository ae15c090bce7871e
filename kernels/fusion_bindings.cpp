// Python's door to kernels/fusion.h; depthd/fusion/cpu.py is the public side.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <memory>
#include <new>

#include "depth_math.h"
#include "fusion.h"

namespace nb = nanobind;

namespace {

template <typename T>
using Plane = nb::ndarray<T, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

template <typename T>
T attribute(nb::handle object, const char *name) { return nb::cast<T>(object.attr(name)); }

DepthdFusionParameters read_parameters(nb::handle p, int threads)
{
    DepthdFusionParameters out{};
#define TAKE(field) out.field = attribute<decltype(out.field)>(p, #field)
    TAKE(width); TAKE(height); TAKE(cell_px); TAKE(columns); TAKE(rows); TAKE(grid_columns); TAKE(grid_rows);
    TAKE(grid_step); TAKE(independent_share); TAKE(stereo_noise);
    TAKE(stereo_inverse_minimum); TAKE(stereo_inverse_maximum); TAKE(inverse_minimum); TAKE(inverse_maximum);
    TAKE(gate_sigmas); TAKE(gate_minimum); TAKE(far_claim_factor); TAKE(near_claim_factor); TAKE(solid_claim_factor);
    TAKE(whole_claim_factor);
    TAKE(mono_decay); TAKE(memory_decay); TAKE(alignment_decay);
    TAKE(minimum_inlier_share); TAKE(minimum_agreement); TAKE(minimum_significance); TAKE(maximum_age_frames);
#undef TAKE
    out.mono_kind = nb::cast<int>(nb::int_(p.attr("mono_kind")));
    out.threads = threads;
    return out;
}

class Fusion {
public:
    Fusion(nb::handle parameters, int threads)
        : parameters_(read_parameters(parameters, threads)), fusion_(depthd_fusion_create(&parameters_))
    {
        if (!fusion_) throw std::bad_alloc();
    }

    // Sizes and dtypes are checked once, in depthd/fusion/parameters.py; here only what would read beyond a plane.
    nb::tuple fuse(Plane<const float> stereo_m, Plane<const float> mono, Plane<float> depth_m, Plane<uint8_t> source,
                   Plane<uint16_t> sigma)
    {
        const auto fits = [&](const auto &plane) {
            return plane.shape(0) == size_t(parameters_.height) && plane.shape(1) == size_t(parameters_.width);
        };
        if (!fits(stereo_m) || !fits(depth_m) || !fits(source) || !fits(sigma))
            throw nb::value_error("a plane has not the size that this fusion was made for");
        DepthdFusionResult r;
        int failed;
        {
            nb::gil_scoped_release unlocked;
            failed = depthd_fusion_fuse(fusion_.get(), stereo_m.data(), mono.data(), int(mono.shape(0)),
                                        int(mono.shape(1)), depth_m.data(), source.data(), sigma.data(), &r);
        }
        if (failed) throw std::bad_alloc();
        const auto *n = r.pixels_per_source;
        return nb::make_tuple(
            nb::make_tuple(r.line.scale, r.line.shift, r.line.noise, r.line.inlier_share, r.line.pearson_r,
                           r.sample_count, r.age_frames, r.status),
            nb::make_tuple(n[0], n[1], n[2], n[3], n[4], n[5]));
    }

    void reset() { depthd_fusion_reset(fusion_.get()); }

private:
    struct Destroy {
        void operator()(DepthdFusion *fusion) const { depthd_fusion_destroy(fusion); }
    };
    DepthdFusionParameters parameters_;
    std::unique_ptr<DepthdFusion, Destroy> fusion_;
};

}  // namespace

NB_MODULE(_fusion, m)
{
    // What lives until the interpreter ends is not leaked: a daemon keeps its pipeline to the last.
    nanobind::set_leak_warnings(false);
    m.doc() = "The fusion in C; see depthd/fusion/cpu.py.";
    nb::class_<Fusion>(m, "Fusion")
        .def(nb::init<nb::handle, int>(), nb::arg("parameters"), nb::arg("threads"))
        .def("fuse", &Fusion::fuse)
        .def("reset", &Fusion::reset);

    // Held against depthd/fusion/reference.py by a test.
    nb::dict constants;
#define PUT(name) constants[#name] = +DEPTHD_##name
    PUT(STRATA); PUT(HYPOTHESES); PUT(HYPOTHESIS_TOLERANCE); PUT(OUTLIER_COST); PUT(IMPLAUSIBLE_COST); PUT(FIT_ITERATIONS);
    PUT(REFIT_ITERATIONS); PUT(ALIGNMENT_ROUNDS); PUT(CUT_SHARE); PUT(TUKEY_FIT); PUT(TUKEY_ALIGNMENT);
    PUT(BALANCE_BINS); PUT(BALANCE_FLOOR); PUT(MEMORY_BINS); PUT(MONO_NOISE_START); PUT(MONO_NOISE_MINIMUM);
    PUT(MONO_NOISE_MAXIMUM); PUT(RANGE_END); PUT(END_FADE); PUT(MINIMUM_FILL); PUT(NODE_PRIOR); PUT(COLUMN_PRIOR); PUT(WIDE_PRIOR);
    PUT(WIDE_PASSES); PUT(RIM_PRIOR); PUT(BLUR_SHARE); PUT(SOFTENING); PUT(SOLIDITY_DOUBLINGS);
    PUT(WHOLENESS_DOUBLINGS); PUT(STEADY_TOLERANCE); PUT(NOISE_SPREAD); PUT(LINE_SHARE); PUT(ERROR_BINS); PUT(ERROR_MAXIMUM);
    PUT(MEDIAN_OF_KEPT);
    PUT(GRID_LEVELS);
#undef PUT
    m.attr("CONSTANTS") = constants;
}
