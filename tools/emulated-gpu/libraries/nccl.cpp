// NCCL: sums of f32 among the processes of one machine, through a file in /dev/shm that is named by the group's id.
// What each rank gives is copied there piece by piece, and every rank sums all of it in the same order.
#include <algorithm>
#include <cerrno>
#include <ctime>
#include <fcntl.h>
#include <nccl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "checks.h"
#include "numbers.h"

constexpr int MOST_RANKS = 64;
constexpr size_t PIECE = size_t(1) << 20;
constexpr u64 LIVING = 0xcc1cc1cc1cc10001;

// What each rank says of itself; all zero in a new file.
struct Rank {
    // Barriers that it has come to.
    std::atomic<u64> arrived;
    std::atomic<int> process;
    std::atomic<bool> left;
    int device;
    // Numbers of the sum that it takes part in; two by turns, as long as others may still read the last.
    size_t count[2];
};

struct Shared {
    std::atomic<int> size;
    Rank ranks[MOST_RANKS];
};

// For each rank a piece, twice, by turns.
constexpr size_t PIECES = (sizeof(Shared) + 4095) / 4096 * 4096;

struct ncclComm {
    u64 state = LIVING;
    int rank, size;
    Shared *shared;
    // Barriers passed.
    u64 passed = 0;
    std::atomic<bool> busy{false}, aborted{false};

    size_t bytes() const { return PIECES + 2 * size * PIECE; }
    f32 *piece(int of, int turn) const { return (f32 *)((char *)shared + PIECES + (turn * size + of) * PIECE); }
};

namespace {

// No longer there, or dead and not yet reaped.
bool has_ended(int process) {
    char path[64], text[512] = {};
    snprintf(path, sizeof path, "/proc/%d/stat", process);
    FILE *const file = fopen(path, "r");
    if (!file) {
        return true;
    }
    const size_t length = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    // "PID (NAME) STATE …", where the name may have anything in it.
    const char *const name_end = length ? strrchr(text, ')') : nullptr;
    return name_end && (name_end[2] == 'Z' || name_end[2] == 'X');
}

// The first rank that hasn't come to this barrier, or -1.
int first_missing(const ncclComm &comm, u64 barrier) {
    for (int rank = 0; rank < comm.size; ++rank) {
        if (comm.shared->ranks[rank].arrived < barrier) {
            return rank;
        }
    }
    return -1;
}

// Waits for all ranks; they may come late, but not never.
ncclResult_t wait_for_all(ncclComm &comm, const char *call_name) {
    const u64 barrier = ++comm.passed;
    comm.shared->ranks[comm.rank].arrived = barrier;
    for (unsigned round = 0;; ++round) {
        const int missing = first_missing(comm, barrier);
        if (missing < 0) {
            return ncclSuccess;
        }
        const Rank &awaited = comm.shared->ranks[missing];
        if (comm.aborted) {
            REFUSE(ncclRemoteError, "%s: rank %d was aborted while it waited for rank %d", call_name, comm.rank,
                   missing);
        }
        // It may have arrived and left since it was missed.
        if (awaited.left && awaited.arrived < barrier) {
            REFUSE(ncclRemoteError, "%s: rank %d waits for rank %d, which has left; on GPUs it would wait for ever",
                   call_name, comm.rank, missing);
        }
        constexpr unsigned ROUNDS_TO_SPIN = 100, ROUNDS_BETWEEN_LOOKS = 10'000;
        const bool look = round % ROUNDS_BETWEEN_LOOKS == ROUNDS_BETWEEN_LOOKS - 1 && awaited.process;
        if (look && has_ended(awaited.process) && awaited.arrived < barrier) {
            REFUSE(ncclRemoteError, "%s: rank %d waits for rank %d, whose process %d has ended", call_name, comm.rank,
                   missing, awaited.process.load());
        }
        if (round > ROUNDS_TO_SPIN) {
            usleep(50);
        }
    }
}

ncclResult_t all_reduce(const char *call_name, const f32 *send, f32 *receive, size_t count, ncclComm &comm) {
    const Use use(comm.busy);
    if (!use.alone) {
        REFUSE(ncclInvalidUsage, "%s: two threads use one communicator at once", call_name);
    }
    const size_t bytes = count * sizeof(f32);
    if (!is_aligned(send, sizeof(f32)) || !is_aligned(receive, sizeof(f32))) {
        REFUSE(ncclInvalidArgument, "%s: misaligned %p or %p", call_name, (void *)send, (void *)receive);
    }
    if (!emulated_gpu_holds(send, bytes) || !emulated_gpu_holds(receive, bytes)) {
        REFUSE(ncclUnhandledCudaError, "%s: %zu bytes from %p or %p are not in one allocation", call_name, bytes,
               (void *)send, (void *)receive);
    }
    if (send != receive && overlap(send, bytes, receive, bytes)) {
        REFUSE(ncclInvalidArgument, "%s: what is sent and what is received overlap", call_name);
    }
    Call call(call_name);
    call.bytes = 2 * double(bytes);
    constexpr size_t MOST = PIECE / sizeof(f32);
    // Also with nothing to sum they meet once.
    size_t from = 0;
    do {
        const size_t numbers = std::min(MOST, count - from);
        const int turn = comm.passed % 2;
        comm.shared->ranks[comm.rank].count[turn] = count;
        memcpy(comm.piece(comm.rank, turn), send + from, numbers * sizeof(f32));
        if (const ncclResult_t bad = wait_for_all(comm, call_name)) {
            return bad;
        }
        for (int rank = 0; rank < comm.size; ++rank) {
            const size_t other = comm.shared->ranks[rank].count[turn];
            if (other != count) {
                REFUSE(ncclInvalidArgument, "%s: rank %d sums %zu numbers, rank %d %zu", call_name, comm.rank, count,
                       rank, other);
            }
        }
        for (size_t i = 0; i < numbers; ++i) {
            f32 sum = 0;
            for (int rank = 0; rank < comm.size; ++rank) {
                sum += comm.piece(rank, turn)[i];
            }
            receive[from + i] = sum;
        }
        from += numbers;
    } while (from < count);
    return ncclSuccess;
}

} // namespace

extern "C" {

ncclResult_t ncclGetUniqueId(ncclUniqueId *id) {
    u64 random[2];
    if (getentropy(random, sizeof random) != 0) {
        return ncclSystemError;
    }
    // All 128 bytes must arrive.
    memset(id->internal, '-', sizeof id->internal);
    snprintf(id->internal, sizeof id->internal, "/emulated-gpu-%016lx%016lx", random[0], random[1]);
    return ncclSuccess;
}

ncclResult_t ncclCommInitRank(ncclComm_t *made, int size, ncclUniqueId id, int rank) {
    if (size < 1 || size > MOST_RANKS || rank < 0 || rank >= size) {
        REFUSE(ncclInvalidArgument, "%s: rank %d of %d (at most %d)", __func__, rank, size, MOST_RANKS);
    }
    if (strncmp(id.internal, "/emulated-gpu-", 14) != 0 || id.internal[sizeof id.internal - 1] != '-') {
        REFUSE(ncclInvalidArgument, "%s: this is no id of ncclGetUniqueId", __func__);
    }
    auto *const comm = new ncclComm;
    comm->rank = rank;
    comm->size = size;
    const int file = shm_open(id.internal, O_RDWR | O_CREAT, 0600);
    if (file < 0 || ftruncate(file, off_t(comm->bytes())) != 0) {
        REFUSE(ncclSystemError, "%s: %s: %s", __func__, id.internal, strerror(errno));
    }
    void *const memory = mmap(nullptr, comm->bytes(), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (memory == MAP_FAILED) {
        REFUSE(ncclSystemError, "%s: %s: %s", __func__, id.internal, strerror(errno));
    }
    comm->shared = (Shared *)memory;
    Rank &own = comm->shared->ranks[rank];
    int known = 0, nobody = 0;
    if (!comm->shared->size.compare_exchange_strong(known, size) && known != size) {
        REFUSE(ncclInvalidArgument, "%s: rank %d says that there are %d, another %d", __func__, rank, size, known);
    }
    if (!own.process.compare_exchange_strong(nobody, getpid())) {
        REFUSE(ncclInvalidUsage, "%s: processes %d and %d both are rank %d", __func__, nobody, getpid(), rank);
    }
    own.device = emulated_gpu_device();
    if (const ncclResult_t bad = wait_for_all(*comm, __func__)) {
        return bad;
    }
    if (rank == 0) {
        shm_unlink(id.internal);
    }
    for (int other = 0; other < size; ++other) {
        if (other != rank && comm->shared->ranks[other].device == own.device) {
            REFUSE(ncclInvalidUsage,
                   "%s: ranks %d and %d have one GPU, %d (EMULATED_GPU_DEVICES says how many there are)", __func__,
                   rank, other, own.device);
        }
    }
    *made = comm;
    return ncclSuccess;
}

ncclResult_t ncclAllReduce(const void *send, void *receive, size_t count, ncclDataType_t type, ncclRedOp_t operation,
                           ncclComm_t comm, cudaStream_t) {
    if (!comm || comm->state != LIVING) {
        REFUSE(ncclInvalidArgument, "%s: %p is no communicator", __func__, (void *)comm);
    }
    if (type != ncclFloat32 || operation != ncclSum) {
        REFUSE(ncclInvalidArgument, "%s: type %d and operation %d are not emulated", __func__, type, operation);
    }
    return all_reduce(__func__, (const f32 *)send, (f32 *)receive, count, *comm);
}

ncclResult_t ncclCommAbort(ncclComm_t comm) {
    if (!comm || comm->state != LIVING) {
        REFUSE(ncclInvalidArgument, "%s: %p is no communicator", __func__, (void *)comm);
    }
    comm->aborted = true;
    comm->shared->ranks[comm->rank].left = true;
    // Until a thread that waits in it has gone.
    while (comm->busy.exchange(true)) {
        usleep(1000);
    }
    munmap(comm->shared, comm->bytes());
    comm->state = 0;
    delete comm;
    return ncclSuccess;
}

} // extern "C"
