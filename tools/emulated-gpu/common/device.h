// What the emulated driver offers the libraries beside CUDA's own interface.
#pragma once
#include <cstddef>

extern "C" {
// Whether these bytes lie within one living allocation of the device.
bool emulated_gpu_holds(const void *first, size_t bytes);
// The number of this thread's device, -1 where it has none.
int emulated_gpu_device(void);
// Brackets the work of a call, for the statistics and for what is said when it touches a bad address. `name` must
// live on.
void emulated_gpu_begin(const char *name);
void emulated_gpu_end(const char *name, double bytes);
}

// A call under way, as an object.
class Call {
  public:
    explicit Call(const char *name) : name(name) { emulated_gpu_begin(name); }
    ~Call() { emulated_gpu_end(name, bytes); }
    Call(const Call &) = delete;

    // Bytes that it reads and writes.
    double bytes = 0;

  private:
    const char *name;
};
