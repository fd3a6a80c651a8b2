// Convolutions of dense images by dense kernels, channels first or last, and their gradients. Each is a product of a matrix of patches, which
// is never written out, with one of kernels or outputs.
#pragma once
#include "product.h"

// Of a dense tensor, in which channels come before rows and columns (NCHW) or behind them (NHWC).
struct Sizes {
    s64 n, c, h, w;
    bool channels_last;

    s64 count() const { return n * c * h * w; }
    s64 channel_step() const { return channels_last ? 1 : h * w; }
    s64 pixel_step() const { return channels_last ? c : 1; }
    // Where an element lies.
    s64 at(s64 image, s64 channel, s64 y, s64 x) const {
        return image * c * h * w + channel * channel_step() + (y * w + x) * pixel_step();
    }
    bool operator==(const Sizes &other) const {
        return n == other.n && c == other.c && h == other.h && w == other.w && channels_last == other.channels_last;
    }
};

// Images x, kernels w (of as many channels), outputs y (of as many images as x and channels as there are kernels).
struct Convolution {
    Sizes x, w, y;
    s64 padding[2], stride[2];
};

// A copy of planes with zeros around and between: element (y, x) goes to (margin + step y, margin + step x).
struct Planes {
    s64 height, width;
    std::vector<f32> elements;

    template <class T>
    Planes(const T *from, const Sizes &sizes, s64 height, s64 width, const s64 margin[2], const s64 step[2])
        : height(height), width(width), elements(sizes.n * sizes.c * height * width) {
#pragma omp parallel for
        for (s64 plane = 0; plane < sizes.n * sizes.c; ++plane) {
            for (s64 y = 0; y < sizes.h; ++y) {
                const s64 row = margin[0] + y * step[0];
                // With more padding than the kernel's size the margin is negative, and some of it is left out.
                if (row < 0 || row >= height) {
                    continue;
                }
                for (s64 x = 0; x < sizes.w; ++x) {
                    const s64 column = margin[1] + x * step[1];
                    if (column >= 0 && column < width) {
                        const T &element = from[sizes.at(plane / sizes.c, plane % sizes.c, y, x)];
                        elements[(plane * height + row) * width + column] = f32(element);
                    }
                }
            }
        }
    }

    s64 area() const { return height * width; }
};

// Where the patches begin, image by image, for outputs of this size.
inline Places patch_places(const Planes &planes, s64 images, s64 channels, s64 height, s64 width, const s64 stride[2]) {
    Places places;
    for (s64 n = 0; n < images; ++n) {
        for (s64 y = 0; y < height; ++y) {
            for (s64 x = 0; x < width; ++x) {
                places.push_back(n * channels * planes.area() + y * stride[0] * planes.width + x * stride[1]);
            }
        }
    }
    return places;
}

// Where the elements of a patch lie from its beginning.
inline Places places_in_patch(const Planes &planes, s64 channels, s64 height, s64 width) {
    Places places;
    for (s64 c = 0; c < channels; ++c) {
        for (s64 r = 0; r < height; ++r) {
            for (s64 s = 0; s < width; ++s) {
                places.push_back(c * planes.area() + r * planes.width + s);
            }
        }
    }
    return places;
}

// Where the elements of a kernel lie from its beginning, in the order of places_in_patch.
inline Places places_in_kernel(const Sizes &kernels) {
    Places places;
    for (s64 c = 0; c < kernels.c; ++c) {
        for (s64 r = 0; r < kernels.h; ++r) {
            for (s64 s = 0; s < kernels.w; ++s) {
                places.push_back(kernels.at(0, c, r, s));
            }
        }
    }
    return places;
}

// Where the pixels of a dense tensor's images lie in their first channel.
inline Places pixel_places(const Sizes &sizes) {
    Places places;
    for (s64 n = 0; n < sizes.n; ++n) {
        for (s64 pixel = 0; pixel < sizes.h * sizes.w; ++pixel) {
            places.push_back(sizes.at(n, 0, 0, 0) + pixel * sizes.pixel_step());
        }
    }
    return places;
}

inline Places multiples(s64 count, s64 of) {
    Places places(count);
    for (s64 i = 0; i < count; ++i) {
        places[i] = i * of;
    }
    return places;
}

constexpr s64 NO_STEPS[2] = {1, 1};

template <class T> struct Tensors {
    T *x, *w, *y;
};

template <class T>
void forward(const Convolution &p, const Tensors<T> &t, f32 alpha, f32 beta, Precision precision) {
    const s64 patch = p.w.c * p.w.h * p.w.w;
    const Planes images(t.x, p.x, p.x.h + 2 * p.padding[0], p.x.w + 2 * p.padding[1], p.padding, NO_STEPS);
    const std::vector<f32> kernels(t.w, t.w + p.w.count());
    const Places patches = patch_places(images, p.y.n, p.x.c, p.y.h, p.y.w, p.stride);
    const Places in_patch = places_in_patch(images, p.w.c, p.w.h, p.w.w);
    const Places of_kernel = multiples(p.w.n, patch), in_kernel = places_in_kernel(p.w);
    const Places pixels = pixel_places(p.y), channels = multiples(p.y.c, p.y.channel_step());
    Product<f32>::compute<f32, T>(s64(pixels.size()), p.y.c, patch, alpha,
                               {images.elements.data(), patches.data(), in_patch.data()},
                               {kernels.data(), of_kernel.data(), in_kernel.data()}, beta,
                               {t.y, pixels.data(), channels.data()}, precision);
}

// Each pixel's gradient is a convolution of the outputs' gradient, spread by the stride, with the kernels turned
// around.
template <class T>
void gradient_of_images(const Convolution &p, const Tensors<T> &t, f32 alpha, f32 beta, Precision precision) {
    const s64 margin[2] = {p.w.h - 1 - p.padding[0], p.w.w - 1 - p.padding[1]};
    const Planes outputs(t.y, p.y, p.x.h + p.w.h - 1, p.x.w + p.w.w - 1, margin, p.stride);
    const std::vector<f32> kernels(t.w, t.w + p.w.count());
    const Places patches = patch_places(outputs, p.x.n, p.y.c, p.x.h, p.x.w, NO_STEPS);
    const Places in_patch = places_in_patch(outputs, p.y.c, p.w.h, p.w.w);
    Places turned;
    for (s64 o = 0; o < p.w.n; ++o) {
        for (s64 r = p.w.h - 1; r >= 0; --r) {
            for (s64 s = p.w.w - 1; s >= 0; --s) {
                turned.push_back(p.w.at(o, 0, r, s));
            }
        }
    }
    const Places of_channel = multiples(p.w.c, p.w.channel_step());
    const Places pixels = pixel_places(p.x), channels = multiples(p.x.c, p.x.channel_step());
    Product<f32>::compute<f32, T>(s64(pixels.size()), p.x.c, s64(turned.size()), alpha,
                               {outputs.elements.data(), patches.data(), in_patch.data()},
                               {kernels.data(), of_channel.data(), turned.data()}, beta,
                               {t.x, pixels.data(), channels.data()}, precision);
}

template <class T>
void gradient_of_kernels(const Convolution &p, const Tensors<T> &t, f32 alpha, f32 beta, Precision precision) {
    const s64 patch = p.w.c * p.w.h * p.w.w;
    const Planes images(t.x, p.x, p.x.h + 2 * p.padding[0], p.x.w + 2 * p.padding[1], p.padding, NO_STEPS);
    const std::vector<f32> outputs(t.y, t.y + p.y.count());
    const Places patches = patch_places(images, p.y.n, p.x.c, p.y.h, p.y.w, p.stride);
    const Places in_patch = places_in_patch(images, p.w.c, p.w.h, p.w.w);
    const Places channels = multiples(p.y.c, p.y.channel_step()), pixels = pixel_places(p.y);
    const Places of_kernel = multiples(p.w.n, patch), in_kernel = places_in_kernel(p.w);
    Product<f32>::compute<f32, T>(patch, p.w.n, s64(pixels.size()), alpha,
                               {images.elements.data(), in_patch.data(), patches.data()},
                               {outputs.data(), channels.data(), pixels.data()}, beta,
                               {t.w, in_kernel.data(), of_kernel.data()}, precision);
}
