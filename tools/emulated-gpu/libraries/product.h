// A product of matrices whose elements lie anywhere: plain ones, transposed ones, and the patches of an image under a
// kernel, which are then never written out. In blocks, of which packed copies fit into the caches.
#pragma once
#include <algorithm>
#include <memory>
#include <omp.h>
#include <vector>

#include "numbers.h"

using Places = std::vector<s64>;

// Element (i, k) is first[rows[i] + depths[k]], whether k runs along its columns or, in the second factor, its rows.
template <class T> struct Factor {
    const T *first;
    const s64 *rows, *depths;
};

// Element (i, j) is first[rows[i] + columns[j]].
template <class T> struct Result {
    T *first;
    const s64 *rows, *columns;
};

// How many of an f32's bits enter a product.
enum class Precision { WHOLE, TF32 };

// 10 bits of fraction, to the nearest; infinity and NaN stay.
static inline f32 to_tf32(f32 value) {
    u32 bits;
    memcpy(&bits, &value, sizeof bits);
    if ((bits & 0x7f800000) != 0x7f800000) {
        bits = (bits + 0x1000) & ~0x1fffu;
    }
    memcpy(&value, &bits, sizeof value);
    return value;
}

// Sums in f32 or f64, S.
template <class S> class Product {
    using Vector __attribute__((vector_size(32))) = S;

    // A tile of sums stays in registers: two vectors of rows times a few columns.
    static constexpr int LANES = sizeof(Vector) / sizeof(S), ROWS = 2 * LANES, COLUMNS = 6;
    // A block of sums, and how many products are added to it at a time.
    static constexpr s64 BLOCK = 192, DEPTH = 256;
    static_assert(BLOCK % ROWS == 0 && BLOCK % COLUMNS == 0);

    alignas(64) S left[BLOCK * DEPTH], right[BLOCK * DEPTH], sums[BLOCK * BLOCK];

    // Panels of WIDTH rows each, within these depth by depth; rows that are not there are 0.
    template <int WIDTH, class T>
    static void pack(S *to, const Factor<T> &from, s64 row, s64 rows, s64 depth, s64 depths, Precision precision) {
        for (s64 panel = 0; panel < rows; panel += WIDTH) {
            const int present = int(std::min<s64>(WIDTH, rows - panel));
            for (s64 k = 0; k < depths; ++k) {
                const T *const elements = from.first + from.depths[depth + k];
                for (int i = 0; i < present; ++i) {
                    const S value = S(elements[from.rows[row + panel + i]]);
                    *to++ = precision == Precision::TF32 ? S(to_tf32(f32(value))) : value;
                }
                to = std::fill_n(to, WIDTH - present, S(0));
            }
        }
    }

    // Adds the product of a panel of `left` and one of `right` to a tile, whose columns lie BLOCK apart.
    static void add_tile(S *tile, const S *a, const S *b, s64 depths) {
        Vector low[COLUMNS] = {}, high[COLUMNS] = {};
        for (s64 k = 0; k < depths; ++k, a += ROWS, b += COLUMNS) {
            const Vector a_low = *(const Vector *)a, a_high = *(const Vector *)(a + LANES);
#pragma GCC unroll 6
            for (int j = 0; j < COLUMNS; ++j) {
                low[j] += a_low * b[j];
                high[j] += a_high * b[j];
            }
        }
#pragma GCC unroll 6
        for (int j = 0; j < COLUMNS; ++j, tile += BLOCK) {
            *(Vector *)tile += low[j];
            *(Vector *)(tile + LANES) += high[j];
        }
    }

  public:
    // c = alpha a b + beta c for rows x columns of it, each a sum of `depths`. With beta 0 c is not read.
    template <class In, class Out>
    static void compute(s64 rows, s64 columns, s64 depths, S alpha, const Factor<In> &a, const Factor<In> &b, S beta,
                        const Result<Out> &c, Precision precision) {
        const s64 blocks_down = (rows + BLOCK - 1) / BLOCK, blocks = blocks_down * ((columns + BLOCK - 1) / BLOCK);
#pragma omp parallel if (blocks > 1)
        {
            const auto own = std::make_unique<Product>();
#pragma omp for schedule(dynamic)
            for (s64 block = 0; block < blocks; ++block) {
                const s64 row = block % blocks_down * BLOCK, column = block / blocks_down * BLOCK;
                own->compute_block(row, std::min(BLOCK, rows - row), column, std::min(BLOCK, columns - column), depths,
                                   alpha, a, b, beta, c, precision);
            }
        }
    }

  private:
    template <class In, class Out>
    void compute_block(s64 row, s64 rows, s64 column, s64 columns, s64 all_depths, S alpha, const Factor<In> &a,
                       const Factor<In> &b, S beta, const Result<Out> &c, Precision precision) {
        std::fill_n(sums, BLOCK * BLOCK, S(0));
        for (s64 depth = 0; depth < all_depths; depth += DEPTH) {
            const s64 depths = std::min(DEPTH, all_depths - depth);
            pack<ROWS>(left, a, row, rows, depth, depths, precision);
            pack<COLUMNS>(right, b, column, columns, depth, depths, precision);
            for (s64 j = 0; j < columns; j += COLUMNS) {
                for (s64 i = 0; i < rows; i += ROWS) {
                    add_tile(sums + j * BLOCK + i, left + i * depths, right + j * depths, depths);
                }
            }
        }
        for (s64 j = 0; j < columns; ++j) {
            Out *const to = c.first + c.columns[column + j];
            for (s64 i = 0; i < rows; ++i) {
                Out &element = to[c.rows[row + i]];
                const S product = alpha * sums[j * BLOCK + i];
                element = beta == 0 ? Out(product) : Out(product + beta * S(element));
            }
        }
    }
};
