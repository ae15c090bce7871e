// Writes the newest frame as a coloured point cloud: point_cloud NAME FILE.ply
//
//     c++ -std=c++17 -O2 point_cloud.cpp $(depthd paths --cflags) -o point_cloud
#include "depthd.h"

#include <cmath>
#include <fstream>
#include <iostream>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

struct Point {
    float x, y, z;
    uint8_t red, green, blue;
};

void check(int error) {
    if (error != DEPTHD_OK) throw std::runtime_error(depthd_error_text(error));
}

// Closes itself; the C structure stays usable inside.
class Reader {
  public:
    explicit Reader(const std::string &name) { check(depthd_open(&reader_, name.c_str())); }
    ~Reader() { depthd_close(&reader_); }
    Reader(const Reader &) = delete;
    Reader &operator=(const Reader &) = delete;

    depthd_frame wait(double seconds) {
        depthd_frame frame;
        check(depthd_wait(&reader_, static_cast<int64_t>(seconds * 1e9), &frame));
        return frame;
    }

  private:
    depthd_reader reader_;
};

std::vector<Point> points_of(const depthd_frame &frame) {
    const depthd_plane_entry *plane = nullptr;
    auto *depth = static_cast<const float *>(depthd_plane(&frame, DEPTHD_PLANE_DEPTH, &plane));
    auto *left = static_cast<const uint8_t *>(depthd_plane(&frame, DEPTHD_PLANE_LEFT, nullptr));
    const depthd_camera &camera = frame.meta.camera;
    std::vector<Point> points;
    if (depth == nullptr) return points;
    for (uint32_t v = 0; v < plane->height; v++) {
        for (uint32_t u = 0; u < plane->width; u++) {
            const size_t pixel = static_cast<size_t>(v) * plane->width + u;
            const float z = depth[pixel];
            if (!std::isfinite(z)) continue;
            Point point{static_cast<float>((u - camera.cx) / camera.fx * z),
                        static_cast<float>((v - camera.cy) / camera.fy * z), z, 255, 255, 255};
            if (left != nullptr) {
                point.blue = left[3 * pixel];
                point.green = left[3 * pixel + 1];
                point.red = left[3 * pixel + 2];
            }
            points.push_back(point);
        }
    }
    return points;
}

// Waits for a frame and uses it in place, again until nothing changed meanwhile.
std::vector<Point> take_cloud(Reader &reader) {
    for (;;) {
        const depthd_frame frame = reader.wait(5.0);
        std::vector<Point> points = points_of(frame);
        if (depthd_still_valid(&frame)) return points;
    }
}

void write_ply(const std::string &path, const std::vector<Point> &points) {
    std::ofstream file(path, std::ios::binary);
    file << "ply\nformat binary_little_endian 1.0\nelement vertex " << points.size()
         << "\nproperty float x\nproperty float y\nproperty float z\n"
            "property uchar red\nproperty uchar green\nproperty uchar blue\nend_header\n";
    for (const Point &point : points) {
        file.write(reinterpret_cast<const char *>(&point.x), 3 * sizeof(float));
        file.write(reinterpret_cast<const char *>(&point.red), 3);
    }
    if (!file.flush()) throw std::runtime_error("cannot write " + path);
}

} // namespace

int main(int count, char **arguments) try {
    if (count != 3) {
        std::cerr << "usage: " << arguments[0] << " NAME FILE.ply\n";
        return 2;
    }
    Reader reader(arguments[1]);
    const std::vector<Point> points = take_cloud(reader);
    write_ply(arguments[2], points);
    std::cout << points.size() << " points in " << arguments[2] << '\n';
} catch (const std::exception &error) {
    std::cerr << error.what() << '\n';
    return 1;
}
