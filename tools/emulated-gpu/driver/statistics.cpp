// Which calls there were and who made them, and what is said of a bad address.
#include <atomic>
#include <csignal>
#include <cstring>
#include <ctime>
#include <execinfo.h>
#include <fstream>
#include <map>
#include <string>
#include <unistd.h>

#include "driver.h"

namespace {

struct Figures {
    unsigned long calls;
    double seconds, bytes;
};

// What each call under way on this thread is, from the outermost to the innermost.
constexpr int MOST_NESTED = 4;
struct Running {
    const char *name;
    double since;
};
thread_local Running running[MOST_NESTED];
thread_local int running_count;
// The call that began last on any thread: a kernel's, when another thread of its team meets a bad address.
std::atomic<const char *> last_begun;

std::map<std::string, Figures> figures;
bool wanted;
FILE *trace;

double now() {
    timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return double(time.tv_sec) + 1e-9 * double(time.tv_nsec);
}

void report() {
    const Lock lock(driver_mutex);
    const MemoryUse use = memory_use();
    fprintf(stderr, "EMULATED GPU: at most %.1f MB, %zu allocations, %zu never freed\n", double(use.most_bytes) / 1e6,
            use.all, use.living);
    fprintf(stderr, "%10s %12s %12s  call\n", "times", "here, s", "moved, MB");
    for (const auto &[name, of] : figures) {
        fprintf(stderr, "%10lu %12.3f %12.1f  %s\n", of.calls, of.seconds, of.bytes / 1e6, name.c_str());
    }
}

// The process is at its end, and what a handler mustn't do otherwise does no more harm.
void on_bad_address(int, siginfo_t *info, void *) {
    const char *const call = running_count > 0 ? running[running_count - 1].name : last_begun.load();
    char where[200];
    describe_address(CUdeviceptr(info->si_addr), where, sizeof where);
    say("bad address %p in %s: %s", info->si_addr, call ? call : "the program itself", where);
    _exit(139);
}

} // namespace

void start_statistics() {
    static std::once_flag once;
    std::call_once(once, [] {
        struct sigaction action {};
        action.sa_sigaction = on_bad_address;
        action.sa_flags = SA_SIGINFO | SA_ONSTACK;
        sigaction(SIGSEGV, &action, nullptr);
        sigaction(SIGBUS, &action, nullptr);
        if (const char *path = getenv("EMULATED_GPU_TRACE")) {
            trace = fopen(path, "w");
            if (!trace) {
                DIE("can't write %s", path);
            }
            // Where the program lies, for `who`.
            std::ifstream maps("/proc/self/maps");
            std::string line;
            std::getline(maps, line);
            fprintf(trace, "%s\n", line.c_str());
        }
        wanted = getenv("EMULATED_GPU_STATS") != nullptr;
        if (wanted) {
            atexit(report);
        }
    });
}

void emulated_gpu_begin(const char *name) {
    if (running_count == MOST_NESTED) {
        DIE("more than %d calls within one another", MOST_NESTED);
    }
    running[running_count++] = {name, now()};
    last_begun = name;
    if (trace) {
        const Lock lock(driver_mutex);
        void *frames[96];
        const int count = backtrace(frames, 96);
        fprintf(trace, "%s", name);
        for (int i = 0; i < count; ++i) {
            fprintf(trace, " %lx", (unsigned long)frames[i]);
        }
        fputc('\n', trace);
    }
}

void emulated_gpu_end(const char *name, double bytes) {
    const double seconds = now() - running[--running_count].since;
    last_begun = nullptr;
    if (wanted) {
        const Lock lock(driver_mutex);
        Figures &of = figures[name];
        ++of.calls;
        of.seconds += seconds;
        of.bytes += bytes;
    }
}
