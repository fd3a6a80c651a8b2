// Memory, launches and translated kernels: what they compute, and that what is wrong is found. With kernels.cu as PTX.
#include "test.h"

static const char *module_path;

static CUfunction kernel(const char *name) {
    static CUmodule module;
    if (!module) {
        cuInit(0);
        cuModuleLoad(&module, module_path);
    }
    CUfunction function = nullptr;
    return cuModuleGetFunction(&function, module, name) == CUDA_SUCCESS ? function : nullptr;
}

struct Shape {
    unsigned blocks, threads, shared_bytes = 0;
};

template <class... Arguments> static CUresult launch(const char *name, Shape shape, Arguments... arguments) {
    void *pointers[] = {&arguments...};
    const auto [blocks, threads, shared_bytes] = shape;
    const CUfunction function = kernel(name);
    if (!function) {
        return CUDA_ERROR_NOT_FOUND;
    }
    return cuLaunchKernel(function, blocks, 1, 1, threads, 1, 1, shared_bytes, nullptr, pointers, nullptr);
}

// ---- What is computed

static void sums_and_copies() {
    Array<f32> x(1000), y(1000), sums(5);
    x.fill();
    expect(launch("twice", {5, 256}, 900u, x.first, y.first) == CUDA_SUCCESS, "a launch");
    bool good = true;
    for (int i = 0; i < 1000; ++i) {
        good &= i < 900 ? y[i] == 2 * x[i] : std::isnan(y[i]);
    }
    expect(good, "twice, and NaN where nothing was written");
    launch("twice_by_four", {1, 250}, x.first, y.first);
    for (int i = 0; i < 1000; ++i) {
        good &= y[i] == 2 * x[i];
    }
    expect(good, "twice by four");
    launch("block_sums", {5, 192}, x.first, sums.first);
    for (int block = 0; block < 5; ++block) {
        f64 sum = 0;
        for (int i = 0; i < 192; ++i) {
            sum += x[block * 192 + i];
        }
        expect(std::fabs(sum - sums[block]) < 1e-5, "the sum of a block");
    }
}

static void exchanges() {
    Array<int> x(64), y(256);
    for (int i = 0; i < 64; ++i) {
        x[i] = 1000 + i;
    }
    launch("neighbours", {1, 64}, x.first, y.first);
    bool good = true;
    for (int i = 0; i < 64; ++i) {
        const int lane = i % 32, warp = 1000 + i - lane;
        good &= y[4 * i] == warp + (lane > 0 ? lane - 1 : lane) && y[4 * i + 1] == warp + (lane < 31 ? lane + 1 : lane);
        good &= y[4 * i + 2] == warp + 5 && y[4 * i + 3] == warp + (lane % 8 < 2 ? lane : lane - 2);
    }
    expect(good, "shuffles");
    launch("reverse", {2, 32, 32 * sizeof(int)}, x.first);
    for (int i = 0; i < 64; ++i) {
        good &= x[i] == 1000 + i / 32 * 32 + 31 - i % 32;
    }
    expect(good, "reversed through shared memory");
}

static void atomics() {
    Array<u32> x(10'000), counts(4);
    Array<f32> sum(1);
    u32 expected[4] = {};
    f64 expected_sum = 0;
    for (u32 i = 0; i < 10'000; ++i) {
        x[i] = i * i % 11;
        ++expected[x[i] % 4];
        expected_sum += x[i];
    }
    memset(counts.first, 0, sizeof expected);
    sum[0] = 0;
    launch("count", {40, 256}, 10'000u, x.first, counts.first, sum.first);
    expect(memcmp(counts.first, expected, sizeof expected) == 0, "counts");
    expect(sum[0] == f32(expected_sum), "a sum by atomics");
}

static void arithmetic() {
    const s64 left[] = {7, -7, 1'000'000'000'007, -1'000'000'000'007, INT32_MIN, 0, 123'456'789, -1};
    const s32 right[] = {2, 2, 13, -13, 3, -5, 40, 33};
    Array<s64> x(8), z(64);
    Array<s32> y(8);
    Array<f32> a(8), b(64);
    for (int i = 0; i < 8; ++i) {
        x[i] = left[i];
        y[i] = right[i];
        a[i] = f32(i - 3.5) * 0.7f;
    }
    launch("integers", {1, 8}, x.first, y.first, z.first);
    launch("floats", {1, 8}, a.first, b.first);
    for (int i = 0; i < 8; ++i) {
        const s64 l = left[i], r = right[i];
        const s64 expected[] = {l / r,       l % r,         s32(l) / s32(r), u32(l) % u32(r),
                                s32(l) * r, l >> (r & 63), std::min(l, r),  s32(u32(l) << (r & 31))};
        for (int j = 0; j < 8; ++j) {
            expect(z[8 * i + j] == expected[j],
                   "integers: case " + std::to_string(i) + ", result " + std::to_string(j));
        }
        const f64 v = a[i];
        const f64 values[] = {std::exp(v), std::log(std::fabs(v)), std::tanh(v), 1 / (1 + std::exp(-v)),
                              std::sqrt(std::fabs(v)), f64(s32(a[i] * 10)), std::rint(v),
                              v / 3 > std::max(v, 0.25) ? 1 : std::floor(v)};
        for (int j = 0; j < 8; ++j) {
            expect(std::fabs(b[8 * i + j] - values[j]) <= 1e-6 * std::max(1.0, std::fabs(values[j])),
                   "floats: case " + std::to_string(i) + ", result " + std::to_string(j));
        }
    }
}

// ---- What must be found out

static void wrong_accesses() {
    expect_said("in twice: 0 bytes behind the end of an allocation of 4096", [] {
        Array<f32> x(1024), y(1028);
        launch("twice", {5, 256}, 1028u, x.first, y.first);
    });
    expect_said("something was written behind the end of an allocation of 20 bytes", [] {
        Array<f32> x(8), y(5);
        launch("twice", {1, 6}, 6u, x.fill().first, y.first);
    });
    expect_said("something was written before the start of an allocation of 64 bytes", [] {
        Array<f32> x(16), y(16);
        launch("twice", {1, 1}, 1u, x.fill().first, y.first - 1);
    });
    expect_said("kernel one_byte_on: misaligned access: 4 bytes", [] {
        Array<f32> x(2), y(1);
        launch("one_byte_on", {1, 1}, x.first, y.first);
    });
    expect_said("kernel twice_by_four: misaligned access: 16 bytes", [] {
        Array<f32> x(8), y(8);
        launch("twice_by_four", {1, 1}, x.first + 1, y.first);
    });
    for (const int place : {32, -1}) {
        expect_said("kernel beyond_shared: shared memory out of bounds", [=] {
            Array<int> x(32);
            std::fill_n(x.first, 32, place);
            launch("beyond_shared", {1, 32, 32 * sizeof(int)}, x.first);
        });
    }
}

static void wrong_meetings() {
    const auto alone = [](const char *name) {
        Array<f32> x(33);
        launch(name, {1, 32}, x.fill().first);
    };
    expect_said("a barrier that some threads of the block never reach", [=] { alone("without_half"); });
    expect_said("threads of one block wait at different barriers", [=] { alone("at_two_places"); });
    expect_said("with lane 16, which does not take part", [=] { alone("with_absent_lanes"); });
    expect_said("which is not in the mask 0000ffff", [=] { alone("outside_of_mask"); });
}

static void wrong_calls() {
    expect_said("assertion failed: x[0] > 0", [] {
        Array<int> x(1);
        launch("says_no", {1, 1}, x.first);
    });
    expect_said("no rule for popc.b32", [] { kernel("not_known"); });
    expect_said("the module has no kernel nobody", [] { kernel("nobody"); });
    const auto launch_twice = [](Shape shape) {
        Array<f32> x(1);
        launch("twice", shape, 1u, x.first, x.first);
    };
    expect_said("launch of twice: too many threads in a block", [=] { launch_twice({1, 1025}); });
    expect_said("launch of twice: a size of 0", [=] { launch_twice({0, 32}); });
    expect_said("launch of twice: too much shared memory", [=] { launch_twice({1, 32, 48 * 1024 + 1}); });
    expect_said("launch of few_threads: more threads in a block than the kernel was compiled for", [] {
        Array<f32> x(65);
        launch("few_threads", {1, 65}, x.first);
    });
    expect_said("cuMemcpyDtoH: 44 bytes", [] {
        Array<f32> x(10);
        f32 to[11];
        cuMemcpyDtoHAsync_v2(to, CUdeviceptr(x.first), sizeof to, nullptr);
    });
    expect_said("where no allocation begins", [] { cuMemFree_v2(Array<f32>(10).first ? 4096 : 0); });
    expect_said("cuMemAlloc of 0 bytes", [] { Array<f32>(0); });
}

int main(int, char **arguments) {
    module_path = arguments[1];
    // First those that fork, before there are threads.
    wrong_accesses();
    wrong_meetings();
    wrong_calls();
    sums_and_copies();
    exchanges();
    atomics();
    arithmetic();
    return summary("kernels");
}
