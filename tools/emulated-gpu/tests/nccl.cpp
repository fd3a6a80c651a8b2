// The stand-in for NCCL, with a process for each rank.
#include <nccl.h>
#include <thread>

#include "test.h"

using Run = std::function<bool(int rank, ncclUniqueId id)>;

static void ranks(int size, const std::string &what, const Run &run) {
    ncclUniqueId id;
    ncclGetUniqueId(&id);
    std::vector<pid_t> children;
    fflush(nullptr);
    for (int rank = 0; rank < size; ++rank) {
        const pid_t child = fork();
        if (child == 0) {
            alarm(60);
            // Complaints are wanted here.
            (void)!freopen("/dev/null", "w", stderr);
            cuInit(0);
            CUcontext context;
            cuDevicePrimaryCtxRetain(&context, rank);
            cuCtxSetCurrent(context);
            _exit(run(rank, id) ? 0 : 1);
        }
        children.push_back(child);
    }
    for (int rank = 0; rank < size; ++rank) {
        int status;
        waitpid(children[rank], &status, 0);
        expect(status == 0, what + ": rank " + std::to_string(rank) + " of " + std::to_string(size));
    }
}

static bool sums(ncclComm_t comm, int rank, int size, size_t count, bool in_place) {
    Array<f32> given(count), found(count);
    for (size_t i = 0; i < count; ++i) {
        given[i] = f32((rank + 1) * (i % 5 + 1));
    }
    f32 *const to = in_place ? given.first : found.first;
    if (ncclAllReduce(given.first, to, count, ncclFloat32, ncclSum, comm, nullptr) != ncclSuccess) {
        return false;
    }
    for (size_t i = 0; i < count; ++i) {
        if (to[i] != f32(size * (size + 1) / 2 * (i % 5 + 1))) {
            return false;
        }
    }
    return true;
}

int main() {
    for (const int size : {1, 2, 3}) {
        ranks(size, "sums", [size](int rank, ncclUniqueId id) {
            ncclComm_t comm;
            bool good = ncclCommInitRank(&comm, size, id, rank) == ncclSuccess;
            for (const size_t count : {1, 1000, 700'001}) {
                good = good && sums(comm, rank, size, count, false) && sums(comm, rank, size, count, true);
            }
            for (int i = 0; i < 1000; ++i) {
                good = good && sums(comm, rank, size, 3, true);
            }
            return good && ncclCommAbort(comm) == ncclSuccess;
        });
    }
    ranks(2, "counts that differ", [](int rank, ncclUniqueId id) {
        ncclComm_t comm;
        Array<f32> x(3);
        return ncclCommInitRank(&comm, 2, id, rank) == ncclSuccess &&
               ncclAllReduce(x.first, x.first, 2 + rank, ncclFloat32, ncclSum, comm, nullptr) == ncclInvalidArgument;
    });
    ranks(2, "one GPU for both", [](int rank, ncclUniqueId id) {
        ncclComm_t comm;
        cuCtxSetCurrent(nullptr);
        return ncclCommInitRank(&comm, 2, id, rank) == ncclInvalidUsage;
    });
    ranks(2, "a rank that ends", [](int rank, ncclUniqueId id) {
        ncclComm_t comm;
        Array<f32> x(1);
        return ncclCommInitRank(&comm, 2, id, rank) == ncclSuccess &&
               (rank == 1 ||
                ncclAllReduce(x.first, x.first, 1, ncclFloat32, ncclSum, comm, nullptr) == ncclRemoteError);
    });
    ranks(2, "a rank that leaves", [](int rank, ncclUniqueId id) {
        ncclComm_t comm;
        Array<f32> x(1);
        if (ncclCommInitRank(&comm, 2, id, rank) != ncclSuccess) {
            return false;
        }
        if (rank == 1) {
            const bool left = ncclCommAbort(comm) == ncclSuccess;
            usleep(500'000);
            return left;
        }
        return ncclAllReduce(x.first, x.first, 1, ncclFloat32, ncclSum, comm, nullptr) == ncclRemoteError;
    });
    ranks(2, "abort while waiting", [](int rank, ncclUniqueId id) {
        ncclComm_t comm;
        Array<f32> x(1);
        if (ncclCommInitRank(&comm, 2, id, rank) != ncclSuccess) {
            return false;
        }
        if (rank == 1) {
            usleep(700'000);
            return ncclCommAbort(comm) == ncclSuccess;
        }
        ncclResult_t result = ncclSuccess;
        std::thread waiting(
            [&] { result = ncclAllReduce(x.first, x.first, 1, ncclFloat32, ncclSum, comm, nullptr); });
        usleep(200'000);
        const bool aborted = ncclCommAbort(comm) == ncclSuccess;
        waiting.join();
        return aborted && result == ncclRemoteError;
    });
    return summary("nccl");
}
