#include "codec.h"

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <vector>

namespace nb = nanobind;
using namespace nb::literals;

namespace {

using Plane = nb::ndarray<const float, nb::ndim<2>, nb::device::cpu>;
using Codes = nb::ndarray<const uint16_t, nb::c_contig, nb::device::cpu>;
using NewCodes = nb::ndarray<nb::numpy, uint16_t>;

NewCodes owned(std::vector<uint16_t> *codes, std::initializer_list<size_t> shape) {
    nb::capsule owner(codes, [](void *p) noexcept { delete static_cast<std::vector<uint16_t> *>(p); });
    return NewCodes(codes->data(), shape, owner);
}

NewCodes depth_codes(const Plane &plane) {
    if (plane.stride(1) != 1 || plane.stride(0) < 0) throw nb::value_error("pixels of a row must lie side by side");
    auto *codes = new std::vector<uint16_t>(plane.size());
    {
        nb::gil_scoped_release released;
        codec_depth_codes(plane.data(), static_cast<size_t>(plane.stride(0)) * sizeof(float), plane.shape(1),
                          plane.shape(0), codes->data());
    }
    return owned(codes, {plane.shape(0), plane.shape(1)});
}

nb::bytes pack(const Codes &codes) {
    std::vector<uint8_t> packed;
    size_t bytes;
    {
        nb::gil_scoped_release released;
        packed.resize(codec_packed_bound(codes.size()));
        bytes = codec_pack(codes.data(), codes.size(), packed.data());
    }
    return nb::bytes(packed.data(), bytes);
}

NewCodes unpack(const nb::bytes &packed, size_t count) {
    auto *codes = new std::vector<uint16_t>(count);
    NewCodes result = owned(codes, {count});
    size_t read = codec_unpack(reinterpret_cast<const uint8_t *>(packed.c_str()), packed.size(), codes->data(), count);
    if (count && read != packed.size()) throw nb::value_error("these bytes do not hold that many codes");
    return result;
}

} // namespace

NB_MODULE(_codec, m) {
    m.attr("FIRST") = static_cast<int>(CODE_FIRST);
    m.def("code_of_depth", &codec_code_of_depth, "depth_m"_a);
    m.def("depth_of_code", &codec_depth_of_code, "code"_a);
    m.def("depth_codes", &depth_codes, "plane"_a.noconvert());
    m.def("pack", &pack, "codes"_a.noconvert());
    m.def("unpack", &unpack, "packed"_a, "count"_a);
}
