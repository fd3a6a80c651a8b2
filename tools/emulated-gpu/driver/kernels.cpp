// Modules of PTX, and kernels, which are translated to C++ and compiled when they are first asked for.
#include <cerrno>
#include <cstring>
#include <dlfcn.h>
#include <fcntl.h>
#include <fstream>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "driver.h"
#include "kernel.h"

// CUDA's limits for a launch.
constexpr unsigned MOST_THREADS = 1024, MOST_THREADS_Z = 64, MOST_BLOCKS_YZ = 65535, MOST_BLOCKS_X = 0x7fffffff;
constexpr unsigned MOST_SHARED_BYTES = 48 << 10;

// What cuModuleGetFunction hands out.
struct CUfunc_st {
    std::string name;
    const Kernel *kernel;
};

struct CUmod_st {
    std::string ptx;
    std::map<std::string, std::unique_ptr<CUfunc_st>> kernels;
};

namespace {

bool exists(const std::string &path) { return access(path.c_str(), F_OK) == 0; }

// The folder of this library.
std::string home() {
    Dl_info info;
    if (!dladdr((void *)&home, &info)) {
        DIE("where is libcuda.so.1?");
    }
    char *const path = realpath(info.dli_fname, nullptr);
    const std::string whole = path;
    free(path);
    return whole.substr(0, whole.rfind('/'));
}

std::string cache() {
    const char *const wanted = getenv("EMULATED_GPU_CACHE");
    const std::string folder = wanted ? wanted : home() + "/cache";
    if (mkdir(folder.c_str(), 0777) != 0 && errno != EEXIST) {
        DIE("can't make %s", folder.c_str());
    }
    return folder;
}

// FNV-1a of the module and of the version of the translator, by which the cache knows a kernel.
std::string fingerprint(const std::string &ptx) {
    unsigned long long hash = 14695981039346656037ull;
    for (const unsigned char byte : TRANSLATOR_VERSION + ptx) {
        hash = (hash ^ byte) * 1099511628211ull;
    }
    char text[20];
    snprintf(text, sizeof text, "%016llx", hash);
    return text;
}

// A lock on the cache among processes.
class CacheLock {
  public:
    explicit CacheLock(const std::string &folder) {
        file = open((folder + "/lock").c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0666);
        if (file < 0 || flock(file, LOCK_EX) != 0) {
            DIE("can't lock %s", folder.c_str());
        }
    }
    ~CacheLock() { close(file); }

  private:
    int file;
};

// The path of the kernel's library, made if it isn't there; empty where that fails.
std::string compiled(const std::string &ptx, const std::string &name) {
    const std::string folder = cache(), base = folder + "/" + fingerprint(ptx), library = base + "-" + name + ".so";
    const CacheLock lock(folder);
    if (exists(library)) {
        return library;
    }
    std::ofstream(base + ".ptx") << ptx;
    std::ostringstream command;
    command << "'" << home() << "/ptx/compile' '" << base << ".ptx' '" << name << "' '" << library << "'";
    return system(command.str().c_str()) == 0 ? library : "";
}

// The bytes of all allocations that a launch's pointers point into: what it reads and writes, at most.
double bytes_reached(const Kernel &kernel, void **arguments) {
    double bytes = 0;
    for (int i = 0; i < kernel.parameters; ++i) {
        if (kernel.sizes[i] == sizeof(CUdeviceptr)) {
            bytes += double(allocation_around(*(const CUdeviceptr *)arguments[i]));
        }
    }
    return bytes;
}

} // namespace

extern "C" {

CUresult cuModuleLoadData(CUmodule *module, const void *image) {
    const auto *const text = (const char *)image;
    // PTX begins with text, a cubin doesn't.
    if (!strstr(text, ".version")) {
        say("cuModuleLoadData of something that is not PTX");
        return CUDA_ERROR_INVALID_IMAGE;
    }
    *module = new CUmod_st{text, {}};
    return CUDA_SUCCESS;
}

CUresult cuModuleLoad(CUmodule *module, const char *path) {
    std::ostringstream text;
    text << std::ifstream(path).rdbuf();
    return cuModuleLoadData(module, text.str().c_str());
}

// Kernels of it may still be held, and it is small.
CUresult cuModuleUnload(CUmodule) { return CUDA_SUCCESS; }

CUresult cuModuleGetFunction(CUfunction *function, CUmodule module, const char *name) {
    const Lock lock(driver_mutex);
    auto &known = module->kernels[name];
    if (!known) {
        if (module->ptx.find(std::string(".entry ") + name + "(") == std::string::npos) {
            say("cuModuleGetFunction: the module has no kernel %s", name);
            return CUDA_ERROR_NOT_FOUND;
        }
        const std::string path = compiled(module->ptx, name);
        void *const library = path.empty() ? nullptr : dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
        if (!library) {
            say("can't compile or load kernel %s", name);
            return CUDA_ERROR_INVALID_PTX;
        }
        known = std::make_unique<CUfunc_st>(CUfunc_st{name, (const Kernel *)dlsym(library, "kernel")});
    }
    *function = known.get();
    return CUDA_SUCCESS;
}

CUresult cuLaunchKernel(CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                        unsigned block_y, unsigned block_z, unsigned shared_bytes, CUstream, void **arguments,
                        void **extra) {
    const Lock lock(driver_mutex);
    const Kernel &kernel = *function->kernel;
    const Size3 grid{grid_x, grid_y, grid_z}, block{block_x, block_y, block_z};
    const char *wrong = nullptr;
    if (grid.count() == 0 || block.count() == 0) {
        wrong = "a size of 0";
    } else if (grid.x > MOST_BLOCKS_X || grid.y > MOST_BLOCKS_YZ || grid.z > MOST_BLOCKS_YZ) {
        wrong = "too many blocks";
    } else if (block.count() > MOST_THREADS || block.z > MOST_THREADS_Z) {
        wrong = "too many threads in a block";
    } else if (kernel.most_threads && block.count() > kernel.most_threads) {
        wrong = "more threads in a block than the kernel was compiled for";
    } else if (kernel.static_shared_bytes + shared_bytes > MOST_SHARED_BYTES) {
        wrong = "too much shared memory";
    } else if (extra) {
        wrong = "arguments by `extra`, which is not emulated";
    }
    if (wrong) {
        say("launch of %s: %s (grid %u x %u x %u, block %u x %u x %u, shared memory %u + %u)", function->name.c_str(),
            wrong, grid.x, grid.y, grid.z, block.x, block.y, block.z, kernel.static_shared_bytes, shared_bytes);
        return CUDA_ERROR_INVALID_VALUE;
    }
    Call call(function->name.c_str());
    call.bytes = bytes_reached(kernel, arguments);
    kernel.launch(arguments, grid, block, shared_bytes);
    return CUDA_SUCCESS;
}

} // extern "C"
